"""Masks keep their ids through a palette PNG, and show the colours of the classes."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from histolab_lite.formats.masks import mask_png, read_mask, write_mask

PALETTE = ((221, 221, 221), (0, 158, 115), (213, 94, 0))
IDS = st.sampled_from([0, 1, 2, 255])


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=IDS))
def test_a_png_gives_ids_and_colours_back(mask):
    image = Image.open(io.BytesIO(mask_png(mask, PALETTE)))
    assert image.mode == "P"
    np.testing.assert_array_equal(np.asarray(image), mask)
    colours = np.array([*PALETTE, (128, 128, 128)])[np.where(mask == 255, 3, mask)]
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), colours)


@pytest.mark.parametrize("mask", [np.array([[0, 1], [2, 255]])[:, ::-1], np.array([[True, False]])])
def test_other_masks_come_back_from_a_file(mask, tmp_path):
    path = write_mask(tmp_path / "mask.png", mask, np.array(PALETTE, np.uint8))
    read = read_mask(path)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, mask)


@pytest.mark.parametrize(
    ("mask", "palette", "keyword"),
    [
        (np.zeros((2, 2, 3), int), PALETTE, r"\(2, 2, 3\)"),
        (np.zeros((0, 2), int), PALETTE, r"\(0, 2\)"),
        (np.zeros((2, 2)), PALETTE, "whole numbers"),
        (np.array([[-1]]), PALETTE, "whole numbers"),
        (np.array([[256]]), PALETTE, "whole numbers"),
        (np.array([[3]]), PALETTE, "class 3 has no colour"),
        (np.zeros((2, 2), int), [(0, 0)], "palette"),
        (np.zeros((2, 2), int), [(0, 0, 256)], "0 to 255"),
        (np.zeros((2, 2), int), [(0, 0, -1)], "0 to 255"),
        (np.zeros((2, 2), int), np.zeros((256, 3)), "palette"),
    ],
)
def test_bad_masks_and_palettes_are_refused(mask, palette, keyword):
    with pytest.raises(ValueError, match=keyword):
        mask_png(mask, palette)


def test_other_files_are_refused(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "colour.png")
    (tmp_path / "text.png").write_text("no image")
    for name, error, keyword in (
        ("colour.png", ValueError, "mode RGB"),
        ("text.png", ValueError, "readable PNG"),
        ("none.png", FileNotFoundError, "no mask"),
    ):
        with pytest.raises(error, match=keyword):
            read_mask(tmp_path / name)
