"""Scores against loops over pixels."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from histolab_lite.metrics import binary_scores, confusion, knn_accuracy, linear_probe_accuracy, segmentation_scores


@settings(max_examples=40, deadline=None)
@given(data=st.data(), k=st.integers(2, 5), masks=st.integers(1, 3))
def test_scores_are_those_of_the_loop_over_all_pixels_of_all_images(data, k, masks):
    predictions, targets = [], []
    for _ in range(masks):
        shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=5))
        predictions.append(data.draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, k - 1))))
        targets.append(data.draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([*range(k), 255]))))
    pairs = [
        (int(p), int(t))
        for prediction, target in zip(predictions, targets, strict=True)
        for p, t in zip(prediction.flat, target.flat, strict=True)
        if t != 255
    ]
    scores = segmentation_scores(predictions, targets, k)
    for c in range(k):
        both = sum(p == t == c for p, t in pairs)
        claimed, true = sum(p == c for p, _ in pairs), sum(t == c for _, t in pairs)
        if claimed + true == 0:
            assert math.isnan(scores.dice[c])
            assert math.isnan(scores.iou[c])
        else:
            assert scores.dice[c] == pytest.approx(2 * both / (claimed + true))
            assert scores.iou[c] == pytest.approx(both / (claimed + true - both))
    if pairs:
        assert scores.accuracy == pytest.approx(sum(p == t for p, t in pairs) / len(pairs))
        present = [value for value in scores.dice.tolist() if not math.isnan(value)]
        assert scores.macro_dice == pytest.approx(sum(present) / len(present))
        present = [value for value in scores.iou.tolist() if not math.isnan(value)]
        assert scores.mean_iou == pytest.approx(sum(present) / len(present))
        own = [scores.iou[t] for _, t in pairs]  # every counted pixel brings the IoU of its true class
        assert scores.fw_iou == pytest.approx(sum(own) / len(pairs))
    else:
        assert math.isnan(scores.accuracy)
        assert math.isnan(scores.fw_iou)


def test_rows_are_true_classes_and_ignored_pixels_count_nowhere():
    prediction = np.array([[0, 0, 1], [2, 1, 1]])
    target = np.array([[0, 1, 1], [1, 255, 2]])
    assert confusion(prediction, target, 3).tolist() == [[1, 0, 0], [1, 1, 1], [0, 1, 0]]
    assert confusion(torch.tensor(prediction), torch.tensor(target), 3).sum() == 5


def test_what_is_predicted_where_the_target_is_ignored_does_not_matter():
    target = np.array([[255, 1]], np.uint8)
    assert confusion(np.array([[255, 1]], np.uint8), target, 2).tolist() == [[0, 0], [0, 1]]


def test_flipped_views_are_read():
    prediction = np.array([[0, 1], [1, 1]], np.uint8)
    assert confusion(prediction[::-1], prediction[:, ::-1], 2).tolist() == [[0, 1], [1, 2]]


def test_a_class_that_neither_holds_is_nan_and_left_out_of_the_mean():
    scores = segmentation_scores([np.array([[0, 0]])], [np.array([[0, 2]])], 4)
    np.testing.assert_allclose(scores.dice, [2 / 3, np.nan, 0, np.nan])
    np.testing.assert_allclose(scores.iou, [1 / 2, np.nan, 0, np.nan])
    assert scores.macro_dice == pytest.approx(1 / 3)
    assert scores.mean_iou == pytest.approx(1 / 4)


def test_images_are_pooled_not_averaged():
    """Dice over all pixels is not the mean of the images' Dices."""
    small, large = np.array([[1]]), np.ones((3, 3), int)
    scores = segmentation_scores([small * 0, large], [small, large], 2)
    assert scores.dice[1] == pytest.approx(2 * 9 / 19)


def test_masks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"prediction \(2, 2\) and target \(2, 3\) differ in size"):
        confusion(np.zeros((2, 2)), np.zeros((2, 3)), 2)
    with pytest.raises(ValueError, match="no mask to score"):
        segmentation_scores([], [], 2)
    with pytest.raises(ValueError, match="shorter"):
        segmentation_scores([np.zeros((1, 1))], [], 2)


@pytest.mark.parametrize("wrong", [3, 7, 255, -1])
def test_an_id_that_is_no_class_is_refused_not_miscounted(wrong):
    with pytest.raises(ValueError, match=f"prediction holds ids .*{wrong}.* there are 3 classes"):
        confusion(np.array([[0, wrong]]), np.zeros((1, 2)), 3)
    if wrong != 255:
        with pytest.raises(ValueError, match="target holds ids"):
            confusion(np.zeros((1, 2)), np.array([[0, wrong]]), 3)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), images=st.integers(1, 3))
