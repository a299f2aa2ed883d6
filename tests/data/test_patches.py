"""Patches are slices of their image, and their labels those of the mask."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from histolab_lite.data.patches import grid_patches, labelled_patches, pure_patches


@given(
    image=hnp.arrays(np.uint8, st.tuples(st.integers(4, 20), st.integers(4, 20), st.just(3))),
    patch=st.integers(1, 4),
    stride=st.integers(1, 6),
)
def test_grid_patches_are_slices(image, patch, stride):
    patches, coords = grid_patches(image, patch, stride)
    assert coords.tolist() == [
        [row, col]
        for row in range(0, image.shape[0] - patch + 1, stride)
        for col in range(0, image.shape[1] - patch + 1, stride)
    ]
    for cut, (row, col) in zip(patches, coords, strict=True):
        np.testing.assert_array_equal(cut, image[row : row + patch, col : col + patch])


@given(
    mask=hnp.arrays(np.uint8, (12, 16), elements=st.sampled_from([0, 1, 255])),
    purity=st.sampled_from([9 / 16, 12 / 16, 1.0]),
)
def test_pure_patches_are_pure(mask, purity):
    image = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    patches, labels, coords = pure_patches(image, mask, patch=4, stride=2, purity=purity)
    kept = {tuple(corner): label for corner, label in zip(coords.tolist(), labels, strict=True)}
    for row in range(0, 9, 2):
        for col in range(0, 13, 2):
            values = mask[row : row + 4, col : col + 4]
            pure = [c for c in (0, 1) if np.count_nonzero(values == c) / 16 >= purity]
            assert ([kept[row, col]] if (row, col) in kept else []) == pure
    for cut, (row, col) in zip(patches, coords, strict=True):
        np.testing.assert_array_equal(cut, image[row : row + 4, col : col + 4])


def test_labelled_patches_come_with_what_they_show():
    rng = np.random.default_rng(0)
    masks = [rng.choice(np.array([0, 1, 2, 255], np.uint8), shape) for shape in ((9, 13), (16, 8))]
    images = [np.repeat(mask[..., None], 3, axis=2) for mask in masks]  # each shows its own mask
    draw = partial(labelled_patches, images, masks, patch=4, n_classes=3)
    patches, fractions = draw(n=1000)
    assert len(patches) == sum(len(grid_patches(mask, 4, 2)[0]) for mask in masks)
    for patch, row in zip(patches[..., 0], fractions, strict=True):
        np.testing.assert_allclose(row, [np.mean(patch == c) for c in range(3)])

    (few, shares), (again, _), (other, _) = (draw(n=7, seed=seed) for seed in (1, 1, 2))
    assert few.shape == (7, 4, 4, 3)
    assert shares.shape == (7, 3)
    np.testing.assert_array_equal(few, again)
    assert not np.array_equal(few, other)


IMAGE, MASK = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (partial(grid_patches, IMAGE, 9), "does not fit"),
        (partial(grid_patches, IMAGE, 4, stride=0), "does not fit"),
        (partial(pure_patches, IMAGE, MASK[:4], 2), "its mask"),
        (partial(pure_patches, IMAGE, MASK, 2, purity=0.5), "purity"),
        (partial(labelled_patches, [IMAGE], [MASK], patch=10, n_classes=3, n=5), "does not fit"),
    ],
)
def test_patches_that_do_not_fit(cut, message):
    with pytest.raises(ValueError, match=message):
        cut()
