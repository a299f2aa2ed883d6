"""Spliced patches and mosaics: every pixel is one of a donor, in its place or moved as promised, and its label too."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from histolab_lite.data import IGNORE
from histolab_lite.methods.wsss4luad.ideas.splicing import mosaic, splice

KINDS = {"splice": splice, "mosaic": mosaic}


def single(classes: list[int], height: int = 13, width: int = 9, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Patches of one class each; red is the index of the patch, green and blue the place, and some pixels are glass."""
    patches = np.empty((len(classes), height, width, 3), np.uint8)
    patches[..., 0] = np.arange(len(classes))[:, None, None]
    patches[..., 1], patches[..., 2] = np.indices((height, width))
    masks = np.empty((len(classes), height, width), np.uint8)
    masks[:] = np.array(classes)[:, None, None]
    masks[np.random.default_rng(seed).random(masks.shape) < 0.2] = IGNORE
    return patches, masks


@pytest.mark.parametrize("classes", [[0, 1, 2, 0, 0], [1, 0], [5, 5], [3]])
@pytest.mark.parametrize("kind", KINDS)
def test_every_pixel_brings_the_label_of_its_donor(kind, classes):
    patches, masks = single(classes)
    made, labels = KINDS[kind](patches, masks, 12, 4)
    assert made.shape == (12, 13, 9, 3)
    assert labels.shape == (12, 13, 9)
    assert made.dtype == labels.dtype == np.uint8
    for index, row, col in np.ndindex(12, 13, 9):
        donor, y, x = made[index, row, col]
        assert (y, x) == (row, col) or kind == "mosaic"
        assert labels[index, row, col] == masks[donor, y, x]
    assert (labels == IGNORE).any()


def test_a_rectangle_of_another_class_lies_on_a_patch():
    classes = [0, 1, 2, 0, 0]
    patches, masks = single(classes, 32, 24)
    made, _ = splice(patches, masks, 60, 1)
    sizes = set()
    for picture in made[..., 0]:
        donors = np.unique(picture)
        assert len(donors) <= 2
        boxes = [np.argwhere(picture == d) for d in donors]
        filled = [len(box) == np.prod(np.ptp(box, axis=0) + 1) for box in boxes]
        assert any(filled)  # the piece is a full rectangle
        if len(donors) == 2:
            assert classes[donors[0]] != classes[donors[1]]
            sizes.add(min(len(box) for box in boxes))
    assert len(sizes) > 30


def test_the_rectangles_area_is_that_of_cutmix():
    """Drawn again with the same generator's law: the mean area after cutting, by a slow simulation of eq. 1 and 2."""
    patches, masks = single([0, 1], 40, 40)
    made, _ = splice(patches, masks, 4000, 0, alpha=2.0)
    corners = made[:, 0, 0, 0]  # under the rectangle less often than not; the share pasted is its complement
    pasted = [(picture != corner).mean() for picture, corner in zip(made[..., 0], corners, strict=True)]
    random = np.random.default_rng(99)
    expected = []
    for _ in range(20_000):
        side = 40 * math.sqrt(1 - random.beta(2, 2))
        x, y = random.uniform(0, 40, 2)
        box = [(max(round(c - side / 2), 0), min(round(c + side / 2), 40)) for c in (x, y)]
        area = math.prod(b - a for a, b in box) / 1600
        covers_corner = box[0][0] == box[1][0] == 0 and area > 0
        expected.append(1 - area if covers_corner else area)
    np.testing.assert_allclose(np.mean(pasted), np.mean(expected), atol=0.015)
    np.testing.assert_allclose(np.std(pasted), np.std(expected), atol=0.015)


def test_rare_classes_come_as_often_as_common_ones():
    patches, masks = single([0] * 30 + [1, 2])
    masks[:] = masks.min((1, 2))[:, None, None]
    _, labels = splice(patches, masks, 900, 3)
    shares = np.bincount(labels.ravel(), minlength=3) / labels.size
    np.testing.assert_allclose(shares, 1 / 3, atol=0.03)


