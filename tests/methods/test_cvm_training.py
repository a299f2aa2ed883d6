"""Training from clicks: what supervises when, what a run remembers, what it refuses, and that it works."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from histolab_lite.data.phantom import CLASS_NAMES
from histolab_lite.data.tiles import load_tiles
from histolab_lite.methods import cvm
from histolab_lite.methods.cvm.losses import partial_cross_entropy, weighted_kl
from histolab_lite.methods.cvm.supervision import ContrastVariational, Supervision
from histolab_lite.methods.cvm.training import SUPERVISIONS, predict, train
from histolab_lite.metrics import binary_scores
from histolab_lite.models.segmenters import LinkNet, MapUNet, Segmenter, UNet

SETTINGS = {"epochs": 3, "repeats": 2, "batch_size": 2, "device": "cpu", "progress": None}


def halves(n: int = 4, h: int = 12, w: int = 10, seed: int = 0) -> tuple[list[torch.Tensor], list[dict]]:
    """Maps (4, h, w) whose left half is the target, and two clicks on either side."""
    random = torch.Generator().manual_seed(seed)
    maps, points = [], []
    for _ in range(n):
        x = torch.randn(4, h, w, generator=random)
        x[0, :, : w // 2] += 2
        x[1, :, w // 2 :] += 2
        maps.append(x)
        rows = torch.randint(h, (4,), generator=random).tolist()
        points.append({1: [(rows[0], 0), (rows[1], 2)], 0: [(rows[2], w - 1), (rows[3], w - 3)]})
    return maps, points


def network(seed: int = 0) -> MapUNet:
    torch.manual_seed(seed)
    return MapUNet(4, width=4, depth=2)


class PerPixel(Segmenter):
    """One pixel at a time: a linear answer, and the input as Feature Map 2."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(4, 1, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def stages(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [x]

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return x


class Spy(Supervision):
    """Numbers its targets by when they were made, and remembers what it saw."""

    def __init__(self) -> None:
        self._made, self._used = [], []

    def target(self, features, logits, points):
        self._made.append((features, logits, points))
        return torch.full_like(logits, len(self._made) / 1000)

    def loss(self, network, x, logits, target):
        self._used.append(None if target is None else target.unique().tolist())
        return logits.new_zeros(())


def fitted(model=None, data=None, supervision="cvm", **changes):
    maps, points = data or halves()
    model = model or network()
    return model, train(model, maps, points, halves(2, seed=9), supervision=supervision, **(SETTINGS | changes))


@pytest.mark.parametrize("supervision", [name for name in SUPERVISIONS if name != "full"])
def test_every_supervision_learns_from_four_clicks_an_image(supervision):
    model, run = fitted(supervision=supervision, epochs=8, repeats=4, lr=1e-2)
    assert len(run.losses) == len(run.validation) == 8
    assert run.validation[run.best] == min(run.validation) < 0.3
    x = halves(1, seed=5)[0][0]
    p = predict(model, x)
    assert p.shape == (12, 10)
    assert p.dtype == torch.float32
    assert (p[:, :5] > 0.5).float().mean() > 0.8
    assert (p[:, 5:] < 0.5).float().mean() > 0.8
    has_targets = {"cvm", "cvm hard", "cvm two-sided", "contrast map", "variational output"}
    assert all((target is not None) == (supervision in has_targets) for target in run.targets)


def test_full_supervision_is_the_cross_entropy_of_the_masks():
    maps, points = halves()
    masks = [np.arange(10) < 5 + np.zeros((12, 1)) for _ in maps]
    masks[0] = masks[0].astype(np.uint8)
    masks[0][:, 3:] = 255
    _, run = fitted(PerPixel(), (maps, points), "full", masks=masks, epochs=1, repeats=1, batch_size=4)
    assert run.losses == pytest.approx([math.log(2)])
    model, run = fitted(supervision="full", masks=masks, epochs=8, repeats=4, lr=1e-2)
    assert run.losses[-1] < 0.3


