"""HistoSegNet and its dense CRF against their equations."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from scipy.special import softmax

from benchmarks.experiments.baselines import histosegnet
from histolab_lite.methods.mlps import activation_maps, classify
from tests.methods.small_classifier import CLASSES, classifier, random_images

MAPS, IMAGES, WIDER = torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 5)


@pytest.fixture(scope="module")
def model():
    return classifier()


def test_confident_maps_peak_at_the_classifiers_confidence(model):
    images = random_images(3, 40, 56)
    tags = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 1, 1]])
    found = histosegnet.confident_maps(model, images, tags)
    low = activation_maps(model, images, tags, ("bn7",))["bn7"]
    confidence = classify(model, images)
    for i, k in np.ndindex(3, CLASSES):
        full = F.interpolate(low[i, k][None, None], (40, 56), mode="bilinear")[0, 0]
        torch.testing.assert_close(found[i, k], full / full.max().clamp(min=1e-30) * confidence[i, k])
    assert (found.amax((2, 3)) > 0).sum() >= 3


def adjusted(maps, image, background, pale, other):
    """Class by class."""
    stack = list(maps)
    if background:
        glass = gaussian_filter(0.75 / (1 + np.exp(-4 * (image.mean(0) * 255 - 240))), 2, mode="nearest")
        stack.append(np.clip(glass - maps[pale].max(0, initial=0), 0, 1))

    def strongest_of_the_others(k):
        return np.delete(np.array(stack), k, 0).max(0, initial=0)

    if other is not None:
        stack[other] = 0.05 * (1 - strongest_of_the_others(other))
    return [x if k == other else (x - strongest_of_the_others(k)).clip(0) for k, x in enumerate(stack)]


@pytest.mark.parametrize(
    ("background", "pale", "other"),
    [(False, [], None), (False, [], 0), (True, [], None), (True, [1, 2], None), (True, [2], 1)],
)
def test_adjustment_is_step_3(background, pale, other):
    generator = torch.Generator().manual_seed(1)
    maps = (torch.rand(2, 3, 5, 7, generator=generator) * 4).round() / 4  # many ties
    maps[1, 2] = 0
    images = (torch.rand(2, 7, 5, 3, generator=generator) * 0.2 + 0.85).permute(0, 3, 2, 1)
    before = maps.clone()
    found = histosegnet.adjust(maps, images, background=background, pale=pale, other=other)
    assert (maps == before).all()
    expected = [adjusted(maps[i].numpy(), images[i].double().numpy(), background, pale, other) for i in (0, 1)]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def mean_field(p, image, gaussian, bilateral, iterations):
    """Krähenbühl and Koltun's algorithm 1 on a matrix of all pairs of pixels, within the windows."""
    places = np.indices(p.shape[1:]).reshape(2, -1).T
    apart = places[:, None] - places
    colours = image.reshape(3, -1).T
    unlike = ((colours[:, None] - colours) ** 2).sum(2)

    def kernel(spatial, colour):
        window = np.abs(apart).max(2) <= math.ceil(2 * spatial)
        weights = window * np.exp(-(apart**2).sum(2) / (2 * spatial**2) - unlike / (2 * colour**2))
        return weights / weights.sum(1, keepdims=True)

    smooth, appear = kernel(gaussian[0], np.inf), kernel(*bilateral[:2])
    candidate = p.max((1, 2)) > 0
    evidence = np.where(candidate[:, None], np.log(p.reshape(len(p), -1).clip(1e-5, 1)), -np.inf)
    q = softmax(evidence, 0)
    for _ in range(iterations):
        q = softmax(evidence + gaussian[1] * q @ smooth.T + bilateral[2] * q @ appear.T, 0)
    return q.reshape(p.shape)


def test_a_dense_crf_is_its_mean_field_over_all_pairs():
    generator = torch.Generator().manual_seed(2)
    p = torch.rand(2, 3, 4, 6, generator=generator) ** 3
    p[0, 1] = 0  # no candidate
    p[1, :, 2] = 0  # a row where nothing speaks
    images = torch.rand(2, 6, 4, 3, generator=generator).permute(0, 3, 2, 1)  # not contiguous
    options = {"gaussian": (0.8, 1.5), "bilateral": (1.3, 0.3, 2.5), "iterations": 3}
    found = histosegnet.dense_crf(p, images, **options).numpy()
    expected = [mean_field(p[i].double().numpy(), images[i].double().numpy(), **options) for i in (0, 1)]
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert (found[0, 1] == 0).all()


def test_histosegnet_answers_with_tags_alone(model):
    images = random_images(4, 24, 32)
    images[3] = 1.0
    tags = torch.tensor([[1, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0, 0]])
    found = histosegnet.histosegnet_masks(model, images, tags)
    assert (found.shape, found.dtype) == ((4, 24, 32), torch.uint8)
    for ids, row in zip(found, tags, strict=True):
        assert set(ids.unique().tolist()) <= set(row.nonzero().flatten().tolist())
    with_glass = histosegnet.histosegnet_masks(model, images, tags, background=True, pale=[1])
    assert (with_glass[1] == 1).float().mean() > 0.9  # not white
    assert CLASSES in with_glass[3]
    assert set(with_glass[3].unique().tolist()) <= {0, CLASSES}


def test_histosegnet_goes_through_its_steps_at_the_patchs_scale(model):
    images, tags = random_images(2, 56, 64), torch.ones(2, CLASSES)
    maps = histosegnet.adjust(histosegnet.confident_maps(model, images, tags), images)
    assert (maps.amax((1, 2, 3)) > 0).all()
    crf = histosegnet.dense_crf(maps, images, gaussian=(0.75, 30.0), bilateral=(2.5, 20 / 255, 50.0))
    assert (histosegnet.histosegnet_masks(model, images, tags) == crf.argmax(1)).all()


def test_maps_that_cancel_leave_the_tags_as_candidates(model, monkeypatch):
    monkeypatch.setattr(histosegnet, "confident_maps", lambda m, x, t: torch.zeros(len(x), CLASSES, 24, 32))
    found = histosegnet.histosegnet_masks(model, random_images(2), torch.tensor([[0, 0, 1], [0, 1, 1]]))
    assert (found[0] == 2).all()
    assert set(found[1].unique().tolist()) <= {1, 2}
    images = random_images(1) * 0.8
    images[..., :16] = 1.0
    found = histosegnet.histosegnet_masks(model, images, torch.tensor([[0, 1, 0]]), background=True)[0]
    assert (found[:, :12] == CLASSES).all()
    assert (found[:, 20:] == 1).all()


@pytest.mark.parametrize(
    ("refused", "keyword"),
    [
        (lambda model: histosegnet.histosegnet_masks(model, IMAGES, torch.zeros(1, 3)), "no tag"),
        (lambda model: histosegnet.adjust(MAPS, IMAGES, other=3), "must name"),
        (lambda model: histosegnet.adjust(MAPS, IMAGES, background=True, pale=[-1]), "must name"),
        (lambda model: histosegnet.adjust(MAPS, WIDER), "belong"),
        (lambda model: histosegnet.dense_crf(MAPS, WIDER), "belong"),
        (lambda model: histosegnet.dense_crf(MAPS, IMAGES, gaussian=(0.0, 1.0)), "positive"),
        (lambda model: histosegnet.dense_crf(MAPS, IMAGES, iterations=0), "positive"),
        (lambda model: histosegnet.dense_crf(MAPS * 0, IMAGES), "candidate"),
    ],
)
def test_what_does_not_fit_is_refused(model, refused, keyword):
    with pytest.raises(ValueError, match=keyword):
        refused(model)