def test_binary_scores_are_those_of_loops_over_pixels_and_pairs_of_pixels(data, images):
    probabilities, masks = [], []
    for _ in range(images):
        shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=4))
        tied = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
        probabilities.append(data.draw(hnp.arrays(np.float32, shape, elements=tied)))
        masks.append(data.draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 255]))))
    pixels = [
        (float(p), int(y))
        for probability, mask in zip(probabilities, masks, strict=True)
        for p, y in zip(probability.flat, mask.flat, strict=True)
        if y != 255
    ]
    scores = binary_scores(probabilities, masks)
    n = len(pixels)
    hits = sum(p >= 0.5 and y == 1 for p, y in pixels)
    claimed, true = sum(p >= 0.5 for p, _ in pixels), sum(y for _, y in pixels)
    right = sum((p >= 0.5) == y for p, y in pixels)
    expected = {"dice": math.nan, "accuracy": math.nan, "kappa": math.nan, "auc": math.nan}
    if claimed + true:
        expected["dice"] = 2 * hits / (claimed + true)
    if n:
        expected["accuracy"] = right / n
        chance = (claimed * true + (n - claimed) * (n - true)) / n**2
        expected["kappa"] = (right / n - chance) / (1 - chance) if chance < 1 else math.nan
    if 0 < true < n:
        inside, outside = ([p for p, y in pixels if y == side] for side in (1, 0))
        wins = sum((p > q) + (p == q) / 2 for p in inside for q in outside)
        expected["auc"] = wins / (len(inside) * len(outside))
    for name, value in expected.items():
        assert getattr(scores, name) == pytest.approx(value, abs=1e-5, nan_ok=True), name


def test_binary_scores_take_tensors_booleans_and_views():
    p = torch.tensor([[0.9, 0.2], [0.6, 0.1]])
    mask = np.array([[False, True], [False, True]])[:, ::-1]
    scores = binary_scores([p], [mask])
    assert (scores.dice, scores.accuracy, scores.kappa, scores.auc) == pytest.approx((1, 1, 1, 1))


@pytest.mark.parametrize(
    ("probabilities", "masks", "message"),
    [
        ([], [], "no mask"),
        ([np.zeros((2, 2))], [np.zeros((2, 3))], "differ in size"),
        ([np.full((1, 1), 1.5)], [np.zeros((1, 1))], "lie in"),
        ([np.full((1, 1), np.nan)], [np.zeros((1, 1))], "lie in"),
        ([np.zeros((1, 1))], [np.full((1, 1), 2)], "0, 1 and 255 only"),
        ([np.zeros((1, 1))], [], "shorter"),
    ],
)
def test_probabilities_and_masks_that_do_not_fit_are_refused(probabilities, masks, message):
    with pytest.raises(ValueError, match=message):
        binary_scores(probabilities, masks)


def test_knn_votes_by_angle_and_weighs_classes_alike():
    train = np.array([[1, 0], [100, 1], [0, 1], [1, 100]], float)
    labels = np.array([0, 0, 1, 1])
    test = np.array([[50, 3], [0.01, 0], [0.02, 0], [0, 0.01], [30, 1]])
    truth = np.array([0, 0, 0, 1, 1])
    assert knn_accuracy(train, labels, test, truth, k=1) == pytest.approx((3 / 3 + 1 / 2) / 2)
    assert knn_accuracy(torch.tensor(train), labels, torch.tensor(test[:4]), truth[:4], k=2) == 1
    assert knn_accuracy(train, labels, test, truth, k=20) >= 0.5  # no more neighbours than there are


def test_linear_probe_finds_a_plane_that_neighbours_miss() -> None:
    """Two classes apart along one faint direction among strong noise, one three times as frequent."""
    random = np.random.default_rng(0)
    y = random.random(1200) < 0.25
    x = random.normal(0, 1, (1200, 20)) * np.array([0.1] + [5] * 19)
    x[:, 0] += 0.3 * y
    halves = x[:600], y[:600], x[600:], y[600:]
    linear, neighbours = linear_probe_accuracy(*halves), knn_accuracy(*halves)
    assert linear > 0.88
    assert neighbours < 0.65
    shuffled = random.permutation(y[:600])
    assert abs(linear_probe_accuracy(x[:600], shuffled, x[600:], y[600:]) - 0.5) < 0.12