def test_a_step_is_equation_2_on_every_image():
    """The second epoch's loss, from a network of zeros whose u is that of the input: L_pce + L_wkl, by hand."""
    maps, points = halves()
    model, run = fitted(PerPixel(), (maps, points), epochs=2, repeats=1, batch_size=4, lr=1e-30)
    zeros = torch.zeros(12, 10)
    expected_u = [cvm.segment(x, p[1], p[0], 0.6, 10.0) for x, p in zip(maps, points, strict=True)]
    for u, expected in zip(run.targets, expected_u, strict=True):
        # a last bit of the maps, which another batch may round otherwise, can end the iterations a step earlier
        torch.testing.assert_close(u, expected, atol=5e-3, rtol=0)
    labels = [cvm.point_mask(p, (12, 10)) for p in points]
    first = np.mean([partial_cross_entropy(zeros, y).item() for y in labels])
    second = first + np.mean([weighted_kl(zeros, u).item() for u in expected_u])
    assert run.losses == pytest.approx([first, second], rel=5e-3)


def test_u_is_renewed_only_at_a_new_minimum_of_the_validation_loss(monkeypatch):
    """The validation loss is made to go 3, 1, 2, 1, 0.5."""
    spy, model = Spy(), network()
    script = iter([3.0, 1.0, 2.0, 1.0, 0.5])
    weights = []

    def scripted(logits, labels):
        if torch.is_grad_enabled():
            return partial_cross_entropy(logits, labels)
        weights.append([value.clone() for value in model.state_dict().values()])
        return torch.tensor(next(script))

    monkeypatch.setattr("histolab_lite.methods.cvm.training.partial_cross_entropy", scripted)
    maps, points = halves()
    validation = tuple(part[:1] for part in halves(1, seed=9))
    run = train(model, maps, points, validation, supervision=spy, **(SETTINGS | {"epochs": 5}))
    assert run.validation == [3, 1, 2, 1, 0.5]
    assert len(spy._made) == 3 * 4  # after epochs 0, 1 and 4
    epochs = [spy._used[8 * epoch : 8 * epoch + 8] for epoch in range(5)]
    ages = [{None if seen is None else math.ceil(round(1000 * seen[0]) / 4) for seen in epoch} for epoch in epochs]
    assert ages == [{None}, {1}, {2}, {2}, {2}]
    assert run.best == 4
    assert [target[0, 0].item() for target in run.targets] == pytest.approx([0.009, 0.010, 0.011, 0.012])


def test_a_supervision_is_told_of_the_run_and_of_every_step():
    heard, model = [], network()

    class Listening(Supervision):
        def start(self, network):
            heard.append(("start", network is model))

        def before_step(self, network):
            heard.append(("step", network is model))

    fitted(model, supervision=Listening())
    assert heard == [("start", True)] + 3 * 4 * [("step", True)]


def test_the_result_is_the_network_of_the_lowest_validation_loss(monkeypatch):
    model, kept = network(), []
    script = iter([3.0, 1.0, 2.0])

    def scripted(logits, labels):
        if torch.is_grad_enabled():
            return partial_cross_entropy(logits, labels)
        kept.append({name: value.clone() for name, value in model.state_dict().items()})
        return torch.tensor(next(script))

    monkeypatch.setattr("histolab_lite.methods.cvm.training.partial_cross_entropy", scripted)
    run = train(model, *halves(), halves(1, seed=9), **SETTINGS)
    assert run.best == 1
    for name, value in model.state_dict().items():
        assert torch.equal(value, kept[1][name]), name
    assert not torch.equal(kept[1]["head.0.weight"], kept[2]["head.0.weight"])