@pytest.mark.parametrize(("grid", "n_classes"), [(1, 3), (2, 2), (2, 3), (3, 3), (2, 6), (3, 1)])
def test_a_cell_is_a_crop_of_one_patch_and_classes_take_turns(grid, n_classes):
    classes = [k for k in range(n_classes) for _ in range(2)]
    patches, masks = single(classes)
    made, _ = mosaic(patches, masks, 20, 0, grid)
    rows, cols = ([side * cell // grid for cell in range(grid + 1)] for side in (13, 9))
    orders, starts = set(), set()
    for picture in made:
        shown = []
        for i, j in np.ndindex(grid, grid):
            cell = picture[rows[i] : rows[i + 1], cols[j] : cols[j + 1]]
            donor = cell[0, 0, 0]
            windows = sliding_window_view(patches[donor], cell.shape).reshape(-1, *cell.shape)
            assert (windows == cell).all((1, 2, 3)).any()
            starts.add(tuple(cell[0, 0, 1:]))
            shown.append(classes[donor])
        counts = np.bincount(shown, minlength=n_classes)
        assert np.ptp(counts) <= 1
        orders.add(tuple(shown))
    assert len(orders) > 1 or n_classes == 1
    assert len(starts) > grid * grid or grid == 1


@settings(max_examples=20, deadline=None)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    classes=st.lists(st.integers(0, 4), min_size=1, max_size=5),
    size=st.tuples(st.integers(2, 9), st.integers(2, 9)),
    seed=st.integers(0, 1000),
)
def test_the_seed_decides_and_more_patches_begin_with_the_same(kind, classes, size, seed):
    patches, masks = single(classes, *size)
    masks[:, 0, 0] = classes
    make = KINDS[kind]
    seven, three = make(patches, masks, 7, seed), make(patches, masks, 3, seed)
    for more, fewer in zip(seven, three, strict=True):
        assert np.array_equal(more[:3], fewer)
    assert set(np.unique(seven[1])) <= {*classes, IGNORE}
    turned = np.asfortranarray(patches), np.ascontiguousarray(masks[:, ::-1])[:, ::-1]
    assert np.array_equal(make(*turned, 3, seed)[0], three[0])


def test_another_seed_gives_others_and_the_input_stays():
    patches, masks = single([0, 1, 2])
    before = patches.copy(), masks.copy()
    for make in KINDS.values():
        assert not np.array_equal(make(patches, masks, 4, 0)[0], make(patches, masks, 4, 1)[0])
    assert np.array_equal(patches, before[0])
    assert np.array_equal(masks, before[1])


@pytest.mark.parametrize("make", KINDS.values())
def test_what_cannot_be_put_together_is_refused(make):
    patches, masks = single([0, 1, 2])
    with pytest.raises(ValueError, match="nothing to put together"):
        make(patches[:0], masks[:0], 2, 0)
    with pytest.raises(ValueError, match=r"expected patches.*\(3, 13, 9, 2\)"):
        make(patches[..., :2], masks, 2, 0)
    with pytest.raises(ValueError, match="float64"):
        make(patches / 255, masks, 2, 0)
    with pytest.raises(ValueError, match=r"uint8 \(3, 13, 9\); got uint8 \(2, 13, 9\)"):
        make(patches, masks[:2], 2, 0)
    with pytest.raises(ValueError, match="int64"):
        make(patches, masks.astype(int), 2, 0)
    with pytest.raises(ValueError, match="n .*at least 1"):
        make(patches, masks, 0, 0)
    mixed, empty = masks.copy(), masks.copy()
    mixed[1, 4, 4], mixed[1, 4, 5] = 0, 1
    empty[2] = IGNORE
    with pytest.raises(ValueError, match=r"\[1\] show several classes"):
        make(patches, mixed, 2, 0)
    with pytest.raises(ValueError, match=r"\[2\] show no class"):
        make(patches, empty, 2, 0)


def test_numbers_out_of_range_are_refused():
    patches, masks = single([0, 1])
    for n, alpha in ((1, 0), (0, 1)):
        with pytest.raises(ValueError, match=rf"got {n} and {alpha}"):
            splice(patches, masks, n, 0, alpha=alpha)
    for grid in (0, 10):
        with pytest.raises(ValueError, match=rf"13 × 9; got 1 and {grid}"):
            mosaic(patches, masks, 1, 0, grid)
