"""Scores against loops over pixels."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from histolab_lite.metrics import binary_scores, confusion, knn_accuracy, linear_probe_accuracy, segmentation_scores


@st.composite
def masks_of(draw, values, labels):
    """One to three pairs (values, labels) of arrays of one size, and the pairs of their pixels that count."""
    arrays = []
    for _ in range(draw(st.integers(1, 3))):
        shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=5))
        first = draw(hnp.arrays(np.float32, shape, elements=st.sampled_from(values)))
        arrays.append((first, draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([*labels, 255])))))
    pixels = [(float(p), int(t)) for pair in arrays for p, t in zip(*(a.flat for a in pair), strict=True) if t != 255]
    return [first for first, _ in arrays], [second for _, second in arrays], pixels


def ratio(above, below):
    return above / below if below else math.nan


@settings(max_examples=40)
@given(data=st.data(), k=st.integers(2, 5))
def test_scores_are_those_of_a_loop_over_all_pixels_of_all_images(data, k):
    predictions, targets, pixels = data.draw(masks_of(list(range(k)), range(k)))
    scores = segmentation_scores(predictions, targets, k)
    dice, iou, frequency = [], [], []
    for c in range(k):
        both = sum(p == t == c for p, t in pixels)
        predicted, true = sum(p == c for p, _ in pixels), sum(t == c for _, t in pixels)
        dice.append(ratio(2 * both, predicted + true))
        iou.append(ratio(both, predicted + true - both))
        frequency.append(ratio(true, len(pixels)))
    np.testing.assert_allclose(scores.dice, dice)
    np.testing.assert_allclose(scores.iou, iou)
    np.testing.assert_allclose(scores.frequency, frequency)
    assert scores.accuracy == pytest.approx(ratio(sum(p == t for p, t in pixels), len(pixels)), nan_ok=True)
    own = sum(iou[t] for _, t in pixels)  # every pixel that counts brings the IoU of its true class
    assert scores.fw_iou == pytest.approx(ratio(own, len(pixels)), nan_ok=True)
    if pixels:
        assert scores.macro_dice == pytest.approx(np.mean([value for value in dice if not math.isnan(value)]))
        assert scores.mean_iou == pytest.approx(np.mean([value for value in iou if not math.isnan(value)]))


def test_rows_are_true_classes_and_ignored_pixels_count_nowhere():
    prediction = np.array([[0, 0, 1], [2, 255, 1]])
    target = np.array([[0, 1, 1], [1, 255, 2]])
    assert confusion(prediction, target, 3).tolist() == [[1, 0, 0], [1, 1, 1], [0, 1, 0]]
    assert confusion(torch.tensor(prediction), torch.tensor(target), 3).sum() == 5
    flipped = np.array([[0, 1], [1, 1]], np.uint8)  # negative strides
    assert confusion(flipped[::-1], flipped[:, ::-1], 2).tolist() == [[0, 1], [1, 2]]


def one(value):
    return [np.full((1, 1), value)]


@pytest.mark.parametrize("wrong", [3, 255, -1])
def test_an_id_that_is_no_class_is_refused(wrong):
    with pytest.raises(ValueError, match=f"prediction holds ids .*{wrong}.* there are 3 classes"):
        confusion(*one(wrong), *one(0), 3)
    if wrong != 255:
        with pytest.raises(ValueError, match=f"target holds ids .*{wrong}"):
            confusion(*one(0), *one(wrong), 3)


@pytest.mark.parametrize(
    ("score", "keyword"),
    [
        (lambda: confusion(np.zeros((2, 2)), np.zeros((2, 3)), 2), r"\(2, 2\) and target \(2, 3\)"),
        (lambda: segmentation_scores([], [], 2), "no mask"),
        (lambda: segmentation_scores(one(0), [], 2), "shorter"),
        (lambda: binary_scores([], []), "no mask"),
        (lambda: binary_scores([np.zeros((2, 2))], [np.zeros((2, 3))]), "differ in size"),
        (lambda: binary_scores(one(1.5), one(0)), "lie in"),
        (lambda: binary_scores(one(-0.5), one(0)), "lie in"),
        (lambda: binary_scores(one(np.nan), one(0)), "lie in"),
        (lambda: binary_scores(one(0.0), one(2)), "0, 1 and 255 only"),
        (lambda: binary_scores(one(0.0), []), "shorter"),
    ],
)
def test_masks_that_do_not_fit_are_refused(score, keyword):
    with pytest.raises(ValueError, match=keyword):
        score()


@settings(max_examples=60)
@given(masks_of([0.0, 0.25, 0.5, 0.75, 1.0], [0, 1]))
def test_binary_scores_are_those_of_loops_over_pixels_and_pairs_of_pixels(masks):
    probabilities, targets, pixels = masks
    scores = binary_scores(probabilities, targets)
    n = len(pixels)
    hits = sum(p >= 0.5 and y == 1 for p, y in pixels)
    predicted, true = sum(p >= 0.5 for p, _ in pixels), sum(y for _, y in pixels)
    accuracy = ratio(sum((p >= 0.5) == y for p, y in pixels), n)
    chance = ratio(predicted * true + (n - predicted) * (n - true), n**2)
    inside, outside = ([p for p, y in pixels if y == side] for side in (1, 0))
    wins = sum((p > q) + (p == q) / 2 for p in inside for q in outside)
    expected = {
        "dice": ratio(2 * hits, predicted + true),
        "accuracy": accuracy,
        "kappa": ratio(accuracy - chance, 1 - chance),
        "auc": ratio(wins, len(inside) * len(outside)),
    }
    for name, value in expected.items():
        assert getattr(scores, name) == pytest.approx(value, abs=1e-5, nan_ok=True), name


def test_binary_scores_take_tensors_booleans_and_views():
    p = torch.tensor([[0.9, 0.2], [0.6, 0.1]])
    mask = np.array([[False, True], [False, True]])[:, ::-1]
    scores = binary_scores([p], [mask])
    assert (scores.dice, scores.accuracy, scores.kappa, scores.auc) == pytest.approx((1, 1, 1, 1))


def test_neighbours_vote_by_angle_and_classes_have_equal_weights():
    train = np.array([[1, 0], [100, 1], [0, 1], [1, 100]], float)
    labels = np.array([0, 0, 1, 1])
    test = np.array([[50, 3], [0.01, 0], [0.02, 0], [0, 0.01], [30, 1]])
    truth = np.array([0, 0, 0, 1, 1])
    assert knn_accuracy(train, labels, test, truth, k=1) == pytest.approx((3 / 3 + 1 / 2) / 2)
    assert knn_accuracy(torch.tensor(train), labels, torch.tensor(test[:4]), truth[:4], k=2) == 1
    assert knn_accuracy(train, labels, test, truth, k=20) >= 0.5  # no more neighbours than there are


def test_a_linear_probe_finds_a_plane_that_neighbours_miss():
    """Two classes apart along one faint direction among strong noise, one three times as frequent."""
    random = np.random.default_rng(0)
    y = random.random(1200) < 0.25
    x = random.normal(0, 1, (1200, 20)) * np.array([0.1] + [5] * 19)
    x[:, 0] += 0.3 * y
    halves = x[:600], y[:600], x[600:], y[600:]
    assert linear_probe_accuracy(*halves) > 0.88
    assert knn_accuracy(*halves) < 0.65
    shuffled = random.permutation(y[:600])
    assert abs(linear_probe_accuracy(x[:600], shuffled, x[600:], y[600:]) - 0.5) < 0.12