def test_an_image_its_clicks_and_its_u_are_turned_together():
    """u marks the very pixels in which the map is 1, whatever the orientation."""
    seen = []

    class Watching(Spy):
        def target(self, features, logits, points):
            return features[0]

        def loss(self, network, x, logits, target):
            seen.append((x, target))
            return super().loss(network, x, logits, target)

    maps = [torch.zeros(4, 5, 7) for _ in range(2)]
    for x in maps:
        x[0, 1, 2] = x[0, 0, 0] = 1
    points = [{1: [(1, 2)], 0: [(4, 6)]}] * 2
    train(PerPixel(), maps, points, (maps, points), supervision=Watching(), **(SETTINGS | {"epochs": 8, "repeats": 8}))
    turned = [(x, target) for x, target in seen if target is not None]
    assert all(torch.equal(x[0], target) for x, target in turned)
    assert {x.shape[1:] for x, _ in turned} == {(5, 7), (7, 5)}
    assert len({tuple(x[0].flatten().tolist()) + tuple(x.shape) for x, _ in turned}) == 8


def test_labels_are_turned_with_their_map():
    """A linear network can fit the clicks exactly only if they stay where they were on the map."""
    maps, points = halves(2, 9, 7)
    for x in maps:
        x[2:] = 0
        x[:2] = 0
    for x, p in zip(maps, points, strict=True):
        x[0] = 2 * (cvm.point_mask(p, (9, 7)) == 1).float() - 1
    run = train(
        PerPixel(), maps, points, (maps, points), supervision="points", **(SETTINGS | {"epochs": 60, "lr": 0.3})
    )
    assert run.losses[-1] < 0.02


def test_maps_of_different_sizes_share_a_batch():
    maps, points = halves(2, 12, 10)
    other, clicks = halves(2, 9, 14)
    model, run = fitted(data=(maps + other, points + clicks), batch_size=4)
    assert [tuple(target.shape) for target in run.targets] == [(12, 10)] * 2 + [(9, 14)] * 2
    assert all(math.isfinite(value) for value in run.losses)


def test_what_a_batch_is_filled_up_with_teaches_nothing():
    """A per-pixel network gives the mean of the images' own losses, whatever their sizes."""
    maps, points = (a + b for a, b in zip(halves(1, 12, 10), halves(1, 5, 17, seed=3), strict=True))
    masks = [np.ones((12, 10), bool), np.zeros((5, 17), bool)]
    model = PerPixel()
    nn.init.constant_(model.head.bias, 1.0)
    validation = (maps, points)
    run = train(
        model, maps, points, validation, supervision="full", masks=masks, **(SETTINGS | {"epochs": 1, "repeats": 1})
    )
    assert run.losses == pytest.approx([(math.log1p(math.exp(-1)) + math.log1p(math.exp(1))) / 2], rel=1e-5)


def test_points_that_cancel_leave_nothing_to_learn_and_no_nan():
    maps, _ = halves(2)
    points = [{1: [(3, 3)], 0: [(3, 3)]}] * 2
    _, run = fitted(PerPixel(), (maps, points), supervision="points")
    assert run.losses == [0, 0, 0]


def test_images_train_a_u_net_and_u_may_be_coarser():
    random = np.random.default_rng(0)
    mask = np.arange(40) < 20 + np.zeros((33, 1))
    colours = np.array([[230, 170, 200], [140, 90, 170]])[mask.astype(int)]
    images = [(colours + random.normal(0, 5, colours.shape)).clip(0, 255).astype(np.uint8) for _ in range(3)]
    points = [cvm.simulate_points(mask, 3, seed=i) for i in range(3)]
    torch.manual_seed(0)
    model = UNet(0.125)
    given = (images[:2], points[:2], (images[2:], points[2:]))
    run = train(model, *given, cell=4, **(SETTINGS | {"epochs": 10, "repeats": 8, "lr": 1e-2}))
    assert run.targets[0].shape == (33, 40)
    assert run.validation[run.best] < 0.5
    assert binary_scores([predict(model, images[2])], [mask]).dice > 0.8


