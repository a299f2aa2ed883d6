"""Training from clicks: what supervises when, which network is the result, what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

from histolab_lite.methods import cvm
from histolab_lite.methods.cvm.losses import partial_cross_entropy, weighted_kl
from histolab_lite.methods.cvm.supervision import ContrastVariational, Supervision
from histolab_lite.methods.cvm.training import SUPERVISIONS, predict
from histolab_lite.models.segmenters import LinkNet, UNet
from tests.methods.cvm.examples import FirstChannel, clicked_halves, fitted, network

PCE = "histolab_lite.methods.cvm.training.partial_cross_entropy"
ONE_STEP = {"epochs": 1, "repeats": 1, "batch_size": 4, "lr": 1e-30}
HALF = np.arange(10) < 5 + np.zeros((12, 1))


@pytest.mark.parametrize("supervision", SUPERVISIONS)
def test_every_supervision_learns_from_four_clicks_per_image(supervision):
    masks = [HALF] * 4 if supervision == "full" else None
    model, run = fitted(supervision=supervision, masks=masks, epochs=4, repeats=4, lr=0.02)
    assert len(run.losses) == len(run.validation) == 4
    assert run.validation[run.best] == min(run.validation) < 0.3
    p = predict(model, clicked_halves(1, seed=5)[0][0])
    assert p.dtype == torch.float32
    assert ((p > 0.5) == torch.from_numpy(HALF)).float().mean() > 0.75
    has_targets = {"cvm", "cvm hard", "cvm two-sided", "contrast map", "variational output"}
    assert all((target is not None) == (supervision in has_targets) for target in run.targets)


def test_full_supervision_is_the_cross_entropy_of_the_masks():
    maps, points = clicked_halves()
    masks = [HALF, *[HALF.astype(np.uint8) for _ in maps[1:]]]
    masks[1][:, 3:] = 255
    _, run = fitted(FirstChannel(), (maps, points), supervision="full", masks=masks, **ONE_STEP)
    expected = [partial_cross_entropy(x[0], torch.from_numpy(y).byte()) for x, y in zip(maps, masks, strict=True)]
    assert run.losses == pytest.approx([torch.stack(expected).mean().item()])


def test_a_step_is_equation_2_on_every_image_of_whatever_size():
    maps, points = (a + b for a, b in zip(clicked_halves(2), clicked_halves(2, 9, 14, seed=3), strict=True))
    _, run = fitted(FirstChannel(), (maps, points), **(ONE_STEP | {"epochs": 2}))
    us = [cvm.segment(x, p[1], p[0], 0.6, 10.0) for x, p in zip(maps, points, strict=True)]
    for found, u in zip(run.targets, us, strict=True):
        # a last bit of the maps, which another batch may round otherwise, can end the iterations a step earlier
        torch.testing.assert_close(found, u, atol=5e-3, rtol=0)
    labels = [cvm.point_mask(p, tuple(x.shape[1:])) for x, p in zip(maps, points, strict=True)]
    first = np.mean([partial_cross_entropy(x[0], y).item() for x, y in zip(maps, labels, strict=True)])
    second = first + np.mean([weighted_kl(x[0], u).item() for x, u in zip(maps, us, strict=True)])
    assert run.losses == pytest.approx([first, second], rel=5e-3)


def test_u_and_the_result_are_those_of_the_last_minimum_of_the_validation_loss(monkeypatch):
    heard, made, used, kept = [], [], [], []
    model, script = network(), iter([3.0, 2.0, 2.5, 2.0, 1.0, 1.5])

    class Spy(Supervision):
        def start(self, network):
            heard.append(("start", network is model))

        def before_step(self, network):
            heard.append(("step", network is model))

        def target(self, features, logits, points):
            made.append(logits)
            return torch.full_like(logits, (len(made) - 1) // 4 / 10)

        def loss(self, network, x, logits, target):
            used.append(None if target is None else round(10 * target.mean().item()))
            return logits.new_zeros(())

    def scripted(logits, labels):
        if torch.is_grad_enabled():
            return partial_cross_entropy(logits, labels)
        kept.append({name: value.clone() for name, value in model.state_dict().items()})
        return torch.tensor(next(script))

    monkeypatch.setattr(PCE, scripted)
    _, run = fitted(model, validation=clicked_halves(1, seed=9), supervision=Spy(), epochs=6)
    assert heard == [("start", True)] + 6 * 4 * [("step", True)]
    assert [set(used[8 * epoch : 8 * epoch + 8]) for epoch in range(6)] == [{None}, {0}, {1}, {1}, {1}, {2}]
    assert [round(10 * target.mean().item()) for target in run.targets] == [2] * 4
    assert (run.validation, run.best) == ([3, 2, 2.5, 2, 1, 1.5], 4)
    assert all(torch.equal(value, kept[4][name]) for name, value in model.state_dict().items())
    assert not torch.equal(kept[4]["head.0.weight"], kept[5]["head.0.weight"])


def test_an_input_its_labels_and_its_u_are_turned_together(monkeypatch):
    """All three mark the same two pixels, in all eight orientations."""
    seen = []

    class Watching(Supervision):
        def target(self, features, logits, points):
            return features[0]

        def loss(self, network, x, logits, target):
            seen.append((x[0], target))
            return logits.new_zeros(())

    def watched(logits, labels):
        assert torch.equal(logits.detach() > 0.5, labels == 1)
        return partial_cross_entropy(logits, labels)

    monkeypatch.setattr(PCE, watched)
    x = torch.zeros(4, 5, 7)
    x[0, 1, 2] = x[0, 0, 0] = 1
    data = [x, x], [{1: [(1, 2), (0, 0)], 0: [(4, 6)]}] * 2
    many = {"epochs": 8, "repeats": 8, "radius": 0, "lr": 1e-30}
    fitted(FirstChannel(), data, data, supervision=Watching(), **many)
    turned = [(x, target) for x, target in seen if target is not None]
    assert all(torch.equal(x, target) for x, target in turned)
    assert len({(*x.shape, *x.flatten().tolist()) for x, _ in turned}) == 8


def test_points_that_cancel_leave_nothing_to_learn_and_no_nan():
    data = clicked_halves(2)[0], [{1: [(3, 3)], 0: [(3, 3)]}] * 2
    assert fitted(data=data, supervision="points")[1].losses == [0, 0, 0]


def test_images_are_scaled_to_1_and_jittered_in_training_only(monkeypatch):
    class Dimmed(nn.Module):
        def __init__(self, strength):
            super().__init__()
            self.strength = strength

        def forward(self, x):
            return self.strength * x

    monkeypatch.setattr("histolab_lite.methods.cvm.training.StainJitter", Dimmed)
    images, points = (
        list(np.random.default_rng(0).integers(0, 256, (2, 33, 40, 3), np.uint8)),
        {1: [(3, 3)], 0: [(9, 35)]},
    )
    data, labels = (images, [points] * 2), cvm.point_mask(points, (33, 40))
    model, run = fitted(FirstChannel(3), data, data, supervision="points", stain_strength=0.5, **ONE_STEP)
    reds = [torch.from_numpy(image[..., 0] / 255).float() for image in images]
    assert run.losses == pytest.approx([np.mean([partial_cross_entropy(red / 2, labels).item() for red in reds])])
    assert run.validation == pytest.approx([np.mean([partial_cross_entropy(red, labels).item() for red in reds])])
    torch.testing.assert_close(predict(model, images[0]), reds[0].sigmoid())
    assert fitted(UNet(0.125), data, data, cell=4, epochs=1)[1].targets[0].shape == (33, 40)


def test_points_lie_on_the_image_however_coarse_u_is():
    """A map of 4 × 4 blocks, each of its own direction, one clicked: u on cells of 4 is that block."""
    maps = torch.eye(16).reshape(16, 4, 4).repeat_interleave(4, 1).repeat_interleave(4, 2)
    data = [maps], [{1: [(6, 9)], 0: [(15, 15)]}]
    spied = []

    class Watching(Supervision):
        def target(self, features, logits, points):
            spied.append((tuple(features.shape), {name: where.tolist() for name, where in points.items()}))
            return ContrastVariational().target(features, logits, points)

    _, run = fitted(FirstChannel(16), data, data, supervision=Watching(), cell=4, epochs=1)
    assert spied == [((16, 4, 4), {1: [[1, 2]], 0: [[3, 3]]})]
    assert (run.targets[0][5:7, 9:11] > 0.5).all()
    assert run.targets[0][:2].max() < 0.5


MAPS, POINTS = clicked_halves()
IMAGES = [np.zeros((32, 32, 3), np.uint8)] * 4


@pytest.mark.parametrize(
    ("changes", "keyword"),
    [
        ({"supervision": "magic"}, "one of points, cvm"),
        ({"supervision": "full"}, "masks"),
        ({"masks": [HALF] * 4}, "masks"),
        ({"supervision": "full", "masks": [HALF] * 3}, "one mask per input"),
        ({"supervision": "full", "masks": [HALF.T] * 4}, "one mask per input"),
        ({"supervision": "full", "masks": [np.full((12, 10), 2)] * 4}, "not 2"),
        ({"repeats": 0}, "at least 1"),
        ({"cell": 0}, "at least 1"),
        ({"data": ([], [])}, "0 inputs"),
        ({"data": (MAPS, POINTS[:3])}, "4 inputs and points for 3"),
        ({"data": (MAPS, [{1: [(0, 0)]}] * 4)}, r"input 0 .*\(1\) and outside \(0\)"),
        ({"data": (MAPS, [{1: [(0, 0)], 0: []}] * 4)}, "input 0"),
        ({"data": (MAPS, [{1: [(0, 0)], 0: [(12, 0)]}] * 4)}, r"\(12, 0\) lies off"),
        ({"data": ([np.zeros((4, 4))], POINTS[:1])}, "expected an image"),
        ({"data": ([torch.zeros(4, 12, 10, dtype=torch.int64)], POINTS[:1])}, "expected an image"),
        ({"data": (IMAGES, POINTS), "model": LinkNet(2, 0.125)}, "one logit per pixel"),
    ],
)
def test_bad_input_is_refused(changes, keyword):
    with pytest.raises(ValueError, match=keyword):
        fitted(**changes)


def test_several_processes_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="one process"):
        fitted()
