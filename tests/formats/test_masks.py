"""Masks keep their ids through a palette PNG, and show the classes' colours."""

import io
from pathlib import Path

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
    picture = Image.open(io.BytesIO(mask_png(mask, PALETTE)))
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture), mask)
    colours = np.array([*PALETTE, (128, 128, 128)])[np.where(mask == 255, 3, mask)]
    np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), colours)


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    mask = np.array([[0, 1], [2, 255]])[:, ::-1]  # not contiguous, int64
    path = write_mask(tmp_path / "new" / "mask.png", mask, np.array(PALETTE, np.uint8))
    np.testing.assert_array_equal(read_mask(path), mask)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="class 7 has no colour"):
        write_mask(path, np.full((2, 2), 7), PALETTE)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["mask.png"]


def test_a_disk_that_fills_up_leaves_the_old_file(tmp_path, monkeypatch):
    path = write_mask(tmp_path / "mask.png", np.zeros((4, 4), int), PALETTE)
    before = path.read_bytes()

    def fail(file: Path, content: bytes) -> None:
        with file.open("wb") as opened:
            opened.write(content[:10])
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="no space"):
        write_mask(path, np.ones((4, 4), int), PALETTE)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_bool_mask_is_class_0_and_1(tmp_path):
    path = write_mask(tmp_path / "mask.png", np.array([[True, False]]), PALETTE)
    assert read_mask(path).tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("mask", "palette", "message"),
    [
        (np.zeros((2, 2, 3), int), PALETTE, r"\(2, 2, 3\)"),
        (np.zeros((0, 2), int), PALETTE, r"\(0, 2\)"),
        (np.zeros((2, 2)), PALETTE, "whole numbers"),
        (np.array([[-1]]), PALETTE, "whole numbers"),
        (np.array([[256]]), PALETTE, "whole numbers"),
        (np.zeros((2, 2), int), [(0, 0)], "palette"),
        (np.zeros((2, 2), int), [(0, 0, 256)], "0 to 255"),
        (np.zeros((2, 2), int), np.zeros((256, 3)), "palette"),
    ],
)
def test_what_is_no_mask_is_named(mask, palette, message):
    with pytest.raises(ValueError, match=message):
        mask_png(mask, palette)


def test_reading_names_what_is_no_mask(tmp_path):
    colour, text = tmp_path / "colour.png", tmp_path / "text.png"
    Image.new("RGB", (2, 2)).save(colour)
    text.write_text("not a picture")
    with pytest.raises(ValueError, match="mode RGB"):
        read_mask(colour)
    with pytest.raises(ValueError, match="not a readable PNG"):
        read_mask(text)
    with pytest.raises(FileNotFoundError):
        read_mask(tmp_path / "none.png")
