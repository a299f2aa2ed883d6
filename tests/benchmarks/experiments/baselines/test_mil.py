"""ABMIL and CLAM: their equations, their pseudo-labels, and what tags alone teach them."""

import math

import pytest
import torch

from benchmarks.experiments.baselines import mil
from histolab_lite.training import Checkpoint

BAG = torch.zeros(3, 5)


@torch.no_grad()
def test_attention_is_that_of_equation_9_and_the_logits_are_of_equation_8():
    torch.manual_seed(0)
    model, x = mil.AttentionMIL(5, 3, hidden=4), torch.randn(7, 5)
    logits, attention, _ = model(x)
    rows = [torch.relu(model.project[0].weight @ (r / r.norm() * math.sqrt(5)) + model.project[0].bias) for r in x]
    gates = [torch.tanh(model.v.weight @ h) * torch.sigmoid(model.u.weight @ h) for h in rows]
    for k in range(3):
        e = [float((model.w.weight[k] @ gate).exp()) for gate in gates]
        z = sum(a / sum(e) * h for a, h in zip(e, rows, strict=True))
        assert torch.allclose(attention[:, k], torch.tensor(e) / sum(e), atol=1e-6)
        assert torch.allclose(logits[k], model.classify.weight[k] @ z + model.classify.bias[k], atol=1e-5)


def test_a_bag_of_one():
    _, attention, scores = mil.AttentionMIL(5, 2, clustering=True)(torch.randn(1, 5))
    assert attention.tolist() == [[1, 1]]
    assert torch.isfinite(mil.clustering_loss(scores, attention, torch.tensor([True, False]), 8))


@pytest.mark.parametrize(
    ("attention", "k", "there", "absent"),
    [([1, 1, 1, 1], 1, "1..0", "0..."), ([1, 1, 1, 1], 9, "1100", "00.."), ([1, 6, 3], 1, "01.", ".0.")],
)
def test_pseudo_labels_of_ties_of_a_small_bag_and_of_the_most_attended(attention, k, there, absent):
    columns = torch.tensor(attention, dtype=torch.float32)[:, None].expand(-1, 2)
    targets = mil.pseudo_labels(columns, torch.tensor([True, False]), k)
    text = ["".join("." if math.isnan(v) else str(int(v)) for v in column) for column in targets.T.tolist()]
    assert text == [there, absent]


@pytest.mark.parametrize("clustering", [False, True])
def test_tags_alone_teach_which_instance_is_which(clustering):
    generator = torch.Generator().manual_seed(0)
    means, bags, truths = 3 * torch.eye(3, 8), [], []
    for _ in range(40):
        shown = torch.randperm(3, generator=generator)[: int(torch.randint(1, 4, (), generator=generator))]
        truths.append(shown[torch.randint(len(shown), (3, 5), generator=generator)])
        bags.append(means[truths[-1].flatten()] + 0.3 * torch.randn(15, 8, generator=generator))
    tags = torch.stack([torch.stack([(truth == k).any() for k in range(3)]) for truth in truths])
    torch.manual_seed(0)
    model = mil.AttentionMIL(8, 3, 16, clustering=clustering)
    history = mil.train(model, bags, tags, epochs=15, lr=2e-2, device="cpu", progress=None)
    assert history[-1] < 0.5 * history[0]
    found = [mil.segment(model, bag.T.view(8, 3, 5)) for bag in bags]
    assert (torch.stack(found) == torch.stack(truths)).float().mean() > 0.9


@pytest.mark.parametrize(
    ("refused", "keyword"),
    [
        (lambda model: mil.AttentionMIL(5, 0), "1 or more"),
        *((lambda model, shape=shape: model(torch.zeros(shape)), "a bag is") for shape in [(0, 5), (3, 4), (5,)]),
        (lambda model: mil.pseudo_labels(torch.ones(3, 1), torch.tensor([True]), 0), "k must be"),
        (lambda model: mil.train(model, [BAG], torch.ones(2, 2).bool(), epochs=1), "one row per bag"),
        (lambda model: mil.train(model, [BAG], torch.ones(1, 2), epochs=1), "one row per bag"),
        (lambda model: mil.train(model, [BAG], torch.ones(1, 2).bool(), epochs=1, weight=2), "from 0 to 1"),
        (lambda model: mil.segment(model, torch.zeros(5, 2, 2), torch.zeros(2).bool()), "no class is tagged"),
    ],
)
def test_what_does_not_fit_is_refused(refused, keyword):
    with pytest.raises(ValueError, match=keyword):
        refused(mil.AttentionMIL(5, 2))


def test_a_checkpoint_of_other_bags_or_tags_is_refused(tmp_path):
    bags, tags = [torch.randn(3, 5) for _ in range(4)], torch.eye(2, dtype=torch.bool)[[0, 1, 1, 1]]
    options = {"epochs": 1, "device": "cpu", "progress": None, "checkpoint": Checkpoint(tmp_path / "run.pt")}
    mil.train(mil.AttentionMIL(5, 2, 4), bags, tags, **options)
    for other, known in ((bags[::-1], tags), (bags, tags.flip(0))):
        with pytest.raises(ValueError, match=r"other settings \(data: [^;]*\)"):
            mil.train(mil.AttentionMIL(5, 2, 4), other, known, **options)
