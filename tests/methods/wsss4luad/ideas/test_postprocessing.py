"""Filling false background and the rule of normal tissue, against loops over pixels; ties, borders, exact shares."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histolab_lite.data import IGNORE
from histolab_lite.methods.wsss4luad.ideas.postprocessing import fill_background, normal_rule
from tests.methods.refused import refused


def scene(height: int, width: int, ids: list[int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice(ids, (height, width)).astype(np.uint8)


def nearest_classes(prediction: np.ndarray, row: int, col: int, background: int) -> set[int]:
    """The classes at the smallest distance from a pixel: one, or those of a tie."""
    found = [((y - row) ** 2 + (x - col) ** 2, k) for (y, x), k in np.ndenumerate(prediction) if k != background]
    return {int(k) for distance, k in found if distance == min(found)[0]}


def slow_rule(prediction, normal, others, side, share, background=None) -> np.ndarray:
    result = prediction.copy()
    height, width = prediction.shape
    for (row, col), k in np.ndenumerate(prediction):
        if k not in others:
            continue
        normals = total = 0
        for y in range(row - side // 2, row - side // 2 + side):
            for x in range(col - side // 2, col - side // 2 + side):
                if 0 <= y < height and 0 <= x < width and prediction[y, x] != background:
                    total += 1
                    normals += prediction[y, x] == normal
        if int(normals) > share * total:
            result[row, col] = normal
    return result


@settings(max_examples=60)
@given(
    size=st.tuples(st.integers(1, 11), st.integers(1, 11)),
    ids=st.sampled_from([[0, 1, 2, 3], [3, 3, 3, 3, 0, 1], [0, 1], [3]]),
    background=st.sampled_from([3, IGNORE]),
    seed=st.integers(0, 999),
)
def test_false_background_takes_the_nearest_class(size, ids, background, seed):
    prediction = scene(*size, [background if k == 3 else k for k in ids], seed)
    foreground = np.random.default_rng(seed + 1).random(size) < 0.6
    before = prediction.copy()
    filled = fill_background(prediction, foreground, *([] if background == IGNORE else [background]))
    assert np.array_equal(prediction, before)
    assert filled.dtype == prediction.dtype
    for place, k in np.ndenumerate(filled):
        if prediction[place] == background and foreground[place] and (prediction != background).any():
            assert k in nearest_classes(prediction, *place, background)
        else:
            assert k == prediction[place]


@settings(max_examples=80)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 12)),
    side=st.integers(1, 14),
    share=st.sampled_from([(0.3, "3/10"), (0.29, "29/100"), (0.0, "0"), (1 / 3, "1/3"), (0.7, "7/10")]),
    background=st.sampled_from([None, 255]),
    seed=st.integers(0, 999),
)
def test_the_rule_is_that_of_slow_loops(size, side, share, background, seed):
    prediction = scene(*size, [0, 1, 2, 2, 255, 7], seed)
    before = prediction.copy()
    found = normal_rule(prediction, side=side, share=share[0], background=background)
    assert np.array_equal(prediction, before)
    assert found.dtype == prediction.dtype
    assert np.array_equal(found, slow_rule(prediction, 2, (0, 1), side, Fraction(share[1]), background))


@pytest.mark.parametrize(
    ("side", "normals", "options"), [(10, 29, {"side": 10, "share": 0.29}), (100, 3000, {})], ids=["given", "default"]
)
def test_a_neighbourhood_of_exactly_the_share_changes_nothing(side, normals, options):
    """0.29 * 100 is below 29 in floats: a comparison of those would change it."""
    centre = side // 2, side // 2
    prediction = np.zeros((side, side), np.uint8)
    prediction.flat[:normals] = 2
    assert normal_rule(prediction, **options)[centre] == 0
    prediction[-1, -1] = 2
    assert normal_rule(prediction, **options)[centre] == 2


def test_any_two_classes_and_any_strides():
    prediction = scene(40, 31, [0, 1], 5)
    found = normal_rule(prediction, normal=0, others=[1], side=7, share=0.5)
    assert np.array_equal(found, slow_rule(prediction, 0, (1,), 7, Fraction(1, 2)))
    turned = np.asfortranarray(prediction)[::-1, ::-1].astype(np.int64)
    assert np.array_equal(normal_rule(turned, normal=0, others=[1], side=7, share=0.5)[::-1, ::-1], found)
    assert (normal_rule(prediction, normal=0, others=[1], side=100_000, share=0.01) == 0).all()


def test_large_neighbourhoods_do_not_overflow():
    prediction = np.full((500, 500), 2, np.uint8)
    prediction[0, 0] = 0  # 10 000 times 249 999 normal pixels are more than an int32 holds
    assert normal_rule(prediction, side=1000, share=0.3001)[0, 0] == 2


def test_bad_input_is_refused():
    ids = scene(5, 6, [0, 1, 2])
    refused(r"integer \(H, W\)", normal_rule, ids[None], ids / 2, ids[:0])
    refused(r"integer \(H, W\)", lambda: fill_background(ids / 2, ids > 0))
    refused("foreground", lambda mask: fill_background(ids, mask), ids[:, 1:] > 0, ids)
    refused("different classes", lambda others: normal_rule(ids, others=others), (), (0, 2), (1, 1))
    refused("different classes", lambda: normal_rule(ids, background=0))
    refused("side is at least 1", lambda: normal_rule(ids, side=0))
    refused("share in", lambda share: normal_rule(ids, share=share), 1.0, -0.1)