def test_points_lie_on_the_image_however_coarse_u_is():
    """A map of 4 × 4 blocks, each of its own direction, one clicked: u on cells of 4 is that block."""
    maps = torch.eye(16).reshape(16, 4, 4).repeat_interleave(4, 1).repeat_interleave(4, 2)
    points = {1: [(6, 9)], 0: [(15, 15)]}
    spied = []

    class Watching(Spy):
        def target(self, features, logits, points):
            spied.append((tuple(features.shape), {name: where.tolist() for name, where in points.items()}))
            return ContrastVariational().target(features, logits, points)

    class Wide(PerPixel):
        def __init__(self):
            super().__init__()
            self.head = nn.Conv2d(16, 1, 1)

    settings = SETTINGS | {"epochs": 1}
    run = train(Wide(), [maps], [points], ([maps], [points]), supervision=Watching(), cell=4, **settings)
    assert spied == [((16, 4, 4), {1: [[1, 2]], 0: [[3, 3]]})]
    u = run.targets[0]
    assert (u[5:7, 9:11] > 0.5).all()
    assert u[:2].max() < 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"supervision": "magic"}, "supervision is one of points, cvm"),
        ({"supervision": "full"}, "masks belong to supervision"),
        ({"masks": [np.zeros((12, 10))] * 4}, "masks belong to supervision"),
        ({"supervision": "full", "masks": [np.zeros((12, 10), bool)] * 3}, "one mask an input"),
        ({"supervision": "full", "masks": [np.zeros((10, 12), bool)] * 4}, "one mask an input"),
        ({"supervision": "full", "masks": [np.full((12, 10), 2)] * 4}, "not 2"),
        ({"repeats": 0}, "at least 1"),
        ({"cell": 0}, "at least 1"),
        ({"data": ([], [])}, "0 inputs"),
        ({"data": (halves()[0], halves()[1][:3])}, "4 inputs and points of 3"),
        ({"data": (halves()[0], [{1: [(0, 0)]}] * 4)}, r"input 0 needs points inside \(1\) and outside \(0\)"),
        ({"data": (halves()[0], [{1: [(0, 0)], 0: []}] * 4)}, "input 0 needs points"),
        ({"data": (halves()[0], [{1: [(0, 0)], 0: [(12, 0)]}] * 4)}, r"point \(12, 0\) lies off"),
        ({"data": ([np.zeros((4, 4))], [{1: [(0, 0)], 0: [(1, 1)]}])}, "expected an image"),
    ],
)
def test_bad_input_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        fitted(**changes)


def test_a_network_of_several_classes_is_refused():
    images, points = [np.zeros((32, 32, 3), np.uint8)] * 2, [{1: [(0, 0)], 0: [(9, 9)]}] * 2
    with pytest.raises(ValueError, match="one logit a pixel"):
        train(LinkNet(2, 0.125), images, points, (images, points), **SETTINGS)


def test_several_processes_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="one process"):
        fitted()


@pytest.mark.slow
def test_on_phantom_tissue_u_teaches_what_the_clicks_alone_do_not():
    """Tumour against the rest from 3 + 3 clicks on each of 8 tiles, scored on 4 others."""
    tumour = CLASS_NAMES.index("tumour")
    tiles = load_tiles("phantom", n_slides=24, size=384, seed=11)
    pictures = [(tile.read_image(), tile.read_mask() == tumour) for tile in tiles]
    pictures = [(image, mask) for image, mask in pictures if 0.1 < mask.mean() < 0.8][:14]
    assert len(pictures) == 14
    maps = [cvm.encode(image, stages=(0, 1, 2), windows=(16, 48), stride=8) for image, _ in pictures]
    points = [
        {name: cvm.to_grid(clicks, mask.shape, x.shape[1:]) for name, clicks in cvm.simulate_points(mask, 3).items()}
        for x, (_, mask) in zip(maps, pictures, strict=True)
    ]
    dice = {}
    for supervision in ("points", "cvm"):
        torch.manual_seed(0)
        model = MapUNet(len(maps[0]), width=16)
        validation = (maps[8:10], points[8:10])
        train(model, maps[:8], points[:8], validation, supervision=supervision, epochs=10, device="cpu", progress=None)
        answers = [
            cvm.upsample(predict(model, x), mask.shape) for x, (_, mask) in zip(maps[10:], pictures[10:], strict=True)
        ]
        dice[supervision] = binary_scores(answers, [mask for _, mask in pictures[10:]]).dice
    assert dice["cvm"] > 0.6
    assert dice["cvm"] > dice["points"]
