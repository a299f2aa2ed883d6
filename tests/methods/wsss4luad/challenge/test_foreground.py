"""Tissue by a threshold, against a flood fill by hand; masks of patches with a single tag."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from histolab_lite.methods.wsss4luad import foreground, single_class_masks
from tests.methods.refused import refused


def slow(image: np.ndarray, white: float, specks: int) -> np.ndarray:
    tissue = np.array([[min(int(v) for v in pixel) < white * 255 for pixel in row] for row in image])
    for value in (False, True):  # white specks first
        left = {(int(r), int(c)) for r, c in np.argwhere(tissue == value)}
        while left:  # flood one part after the other, neighbours by their sides
            part, border = [], [left.pop()]
            while border:
                r, c = border.pop()
                part.append((r, c))
                near = {(r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)} & left
                left -= near
                border += near
            if len(part) <= specks:
                tissue[tuple(zip(*part, strict=True))] = not value
    return tissue


@settings(max_examples=60)
@given(
    hnp.arrays(bool, st.tuples(st.integers(1, 2), st.integers(1, 7), st.integers(1, 9))),
    st.integers(0, 6),
    st.sampled_from([0.5, 0.9, 1.0]),
)
def test_specks_join_what_surrounds_them(dark, specks, white):
    level = int(np.ceil(white * 255))  # the least that is white
    images = np.full((*dark.shape, 3), 255, np.uint8)
    images[..., 1] = np.where(dark, level - 1, level)
    images.flags.writeable = False
    found = foreground(images, white, specks)
    assert found.dtype == bool
    for mask, image in zip(found, images, strict=True):
        assert np.array_equal(mask, slow(image, white, specks))
        assert np.array_equal(foreground(image[::-1], white, specks)[::-1], mask)


def test_pale_pink_is_tissue_and_light_grey_is_white():
    image = np.array([[[250, 215, 240], [235, 236, 237], [120, 60, 130], [255, 255, 255]]], np.uint8)
    assert foreground(image, specks=0).tolist() == [[True, False, True, False]]


def test_a_patch_with_a_single_tag_is_that_class_wherever_it_is_not_white():
    patches = np.full((3, 12, 15, 3), 100, np.uint8)
    patches[:, :4] = 250
    patches[1, 8, 8] = 250  # a speck
    masks = single_class_masks(patches, np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]]), specks=5)
    assert masks.dtype == np.uint8
    assert (masks[:, :4] == 255).all()
    assert (masks[:, 4:] == np.array([1, 2, 0])[:, None, None]).all()
    assert single_class_masks(patches, np.array([[0, 1]] * 3), specks=0)[1, 8, 8] == 255
    assert single_class_masks(patches[:0], np.zeros((0, 3))).shape == (0, 12, 15)


def test_bad_input_is_refused():
    image, tags = np.zeros((4, 5, 3), np.uint8), np.array([[1, 0], [1, 1]])
    refused("expected images", foreground, image / 255, image[..., :2], image[..., 0])
    refused("white is a share", lambda white: foreground(image, white), 0.0, 1.1)
    refused("specks", lambda: foreground(image, specks=-1))
    refused("expected patches", lambda: single_class_masks(image[None], tags))
    refused("a tag is 0", lambda: single_class_masks(image[None], np.array([[2, -1]])))
    refused(r"patch 1 has .*\[1, 1\]", lambda: single_class_masks(np.stack([image] * 2), tags))
    refused(r"patch 0 has .*\[0, 0\]", lambda: single_class_masks(image[None], 0 * tags[:1]))
