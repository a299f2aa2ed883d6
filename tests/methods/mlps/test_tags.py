"""Tags from masks and from file names."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histolab_lite.methods.mlps import tagged_patches, tags_of_masks, tags_of_name


def test_tags_are_the_classes_that_cover_more_than_the_least_share():
    masks = np.array([[[0, 0, 0, 0], [0, 0, 0, 1]], [[2, 2, 255, 255], [255, 255, 255, 3]], [[255] * 4] * 2])
    assert tags_of_masks(masks, 3).tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert tags_of_masks(masks, 3, 1 / 8).tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert tags_of_masks(masks, 3, 1 / 4).tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    turned = np.asfortranarray(masks.astype(np.uint8))[:, ::-1, ::-1]
    assert (tags_of_masks(turned, 3) == tags_of_masks(masks, 3)).all()
    assert tags_of_masks(masks[:0], 3).shape == (0, 3)


def test_patches_masks_and_tags_belong_together():
    masks = [np.arange(35).reshape(5, 7) % 3, np.full((6, 5), 255)]
    images = [np.repeat(mask[..., None], 3, 2).astype(np.uint8) for mask in masks]
    patches, cut, tags = tagged_patches(images, masks, 2, 3)
    assert len(patches) == 6  # none of the second image, which holds nothing
    assert (patches == cut[..., None]).all()
    assert (tags == tags_of_masks(cut, 3)).all()
    grid = [masks[0][row : row + 2, col : col + 2].tolist() for row in (0, 2) for col in (0, 2, 4)]
    assert sorted(cut.tolist()) == sorted(grid) != cut.tolist()
    assert len(tagged_patches(images, masks, 2, 3, 1000)[0]) == 24  # half overlapping
    assert len(tagged_patches(images, masks, 2, 3, 5)[0]) == 5


STRIPES = [np.repeat(np.arange(40) % 2, 4).reshape(1, -1).repeat(4, 0)]
WHITE = [np.full((4, 160, 3), 255, np.uint8)]


def test_a_class_is_thinned_and_the_others_stay():
    shown = {share: tagged_patches(WHITE, STRIPES, 4, 2, kept={1: share})[2].sum(0) for share in (0.0, 0.3, 1.0)}
    assert shown[1.0].tolist() == [20, 20]
    assert shown[0.3][0] == 20
    assert 1 <= shown[0.3][1] <= 14
    assert shown[0.0].tolist() == [20, 0]


@given(st.lists(st.integers(0, 1), min_size=1, max_size=8), st.sampled_from(["", " ", ", "]))
def test_every_list_of_tags_survives(tags, between):
    assert tags_of_name(f"data/[0 1]-12+6[{between.join(map(str, tags))}].png").tolist() == tags


@pytest.mark.parametrize(
    ("call", "word"),
    [
        *[
            (lambda name=name: tags_of_name(name), "does not end in tags")
            for name in ("plain.png", "[1 0 2].png", "[].png", "[1 0]-late.png")
        ],
        (lambda: tags_of_masks(np.zeros((4, 4)), 2), "masks"),
        (lambda: tags_of_masks(np.zeros((1, 4, 4)), 2, 1.0), "least"),
        (lambda: tags_of_masks(np.zeros((1, 4, 4)), 1), "2 to 255 classes"),
        (lambda: tagged_patches(WHITE, STRIPES, 4, 2, kept={0: 0, 1: 0}), "no patch has a tag"),
        (lambda: tagged_patches(WHITE, STRIPES, 4, 2, kept={2: 0.5}), "kept names classes"),
        (lambda: tagged_patches(WHITE, STRIPES, 4, 2, kept={0: 1.5}), "kept names classes"),
    ],
)
def test_bad_input_is_refused(call, word):
    with pytest.raises(ValueError, match=word):
        call()
