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
    assert len(patches) == 6  # of the second picture, which holds nothing, none
    assert (patches == cut[..., None]).all()
    assert (tags == tags_of_masks(cut, 3)).all()
    assert {patch.tobytes() for patch in cut} == {
        np.ascontiguousarray(masks[0][row : row + 2, col : col + 2]).tobytes() for row in (0, 2) for col in (0, 2, 4)
    }
    assert len(tagged_patches(images, masks, 2, 3, 1000)[0]) == 24  # half overlapping
    assert len(tagged_patches(images, masks, 2, 3, 5)[0]) == 5


def test_a_class_is_thinned_and_the_others_stay():
    masks = [np.repeat(np.arange(40) % 2, 4).reshape(1, -1).repeat(4, 0)]
    images = [np.zeros((*masks[0].shape, 3), np.uint8)]
    whole, thinned = (tagged_patches(images, masks, 4, 2, kept=kept)[2].sum(0) for kept in (None, {1: 0.3}))
    assert whole.tolist() == [20, 20]
    assert thinned[0] == 20
    assert 1 <= thinned[1] <= 14
    assert tagged_patches(images, masks, 4, 2, kept={1: 0.0})[2].sum(0).tolist() == [20, 0]
    with pytest.raises(ValueError, match="no patch has a tag"):
        tagged_patches(images, masks, 4, 2, kept={0: 0, 1: 0})
    for wrong in ({2: 0.5}, {0: 1.5}):
        with pytest.raises(ValueError, match="kept names classes"):
            tagged_patches(images, masks, 4, 2, kept=wrong)


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("1031280-2300-27920-[1 0 0 1].png", [1, 0, 0, 1]),
        ("train/TCGA-A1-A0SK-DX1_x1_y2+6+3+[1010].png", [1, 0, 1, 0]),
        ("a[1, 1].tif", [1, 1]),
    ],
)
def test_names_of_both_data_sets_are_read(name, tags):
    assert tags_of_name(name).tolist() == tags


@given(st.lists(st.integers(0, 1), min_size=1, max_size=8), st.sampled_from(["", " ", ", "]))
def test_every_list_of_tags_survives(tags, between):
    assert tags_of_name(f"[0 1]-12[{between.join(map(str, tags))}].png").tolist() == tags


@pytest.mark.parametrize("name", ["plain.png", "[1 0 2].png", "[].png", "[1 0]-late.png"])
def test_a_name_without_tags_is_refused(name):
    with pytest.raises(ValueError, match="does not end in tags"):
        tags_of_name(name)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="masks"):
        tags_of_masks(np.zeros((4, 4)), 2)
    with pytest.raises(ValueError, match="least"):
        tags_of_masks(np.zeros((1, 4, 4)), 2, 1.0)
