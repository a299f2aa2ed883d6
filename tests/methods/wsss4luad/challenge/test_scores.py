"""The challenge's measure against loops over pixels that use no library (Sect. III-E)."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from histolab_lite.methods.wsss4luad import Scores, challenge_scores


def slow(predictions: list, targets: list) -> tuple[float, list[float]]:
    """Mean IoU and the three IoU, NaN for a class that does not occur."""
    both, either = [0, 0, 0], [0, 0, 0]
    for prediction, target in zip(predictions, targets, strict=True):
        for p_row, t_row in zip(prediction, target, strict=True):
            for p, t in zip(p_row, t_row, strict=True):
                if t in (3, 255):  # white background counts for nothing
                    continue
                for k in range(3):
                    both[k] += p == k and t == k
                    either[k] += p == k or t == k
    ious = [b / e if e else math.nan for b, e in zip(both, either, strict=True)]
    occurring = [iou for iou in ious if not math.isnan(iou)]
    return (sum(occurring) / len(occurring) if occurring else math.nan), ious


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(1, 4))
def test_scores_are_those_of_the_loop_over_all_pixels(data, pictures):
    predictions, targets = [], []
    known = data.draw(st.sampled_from([[0, 1, 2, 3], [0, 1, 3], [2], [1, 3]]))
    for _ in range(pictures):
        shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=8))
        predictions.append(data.draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from(known))))
        targets.append(data.draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([*known, 255, 3]))))
    found = challenge_scores(predictions, targets)
    mean, ious = slow([p.tolist() for p in predictions], [t.tolist() for t in targets])
    assert found.mean_iou == pytest.approx(mean, abs=1e-6, nan_ok=True)
    assert [found.tumour, found.stroma, found.normal] == pytest.approx(ious, abs=1e-6, nan_ok=True)


def test_a_larger_picture_agrees_too():
    random = np.random.default_rng(3)
    targets = [random.integers(0, 4, shape, dtype=np.uint8) for shape in ((1211, 37), (64, 301))]
    predictions = [np.where(random.random(t.shape) < 0.7, t, random.integers(0, 4, t.shape)) for t in targets]
    predictions = [p.astype(np.uint8) for p in predictions]
    found = challenge_scores([p[::-1, ::-1] for p in predictions], [t[::-1, ::-1] for t in targets])
    mean, ious = slow([p.tolist() for p in predictions], [t.tolist() for t in targets])
    assert (found.mean_iou, found.tumour, found.stroma, found.normal) == pytest.approx((mean, *ious), abs=1e-6)


def test_white_predicted_on_tissue_is_a_miss_of_the_true_class_alone():
    target = np.array([[0, 0, 1, 1, 2, 2]])
    found = challenge_scores([np.array([[0, 3, 1, 1, 2, 2]])], [target])
    assert (found.tumour, found.stroma, found.normal) == (0.5, 1, 1)
    assert found.mean_iou == pytest.approx(2.5 / 3)


@pytest.mark.parametrize("white", [3, 255])
def test_whatever_is_predicted_on_white_counts_for_nothing(white):
    target = np.array([[0, 1, 2, white, white]], np.uint8)
    for guess in range(4):
        assert challenge_scores([np.array([[0, 1, 2, guess, 0]])], [target]) == Scores(1, 1, 1, 1)


def test_pictures_are_pooled_not_averaged():
    small, large = np.array([[0]]), np.zeros((3, 3), int)
    found = challenge_scores([small + 1, large], [small, large])
    assert found.tumour == pytest.approx(9 / 10)
    assert found.stroma == 0
    assert found.mean_iou == pytest.approx(9 / 20)


def test_a_class_that_neither_holds_is_left_out_of_the_mean_and_one_that_is_only_claimed_is_not():
    target = np.array([[0, 0, 1, 1]])
    absent = challenge_scores([target], [target])
    assert math.isnan(absent.normal)
    assert absent.mean_iou == 1
    claimed = challenge_scores([np.array([[0, 0, 1, 2]])], [target])
    assert claimed.normal == 0
    assert claimed.mean_iou == pytest.approx((1 + 0.5 + 0) / 3)


def test_white_alone_gives_no_score_and_no_warning():
    found = challenge_scores([np.array([[0, 1]])], [np.array([[3, 255]])])
    assert all(math.isnan(value) for value in (found.mean_iou, found.tumour, found.stroma, found.normal))


def test_masks_are_read_one_at_a_time():
    held = []

    def masks():
        for _ in range(3):
            held.append(1)
            yield np.zeros((2, 2), int)

    assert challenge_scores(masks(), masks()).tumour == 1
    assert len(held) == 6


def test_nonsense_is_refused():
    mask = np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match="no mask to score"):
        challenge_scores([], [])
    with pytest.raises(ValueError, match="differ in size"):
        challenge_scores([mask], [mask[:1]])
    with pytest.raises(ValueError, match="shorter|longer"):
        challenge_scores([mask], [mask, mask])
    with pytest.raises(ValueError, match="prediction holds ids"):
        challenge_scores([mask + 4], [mask])
    with pytest.raises(ValueError, match="target holds ids"):
        challenge_scores([mask], [mask + 4])
