"""Tissue by a threshold, against a flood fill by hand; masks of patches with one tag."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from histolab_lite.methods.wsss4luad import foreground, single_class_masks


def regions(mask: np.ndarray) -> list[list[tuple[int, int]]]:
    """Connected parts of a mask, neighbours by their sides, by flooding."""
    left = {(int(r), int(c)) for r, c in np.argwhere(mask)}
    found = []
    while left:
        part, border = [], [left.pop()]
        while border:
            r, c = border.pop()
            part.append((r, c))
            for other in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
                if other in left:
                    left.remove(other)
                    border.append(other)
        found.append(part)
    return found


def slow(image: np.ndarray, white: float, specks: int) -> np.ndarray:
    tissue = np.array([[min(int(v) for v in pixel) < white * 255 for pixel in row] for row in image])
    for value in (False, True):  # white specks first
        for part in regions(tissue == value):
            if len(part) <= specks:
                for r, c in part:
                    tissue[r, c] = not value
    return tissue


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(bool, st.tuples(st.integers(1, 2), st.integers(1, 7), st.integers(1, 9))),
    st.integers(0, 6),
    st.sampled_from([0.5, 0.9, 1.0]),
)
def test_specks_join_what_surrounds_them(dark, specks, white):
    level = int(np.ceil(white * 255))  # the least that is white
    images = np.full((*dark.shape, 3), 255, np.uint8)
    images[..., 1] = np.where(dark, level - 1, level)
    found = foreground(images, white, specks)
    assert found.dtype == bool
    for mask, image in zip(found, images, strict=True):
        assert (mask == slow(image, white, specks)).all()
        assert (foreground(image, white, specks) == mask).all()


def test_pale_pink_is_tissue_and_light_grey_is_white():
    image = np.array([[[250, 215, 240], [235, 236, 237], [120, 60, 130], [255, 255, 255]]], np.uint8)
    assert foreground(image, specks=0).tolist() == [[True, False, True, False]]


def test_views_are_read_and_left_as_they_are():
    image = np.random.default_rng(0).integers(180, 256, (20, 24, 3), dtype=np.uint8)
    before = image.copy()
    assert (foreground(image[::-1, ::2], specks=2)[::-1] == foreground(image[:, ::2], specks=2)).all()
    assert (image == before).all()
    image.flags.writeable = False
    foreground(image)


def test_a_patch_with_one_tag_is_that_class_wherever_it_is_not_white():
    patches = np.full((3, 12, 15, 3), 100, np.uint8)
    patches[:, :4] = 250
    patches[1, 8, 8] = 250  # a speck
    masks = single_class_masks(patches, np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]]), specks=5)
    assert masks.dtype == np.uint8
    for mask, k in zip(masks, (1, 2, 0), strict=True):
        assert (mask[:4] == 255).all()
        assert (mask[4:] == k).all()
    assert single_class_masks(patches, np.array([[0, 1]] * 3), specks=0)[1, 8, 8] == 255
    assert single_class_masks(patches[:0], np.zeros((0, 3))).shape == (0, 12, 15)


@pytest.mark.parametrize("tags", [[1, 1, 0], [0, 0, 0], [1, 1, 1]])
def test_a_patch_without_exactly_one_tag_is_refused_by_its_number(tags):
    with pytest.raises(ValueError, match=r"patch 1 has the tags .*exactly one"):
        single_class_masks(np.zeros((2, 4, 4, 3), np.uint8), np.array([[1, 0, 0], tags]))


def test_nonsense_is_refused():
    image = np.zeros((4, 5, 3), np.uint8)
    for wrong in (image.astype(float), image[..., :2], image[..., 0]):
        with pytest.raises(ValueError, match="expected pictures"):
            foreground(wrong)
    for white, specks in ((0.0, 1), (1.1, 1), (0.9, -1)):
        with pytest.raises(ValueError, match="white is a share"):
            foreground(image, white, specks)
    with pytest.raises(ValueError, match="expected patches"):
        single_class_masks(image[None], np.array([[1, 0], [0, 1]]))
    with pytest.raises(ValueError, match="a tag is 0"):
        single_class_masks(image[None], np.array([[2, -1]]))
