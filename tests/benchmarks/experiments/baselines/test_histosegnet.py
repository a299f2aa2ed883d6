"""HistoSegNet and its dense CRF against slow loops."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.experiments.baselines import histosegnet
from histolab_lite.methods.mlps import Classifier, activation_maps, classify
from tests.methods.small_classifier import CLASSES, classifier, pictures


@pytest.fixture(scope="module")
def model() -> Classifier:
    return classifier()


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
