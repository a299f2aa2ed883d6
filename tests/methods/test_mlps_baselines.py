"""The paper's peers: sub-categories against planted clusters, HistoSegNet and its dense CRF against slow loops."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from histolab_lite.methods.mlps import Classifier, activation_maps, classify, histosegnet, sub_categories
from histolab_lite.models.resnet38 import ResNet38

CLASSES = 3


@pytest.fixture(scope="module")
def model() -> Classifier:
    torch.manual_seed(0)
    model = Classifier(CLASSES, 1 / 64).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # so that maps differ from place to place, and in sign
            module.running_mean.normal_(0, 0.1)
            module.bias.data.normal_(0, 0.3)
    return model


def patches(n: int = 5, height: int = 24, width: int = 32, seed: int = 0) -> np.ndarray:
    noise = torch.rand(n, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(seed))
    smooth = F.interpolate(noise, (height, width), mode="bilinear")
    return (smooth * 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def pictures(*args: int) -> torch.Tensor:
    return torch.from_numpy(patches(*args)).permute(0, 3, 1, 2) / 255


# --- SC-CAM ---------------------------------------------------------------------------------------------------------


def test_pooled_features_are_what_the_head_sees(model):
    x = patches(5)
    turned = np.ascontiguousarray(x.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)  # the same, laid out otherwise
    found = sub_categories.pooled_features(model.train(), turned, batch_size=2)
    assert found.shape == (5, model.trunk.channels)
    assert not model.training
    torch.testing.assert_close(model.head(found), model(pictures(5)), rtol=1e-4, atol=1e-5)


def test_every_class_is_clustered_by_itself():
    rng = np.random.default_rng(0)
    planted = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1])
    centres = np.array([[0.0, 9, 0], [9, 0, 0], [0, 0, 9]])
    features = torch.tensor(centres[planted] + rng.normal(0, 0.1, (11, 3)), dtype=torch.float32)
    tags = np.zeros((11, 4), np.uint8)
    tags[:, 0] = 1  # all three kinds
    tags[planted < 2, 1] = 1  # two kinds, which n_sub = 3 has to split once
    tags[[3, 7], 2] = 1  # fewer patches than kinds; class 3 has none
    found = sub_categories.find_sub_categories(features, tags, 3).reshape(11, 4, 3)
    assert found.dtype == np.uint8
    assert (found.sum(2) == tags).all()  # one kind a tag, none without
    for i in range(11):
        for j in range(11):
            assert (found[i, 0] == found[j, 0]).all() == (planted[i] == planted[j])
            if tags[i, 1] and tags[j, 1] and (found[i, 1] == found[j, 1]).all():
                assert planted[i] == planted[j]
    assert found[:, 1].any(0).all()
    assert found[:, 2].sum(0).tolist() == [1, 1, 0]
    assert not found[:, 3].any()
    again = sub_categories.find_sub_categories(features, tags, 3)
    assert (again == found.reshape(11, -1)).all()


def test_the_joint_loss_is_the_parents_and_lambda_times_the_kinds(model, monkeypatch):
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout2d):
            module.p = 0.0
    monkeypatch.setattr(sub_categories, "StainJitter", lambda strength: torch.nn.Identity())
    monkeypatch.setattr(sub_categories, "random_flips", lambda x: (x,))
    x, tags = patches(4), np.array([[1, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 1]])
    kinds = np.array([[1, 0], [0, 1], [0, 0], [1, 1]])
    torch.manual_seed(3)
    joint = sub_categories._Joint(model, 2).train()
    with torch.no_grad():
        of_parents, of_kinds = (logits.double().sigmoid().tolist() for logits in joint(pictures(4)))
    expected = {}
    for name, probabilities, labels in (("parents", of_parents, tags), ("kinds", of_kinds, kinds)):
        total = 0.0
        for row, marks in zip(probabilities, labels.tolist(), strict=True):
            for p, y in zip(row, marks, strict=True):
                total -= math.log(p) if y else math.log(1 - p)
        expected[name] = total / labels.size
    options = {"epochs": 1, "batch_size": 4, "lr": 0.0, "device": "cpu", "progress": None}
    for weight in (0.0, 5.0, 0.7):
        torch.manual_seed(3)
        (loss,) = sub_categories.train_jointly(model, x, tags, kinds, weight=weight, **options)
        assert loss == pytest.approx(expected["parents"] + weight * expected["kinds"], rel=1e-4)


def test_rounds_start_alike_and_cluster_the_features_of_the_round_before(monkeypatch):
    torch.manual_seed(0)
    model, extractor = Classifier(CLASSES, 1 / 64), Classifier(CLASSES, 1 / 64)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    heads, clustered = [], []

    def pretend(model, x, tags, kinds, **options):
        assert all((value == start[name]).all() for name, value in model.state_dict().items())
        assert (kinds.shape, options["weight"], options["epochs"]) == ((6, 6), 2.0, 4)
        model.head.weight.data += len(heads) + 1.0
        heads.append(model.head.weight.detach().clone())
        return [0.5] * options["epochs"]

    def watch(model, x):
        clustered.append(model.head.weight.detach().clone())
        return features(model, x)

    features = sub_categories.pooled_features
    monkeypatch.setattr(sub_categories, "train_jointly", pretend)
    monkeypatch.setattr(sub_categories, "pooled_features", watch)
    history = sub_categories.train_sub_categories(
        model, extractor, patches(6), np.ones((6, CLASSES)), n_sub=2, weight=2.0, epochs=4, progress=None
    )
    assert history == [[0.5] * 4] * 3
    for found, expected in zip(clustered, [extractor.head.weight, *heads[:2]], strict=True):
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(model.head.weight, heads[2])


def test_sub_categories_are_learnt():
    rng = np.random.default_rng(0)
    kinds = np.arange(24) % 3
    colours = np.array([[220, 40, 40], [40, 220, 40], [40, 40, 220]])
    x = np.clip(colours[kinds][:, None, None] + rng.normal(0, 20, (24, 16, 16, 3)), 0, 255).astype(np.uint8)
    tags = np.stack([kinds < 2, kinds == 2], 1)
    torch.manual_seed(0)
    model = Classifier(2, ResNet38(2 / 64, dropout=(0.0, 0.0)))
    options = {"epochs": 14, "batch_size": 4, "lr": 3e-3, "stain_strength": 0.1, "device": "cpu", "progress": None}
    (losses,) = sub_categories.train_sub_categories(model, model, x, tags, n_sub=2, rounds=1, **options)
    assert len(losses) == 14
    assert losses[-1] < 0.7 * losses[0]
    assert ((classify(model, torch.from_numpy(x).permute(0, 3, 1, 2) / 255) > 0.5).numpy() == tags).mean() > 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patches": np.zeros((4, 8, 8, 3))}, "uint8"),
        ({"tags": np.ones((3, CLASSES))}, "tags of 4 images"),
        ({"children": np.full((4, 2), 2)}, "tag is 0"),
        ({"children": np.zeros((4, 0))}, "sub-categories"),
        ({"weight": -1.0}, "negative"),
    ],
)
def test_labels_that_do_not_fit_are_refused(model, change, message):
    good = {"patches": patches(4), "tags": np.ones((4, CLASSES)), "children": np.zeros((4, 2))}
    with pytest.raises(ValueError, match=message):
        sub_categories.train_jointly(model, **(good | change), epochs=1)


def test_impossible_explorations_are_refused(model):
    with pytest.raises(ValueError, match="one sub-category"):
        sub_categories.find_sub_categories(torch.zeros(2, 3), np.ones((2, 2)), 0)
    with pytest.raises(ValueError, match="features"):
        sub_categories.find_sub_categories(torch.zeros(2, 3, 1), np.ones((2, 2)))
    with pytest.raises(ValueError, match="one round"):
        sub_categories.train_sub_categories(model, model, patches(2), np.ones((2, CLASSES)), rounds=0)


# --- HistoSegNet ----------------------------------------------------------------------------------------------------


def test_confident_maps_peak_at_the_classifiers_confidence(model):
    images = pictures(3, 40, 56)
    tags = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 1, 1]])
    found = histosegnet.confident_maps(model, images, tags)
    low = activation_maps(model, images, tags, ("bn7",))["bn7"]
    confidence = classify(model, images)
    some = 0
    for i in range(3):
        for k in range(CLASSES):
            full = F.interpolate(low[i, k][None, None], (40, 56), mode="bilinear")[0, 0]
            if full.max() > 0:
                some += 1
                full = full / full.max() * confidence[i, k]
            torch.testing.assert_close(found[i, k], full)
    assert some >= 3


def adjusted(maps: np.ndarray, image: np.ndarray, background: bool, pale: list[int], other: int | None) -> np.ndarray:
    """Pixel by pixel; the blur of the glass by its own sum over a clamped window."""
    k, height, width = maps.shape
    stack = [maps[c].astype(float) for c in range(k)]
    if background:
        raw = 0.75 / (1 + np.exp(-4 * (image.mean(0) * 255 - 240)))
        glass = np.zeros((height, width))
        for y in range(height):
            for x in range(width):
                total = weights = 0.0
                for dy in range(-8, 9):
                    for dx in range(-8, 9):
                        w = math.exp(-(dy * dy + dx * dx) / 8)
                        weights += w
                        total += w * raw[min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1)]
                glass[y, x] = min(max(total / weights - max([maps[c, y, x] for c in pale], default=0), 0), 1)
        stack.append(glass)
    result = np.zeros((len(stack), height, width))
    for y in range(height):
        for x in range(width):
            values = [plane[y, x] for plane in stack]
            if other is not None:
                values[other] = 0.05 * (1 - max(v for c, v in enumerate(values) if c != other))
            for c in range(len(values)):
                rest = max([v for d, v in enumerate(values) if d != c], default=0)
                result[c, y, x] = values[c] if c == other else max(values[c] - rest, 0)
    return result


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize(("pale", "other"), [([], None), ([1, 2], None), ([], 0), ([2], 1)])
def test_adjustment_equals_loops(background, pale, other):
    generator = torch.Generator().manual_seed(1)
    maps = (torch.rand(2, 3, 5, 7, generator=generator) * 4).round() / 4  # many ties
    maps[1, 2] = 0
    images = (torch.rand(2, 7, 5, 3, generator=generator) * 0.2 + 0.85).permute(0, 3, 2, 1)
    before = maps.clone()
    found = histosegnet.adjust(maps, images, background=background, pale=pale, other=other)
    assert found.shape == (2, 4 if background else 3, 5, 7)
    assert (maps == before).all()
    for i in range(2):
        expected = adjusted(maps[i].numpy(), images[i].double().numpy(), background, pale, other)
        np.testing.assert_allclose(found[i].numpy(), expected, atol=1e-4)


def mean_field(p: np.ndarray, image: np.ndarray, gaussian, bilateral, iterations: int) -> np.ndarray:
    """Krähenbühl and Koltun's algorithm 1 by loops over pairs of pixels, within the windows."""
    k, height, width = p.shape
    candidates = [c for c in range(k) if p[c].max() > 0]
    pixels = [(y, x) for y in range(height) for x in range(width)]
    energy = {(c, i): -math.log(min(max(p[c][i], 1e-5), 1)) for c in candidates for i in pixels}

    def normalised(messages: dict) -> dict:
        result = {}
        for i in pixels:
            low = min(messages[c, i] for c in candidates)
            total = sum(math.exp(low - messages[c, i]) for c in candidates)
            for c in candidates:
                result[c, i] = math.exp(low - messages[c, i]) / total
        return result

    def kernel(i, j, spatial: float, colour: float | None) -> float:
        dy, dx = i[0] - j[0], i[1] - j[1]
        if max(abs(dy), abs(dx)) > math.ceil(2 * spatial):
            return 0.0
        value = math.exp(-(dy**2 + dx**2) / (2 * spatial**2))
        if colour is not None:
            value *= math.exp(-sum((image[c][i] - image[c][j]) ** 2 for c in range(3)) / (2 * colour**2))
        return value

    q = normalised(energy)
    for _ in range(iterations):
        after = dict(energy)
        for spatial, colour, weight in ((gaussian[0], None, gaussian[1]), bilateral):
            for i in pixels:
                weights = {j: kernel(i, j, spatial, colour) for j in pixels}
                total = sum(weights.values())
                for c in candidates:
                    after[c, i] -= weight * sum(weights[j] * q[c, j] for j in pixels) / total
        q = normalised(after)
    return np.array([[[q.get((c, (y, x)), 0.0) for x in range(width)] for y in range(height)] for c in range(k)])


