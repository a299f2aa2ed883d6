"""Filling false background and the rule of normal tissue, against loops over pixels; ties, borders, exact shares."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histolab_lite.data import IGNORE
from histolab_lite.methods.wsss4luad.ideas.postprocessing import fill_background, normal_rule


def scene(height: int, width: int, ids: list[int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice(ids, (height, width)).astype(np.uint8)


def nearest_classes(prediction: np.ndarray, row: int, col: int, background: int) -> set[int]:
    """The classes at the smallest distance from a pixel: one, or those of a tie."""
    found = [((y - row) ** 2 + (x - col) ** 2, k) for (y, x), k in np.ndenumerate(prediction) if k != background]
    return {int(k) for distance, k in found if distance == min(found)[0]}


def slow_rule(prediction, normal, others, side, share, background) -> np.ndarray:
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


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 11), st.integers(1, 11)),
    ids=st.sampled_from([[0, 1, 2, 255], [255, 255, 255, 255, 0, 1], [0, 1], [255]]),
    seed=st.integers(0, 999),
)
def test_false_background_takes_the_nearest_class(size, ids, seed):
    prediction = scene(*size, ids, seed)
    foreground = np.random.default_rng(seed + 1).random(size) < 0.6
    before = prediction.copy()
    filled = fill_background(prediction, foreground)
    assert np.array_equal(prediction, before)
    for place, k in np.ndenumerate(filled):
        if prediction[place] == IGNORE and foreground[place] and (prediction != IGNORE).any():
            assert k in nearest_classes(prediction, *place, IGNORE)
        else:
            assert k == prediction[place]


def test_the_distance_is_euclidean_and_filled_pixels_are_no_donors():
    prediction = np.full((9, 9), 3, np.int16)
    prediction[0, 4], prediction[3, 7] = 0, 1  # from (4, 4): 4 up, or 3 and 1, of city blocks 4 and 4
    filled = fill_background(prediction, np.ones((9, 9), bool), background=3)
    assert filled[4, 4] == 1
    assert filled.dtype == np.int16
    line = np.array([[0, 3, 3, 3, 3, 3, 1]])
    assert fill_background(line, line == 3, 3).tolist()[0][:3] == [0, 0, 0]
    assert fill_background(line, line == 3, 3).tolist()[0][4:] == [1, 1, 1]


def test_glass_stays_and_what_was_called_tissue_there_gives_its_class():
    prediction = np.array([[255, 255, 1, 255, 255]], np.uint8)
    foreground = np.array([[True, False, False, False, True]])
    assert fill_background(prediction, foreground).tolist() == [[1, 255, 1, 255, 1]]


def test_of_no_class_there_is_none_to_take():
    empty = np.full((4, 5), 255, np.uint8)
    filled = fill_background(empty, np.ones((4, 5), bool))
    assert np.array_equal(filled, empty)
    assert filled is not empty


@settings(max_examples=80, deadline=None)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 12)),
    side=st.integers(1, 14),
    share=st.sampled_from([(0.3, "3/10"), (0.29, "29/100"), (0.0, "0"), (1 / 3, "1/3"), (0.7, "7/10")]),
    background=st.sampled_from([None, 255]),
    seed=st.integers(0, 999),
)
def test_the_rule_is_that_of_slow_loops(size, side, share, background, seed):
    prediction = scene(*size, [0, 1, 2, 2, 255, 7], seed)
    found = normal_rule(prediction, side=side, share=share[0], background=background)
    assert found.dtype == prediction.dtype
    assert np.array_equal(found, slow_rule(prediction, 2, (0, 1), side, Fraction(share[1]), background))


@pytest.mark.parametrize(("side", "share", "normals"), [(10, 0.3, 30), (10, 0.29, 29), (100, 0.3, 3000)])
def test_a_neighbourhood_of_exactly_the_share_changes_nothing(side, share, normals):
    """0.29 * 100 is below 29 in floats: a comparison of those would change it."""
    centre = side // 2, side // 2
    prediction = np.zeros((side, side), np.uint8)
    prediction.flat[:normals] = 2
    assert prediction[centre] == 0
    assert normal_rule(prediction, side=side, share=share)[centre] == 0
    prediction[-1, -1] = 2
    assert normal_rule(prediction, side=side, share=share)[centre] == 2


def test_an_even_side_reaches_farther_up_and_left():
    for side, reached in ((4, range(3, 7)), (5, range(3, 8)), (1, range(5, 6))):
        for row in range(11):
            prediction = np.ones((11, 1), np.uint8)
            prediction[row] = 2
            changed = normal_rule(prediction, side=side, share=0.0)[5, 0] == 2
            assert changed == (row in reached), (side, row)


def test_all_is_decided_on_the_prediction_as_it_was():
    """Decided one after the other, the first change would tip the next pixel, and so on along the row."""
    prediction = np.array([[2, 1, 1, 1, 1, 1, 1]], np.uint8)
    assert normal_rule(prediction, side=3, share=0.3).tolist() == [[2, 2, 1, 1, 1, 1, 1]]
    assert prediction.tolist() == [[2, 1, 1, 1, 1, 1, 1]]


def test_background_counts_unless_it_is_named():
    prediction = np.full((10, 10), 3, np.uint8)
    prediction[4, 4:7] = [0, 2, 2]
    assert np.array_equal(normal_rule(prediction, side=10), prediction)
    assert normal_rule(prediction, side=10, background=3)[4].tolist() == [3, 3, 3, 3, 2, 2, 2, 3, 3, 3]


def test_any_two_classes_and_any_strides():
    prediction = scene(40, 31, [0, 1], 5)
    found = normal_rule(prediction, normal=0, others=[1], side=7, share=0.5)
    assert np.array_equal(found, slow_rule(prediction, 0, (1,), 7, Fraction(1, 2), None))
    assert 0 < (found != prediction).mean() < 0.5
    turned = np.asfortranarray(prediction)[::-1, ::-1]
    again = normal_rule(turned.astype(np.int64), normal=0, others=[1], side=7, share=0.5)
    assert np.array_equal(again[::-1, ::-1], found)
    assert np.array_equal(normal_rule(prediction), prediction)  # no normal tissue at all
    far = normal_rule(prediction, normal=0, others=[1], side=100_000, share=0.01)
    assert (far == 0).all()


def test_large_neighbourhoods_do_not_overflow():
    prediction = np.full((500, 500), 2, np.uint8)
    prediction[0, 0] = 0  # 10 000 times 249 999 normal pixels are more than an int32 holds
    assert normal_rule(prediction, side=1000, share=0.3001)[0, 0] == 2


def test_input_that_does_not_fit_is_refused():
    prediction = scene(5, 6, [0, 1, 2])
    for wrong in (prediction[None], prediction.astype(float), prediction[:0]):
        with pytest.raises(ValueError, match=r"integer \(H, W\)"):
            normal_rule(wrong)
        with pytest.raises(ValueError, match=r"integer \(H, W\)"):
            fill_background(wrong, np.ones(wrong.shape, bool))
    for foreground in (np.ones((5, 5), bool), np.ones((5, 6), np.uint8)):
        with pytest.raises(ValueError, match="foreground"):
            fill_background(prediction, foreground)
    for wrong in ({"others": ()}, {"others": (0, 2)}, {"others": (1, 1)}, {"background": 0}):
        with pytest.raises(ValueError, match="different classes"):
            normal_rule(prediction, **wrong)
    for wrong in ({"side": 0}, {"share": 1.0}, {"share": -0.1}):
        with pytest.raises(ValueError, match="side is at least 1"):
            normal_rule(prediction, **wrong)
