"""Spliced patches and mosaics: every pixel is one of a donor, in its place or moved as promised, and its label too."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from histolab_lite.data import IGNORE
from histolab_lite.methods.wsss4luad.ideas.splicing import mosaic, splice
from tests.methods.refused import refused


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
@pytest.mark.parametrize("make", [splice, mosaic])
def test_every_pixel_brings_the_label_of_its_donor(make, classes):
    patches, masks = single(classes)
    made, labels = make(patches, masks, 12, 4)
    assert (made.shape, made.dtype, labels.dtype) == ((12, 13, 9, 3), np.uint8, np.uint8)
    donor, y, x = np.moveaxis(made, 3, 0)
    assert np.array_equal(labels, masks[donor, y, x])
    assert len(classes) == 1 or not np.array_equal(made, make(patches, masks, 12, 5)[0])
    if make is splice:
        assert np.array_equal(made[..., 1:], patches[[0] * 12, ..., 1:])  # all pixels keep their place


def rectangles(alpha: float) -> list[tuple[int, int]]:
    """Rows and columns of what lies on each patch: all pixels of a donor of another class, and a full rectangle."""
    classes, found = [0, 1, 2, 0, 0], []
    for image in splice(*single(classes, 32, 24), 200, 1, alpha=alpha)[0][..., 0]:
        donors, counts = np.unique(image, return_counts=True)
        assert len({classes[donor] for donor in donors}) == len(donors) <= 2
        boxes = [np.ptp(np.argwhere(image == donor), axis=0) + 1 for donor in donors]
        found.append(min(tuple(box.tolist()) for box, n in zip(boxes, counts, strict=True) if box.prod() == n))
    return found


def test_rectangles_of_another_class_have_the_area_of_cutmix():
    assert len(set(rectangles(alpha=1.0))) > 60
    rows, cols = zip(*rectangles(alpha=1e9), strict=True)  # half of the area: √½ · 32 and √½ · 24 pixels
    assert (max(rows), max(cols)) == (23, 17)
    assert rows.count(22) + rows.count(23) > 40


def test_rare_classes_come_as_often_as_common_ones():
    patches, masks = single([0] * 30 + [1, 2])
    masks[:] = masks.min((1, 2))[:, None, None]
    _, labels = splice(patches, masks, 900, 3)
    shares = np.bincount(labels.ravel(), minlength=3) / labels.size
    np.testing.assert_allclose(shares, 1 / 3, atol=0.03)


@pytest.mark.parametrize(("grid", "n_classes"), [(1, 3), (2, 2), (3, 3), (2, 6), (3, 1)])
def test_a_cell_is_a_crop_of_one_patch_and_classes_take_turns(grid, n_classes):
    classes = [k for k in range(n_classes) for _ in range(2)]
    patches, masks = single(classes)
    made, _ = mosaic(patches, masks, 20, 0, grid)
    rows, cols = ([side * cell // grid for cell in range(grid + 1)] for side in (13, 9))
    orders, starts = set(), set()
    for image in made:
        shown = []
        for i, j in np.ndindex(grid, grid):
            cell = image[rows[i] : rows[i + 1], cols[j] : cols[j + 1]]
            donor = cell[0, 0, 0]
            windows = sliding_window_view(patches[donor], cell.shape).reshape(-1, *cell.shape)
            assert (windows == cell).all((1, 2, 3)).any()
            starts.add(tuple(cell[0, 0, 1:]))
            shown.append(classes[donor])
        assert np.ptp(np.bincount(shown, minlength=n_classes)) <= 1
        orders.add(tuple(shown))
    assert len(orders) > 1 or n_classes == 1
    assert len(starts) > grid * grid or grid == 1


@settings(max_examples=20)
@given(
    make=st.sampled_from([splice, mosaic]),
    classes=st.lists(st.integers(0, 4), min_size=1, max_size=5),
    size=st.tuples(st.integers(2, 9), st.integers(2, 9)),
    seed=st.integers(0, 1000),
)
def test_the_seed_decides_and_more_patches_begin_with_the_same(make, classes, size, seed):
    patches, masks = single(classes, *size)
    masks[:, 0, 0] = classes
    turned = np.asfortranarray(patches), np.ascontiguousarray(masks[:, ::-1])[:, ::-1]
    for array in (patches, masks):
        array.flags.writeable = False
    for more, fewer in zip(make(patches, masks, 7, seed), make(*turned, 3, seed), strict=True):
        assert np.array_equal(more[:3], fewer)


@pytest.mark.parametrize("make", [splice, mosaic])
def test_bad_input_is_refused(make):
    patches, masks = single([0, 1, 2])
    several, none = masks.copy(), masks.copy()
    several[1, 4, 4:6], none[2] = (0, 1), IGNORE

    def call(arguments: tuple) -> None:
        make(*arguments, 2, 0)

    refused("no patch to combine", call, (patches[:0], masks[:0]))
    refused("expected patches", call, (patches[..., :2], masks), (patches / 255, masks))
    refused(r"uint8 \(3, 13, 9\)", call, (patches, masks[:2]), (patches, masks.astype(int)))
    refused(r"\[1\] show several classes", call, (patches, several))
    refused(r"\[2\] show no class", call, (patches, none))
    refused("n is at least 1", lambda: make(patches, masks, 0, 0))
    refused("alpha is above 0", lambda: splice(patches, masks, 1, 0, alpha=0))
    refused("fits a patch of 13 × 9", lambda grid: mosaic(patches, masks, 1, 0, grid), 0, 10)