def test_dense_crf_equals_loops_over_pairs():
    generator = torch.Generator().manual_seed(2)
    p = torch.rand(2, 3, 4, 6, generator=generator) ** 3
    p[0, 1] = 0  # no candidate
    p[1, :, 2] = 0  # a row where nothing speaks
    images = torch.rand(2, 6, 4, 3, generator=generator).permute(0, 3, 2, 1)  # not contiguous
    options = {"gaussian": (0.8, 1.5), "bilateral": (1.3, 0.3, 2.5), "iterations": 3}
    found = histosegnet.dense_crf(p, images, **options).numpy()
    for i in range(2):
        expected = mean_field(p[i].double().numpy(), images[i].double().numpy(), **options)
        np.testing.assert_allclose(found[i], expected, atol=2e-5)
    assert (found[0, 1] == 0).all()


@given(st.integers(0, 2**20), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
@settings(max_examples=10, deadline=None)
def test_a_dense_crf_shares_every_pixel_and_ignores_the_order_of_classes(seed, height, width, k):
    generator = torch.Generator().manual_seed(seed)
    p = torch.rand(2, k, height, width, generator=generator)
    images = torch.rand(2, 3, height, width, generator=generator)
    found = histosegnet.dense_crf(p, images)
    torch.testing.assert_close(found.sum(1), torch.ones(2, height, width))
    turned = histosegnet.dense_crf(p.flip(1), images)
    torch.testing.assert_close(turned.flip(1), found, atol=1e-3, rtol=0)


def test_a_dense_crf_moves_a_border_to_where_the_colour_changes():
    image = torch.full((1, 3, 16, 20), 0.2)
    image[..., 11:] = 0.8
    p = torch.full((1, 2, 16, 20), 0.4)
    p[:, 0, :, :9], p[:, 1, :, 9:] = 0.6, 0.6  # two columns too early
    p[:, :, 4, 3] = torch.tensor([0.1, 0.9])  # and a speckle
    expected = (torch.arange(20) >= 11).long().expand(16, 20)
    found = histosegnet.dense_crf(p, image, gaussian=(1.0, 1.0), bilateral=(4.0, 0.1, 20.0)).argmax(1)[0]
    assert (found == expected).all()


def test_histosegnet_answers_with_tags_alone(model):
    images = pictures(4, 24, 32)
    images[3] = 1.0
    tags = torch.tensor([[1, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0, 0]])
    found = histosegnet.histosegnet_masks(model, images, tags)
    assert (found.shape, found.dtype) == ((4, 24, 32), torch.uint8)
    for ids, row in zip(found, tags, strict=True):
        assert set(ids.unique().tolist()) <= set(row.nonzero().flatten().tolist())
    with_glass = histosegnet.histosegnet_masks(model, images, tags, background=True, pale=[1])
    assert (with_glass[1] == 1).float().mean() > 0.9  # not white
    assert set(with_glass[3].unique().tolist()) <= {0, CLASSES}
    assert (with_glass[3] == CLASSES).any()


def test_histosegnet_goes_through_its_steps_at_the_patchs_scale(model):
    images, tags = pictures(2, 56, 64), torch.ones(2, CLASSES)
    maps = histosegnet.adjust(histosegnet.confident_maps(model, images, tags), images)
    assert (maps.amax((1, 2, 3)) > 0).all()
    crf = histosegnet.dense_crf(maps, images, gaussian=(0.75, 30.0), bilateral=(2.5, 20 / 255, 50.0))
    assert (histosegnet.histosegnet_masks(model, images, tags) == crf.argmax(1)).all()


def test_maps_that_cancel_leave_the_tags_as_candidates(model, monkeypatch):
    monkeypatch.setattr(histosegnet, "confident_maps", lambda m, x, t: torch.zeros(len(x), CLASSES, 24, 32))
    found = histosegnet.histosegnet_masks(model, pictures(2), torch.tensor([[0, 0, 1], [0, 1, 1]]))
    assert (found[0] == 2).all()
    assert set(found[1].unique().tolist()) <= {1, 2}
    images = pictures(1) * 0.8
    images[..., :16] = 1.0
    found = histosegnet.histosegnet_masks(model, images, torch.tensor([[0, 1, 0]]), background=True)[0]
    assert (found[:, :12] == CLASSES).all()
    assert (found[:, 20:] == 1).all()


def test_impossible_requests_of_histosegnet_are_refused(model):
    with pytest.raises(ValueError, match="have no tag"):
        histosegnet.histosegnet_masks(model, pictures(2), torch.tensor([[0, 0, 0], [1, 0, 0]]))
    maps, images = torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4)
    with pytest.raises(ValueError, match="must name"):
        histosegnet.adjust(maps, images, other=3)
    with pytest.raises(ValueError, match="must name"):
        histosegnet.adjust(maps, images, background=True, pale=[-1])
    with pytest.raises(ValueError, match="belong"):
        histosegnet.adjust(maps, torch.rand(1, 3, 4, 5))
    with pytest.raises(ValueError, match="belong"):
        histosegnet.dense_crf(maps, torch.rand(1, 3, 4, 5))
    with pytest.raises(ValueError, match="positive"):
        histosegnet.dense_crf(maps, images, gaussian=(0.0, 1.0))
    with pytest.raises(ValueError, match="positive"):
        histosegnet.dense_crf(maps, images, iterations=0)
    with pytest.raises(ValueError, match="candidate"):
        histosegnet.dense_crf(maps * 0, images)
