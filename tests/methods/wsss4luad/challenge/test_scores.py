"""The challenge's scores against loops over pixels that use no library (Sect. III-E)."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from histolab_lite.methods.wsss4luad import Scores, challenge_scores
from histolab_lite.methods.wsss4luad.challenge.scores import BAND
from tests.methods.refused import refused


def slow(predictions: list[np.ndarray], targets: list[np.ndarray]) -> list[float]:
    """Mean IoU and the IoU of tumour, stroma and normal, NaN for a class that does not occur."""
    both, either = [0, 0, 0], [0, 0, 0]
    for prediction, target in zip(predictions, targets, strict=True):
        for p, t in zip(prediction.ravel().tolist(), target.ravel().tolist(), strict=True):
            if t in (3, 255):  # white background is not scored
                continue
            for k in range(3):
                both[k] += p == k and t == k
                either[k] += p == k or t == k
    ious = [b / e if e else math.nan for b, e in zip(both, either, strict=True)]
    occurring = [iou for iou in ious if not math.isnan(iou)]
    return [sum(occurring) / len(occurring) if occurring else math.nan, *ious]


def values(scores: Scores) -> list[float]:
    return [scores.mean_iou, scores.tumour, scores.stroma, scores.normal]


@pytest.mark.filterwarnings("error")
@settings(max_examples=100)
@given(st.data(), st.integers(1, 4))
def test_scores_are_those_of_the_loop_over_all_pixels(data, n):
    predictions, targets = [], []
    known = data.draw(st.sampled_from([[0, 1, 2, 3], [0, 1, 3], [2], [1, 3]]))
    for _ in range(n):
        shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=8))
        predictions.append(data.draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from(known))))
        targets.append(data.draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([*known, 255, 3]))))
    expected = pytest.approx(slow(predictions, targets), abs=1e-6, nan_ok=True)
    assert values(challenge_scores(iter(predictions), iter(targets))) == expected


def test_images_larger_than_a_band_agree_too():
    random = np.random.default_rng(3)
    targets = [random.integers(0, 4, shape, dtype=np.uint8) for shape in ((2 * BAND + 187, 7), (64, 31))]
    predictions = [np.where(random.random(t.shape) < 0.7, t, 3 - t).astype(np.uint8) for t in targets]
    found = challenge_scores([p[::-1, ::-1] for p in predictions], [t[::-1, ::-1] for t in targets])
    assert values(found) == pytest.approx(slow(predictions, targets), abs=1e-6)


def test_bad_input_is_refused():
    mask = np.zeros((2, 2), np.uint8)
    refused("no mask to score", lambda: challenge_scores([], []))
    refused("differ in size", lambda: challenge_scores([mask], [mask[:1]]))
    refused("shorter|longer", lambda: challenge_scores([mask], [mask, mask]))
    refused("prediction holds ids", lambda: challenge_scores([mask + 4], [mask]))
    refused("target holds ids", lambda: challenge_scores([mask], [mask + 4]))
