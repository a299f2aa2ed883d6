import math
from pathlib import Path

import pytest
import torch

from benchmarks.experiments.baselines import mil
from histolab_lite.training import Checkpoint


@torch.no_grad()
def test_attention_is_that_of_equation_9_and_the_logits_are_of_equation_8() -> None:
    torch.manual_seed(0)
    model, x = mil.AttentionMIL(5, 3, hidden=4), torch.randn(7, 5)
    logits, attention, _ = model(x)
    assert torch.allclose(attention.sum(0), torch.ones(3))
    rows = [torch.relu(model.project[0].weight @ (r / r.norm() * math.sqrt(5)) + model.project[0].bias) for r in x]
    for k in range(3):
        e = [float((model.w.weight[k] @ (torch.tanh(model.v.weight @ h) * torch.sigmoid(model.u.weight @ h))).exp())
             for h in rows]  # fmt: skip
        z = sum(a / sum(e) * h for a, h in zip(e, rows, strict=True))
        assert torch.allclose(attention[:, k], torch.tensor(e) / sum(e), atol=1e-6)
        assert torch.allclose(logits[k], model.classify.weight[k] @ z + model.classify.bias[k], atol=1e-5)


def test_the_order_of_instances_does_not_matter() -> None:
    model, x, order = mil.AttentionMIL(5, 2), torch.randn(9, 5), torch.randperm(9)
    (logits, attention, _), (others, moved, _) = model(x), model(x[order])
    assert torch.allclose(logits, others, atol=1e-6)
    assert torch.allclose(attention[order], moved, atol=1e-6)


def test_a_bag_of_one() -> None:
    model = mil.AttentionMIL(5, 2, clustering=True)
    _, attention, scores = model(torch.randn(1, 5))
    assert attention.tolist() == [[1, 1]]
    assert torch.isfinite(mil.clustering_loss(scores, attention, torch.tensor([True, False]), 8))


@pytest.mark.parametrize("shape", [(0, 5), (3, 4), (5,)])
def test_a_bag_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="a bag is"):
        mil.AttentionMIL(5, 2)(torch.zeros(shape))


def test_tags_that_do_not_fit_are_refused() -> None:
    model = mil.AttentionMIL(5, 2)
    with pytest.raises(ValueError, match="a row a bag"):
        mil.train(model, [torch.zeros(3, 5)], torch.ones(2, 2, dtype=torch.bool), epochs=1)
    with pytest.raises(ValueError, match="no class is tagged"):
        mil.segment(model, torch.zeros(5, 2, 2), torch.zeros(2, dtype=torch.bool))


@pytest.mark.parametrize(("k", "there", "absent"), [(1, "1..0", "0..."), (9, "1100", "00..")])
def test_pseudo_labels_of_ties_and_of_a_small_bag(k: int, there: str, absent: str) -> None:
    targets = mil.pseudo_labels(torch.full((4, 2), 0.25), torch.tensor([True, False]), k)
    text = ["".join("." if math.isnan(v) else str(int(v)) for v in column) for column in targets.T.tolist()]
    assert text == [there, absent]


def test_the_most_attended_are_positive() -> None:
    targets = mil.pseudo_labels(torch.tensor([[0.1], [0.6], [0.3]]), torch.tensor([True]), 1)
    assert targets[[0, 1], 0].tolist() == [0, 1]
    assert targets[2, 0].isnan()


@pytest.mark.parametrize("clustering", [False, True])
def test_tags_alone_teach_which_instance_is_which(clustering: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    means, bags, truths = 3 * torch.eye(3, 8), [], []
    for _ in range(60):
        shown = torch.randperm(3, generator=generator)[: int(torch.randint(1, 4, (), generator=generator))]
        truths.append(shown[torch.randint(len(shown), (3, 5), generator=generator)])
        bags.append(means[truths[-1].flatten()] + 0.3 * torch.randn(15, 8, generator=generator))
    tags = torch.stack([torch.stack([(truth == k).any() for k in range(3)]) for truth in truths])
    torch.manual_seed(0)
    model = mil.AttentionMIL(8, 3, 16, clustering=clustering)
    history = mil.train(model, bags, tags, epochs=30, lr=1e-2, device="cpu", progress=None)
    assert history[-1] < 0.5 * history[0]
    found = [mil.segment(model, bag.T.view(8, 3, 5)) for bag in bags]
    assert (torch.stack(found) == torch.stack(truths)).float().mean() > 0.9


def test_a_checkpoint_of_other_bags_or_tags_is_refused(tmp_path: Path) -> None:
    bags, tags = [torch.randn(3, 5) for _ in range(4)], torch.eye(2, dtype=torch.bool)[[0, 1, 1, 1]]
    options = {"epochs": 1, "device": "cpu", "progress": None, "checkpoint": Checkpoint(tmp_path / "run.pt")}
    mil.train(mil.AttentionMIL(5, 2, 4), bags, tags, **options)
    for other, known in ((bags[::-1], tags), (bags, tags.flip(0))):
        with pytest.raises(ValueError, match=r"other settings \(data: [^;]*\)"):
            mil.train(mil.AttentionMIL(5, 2, 4), other, known, **options)
