"""PNG files, broken in every way: each is refused with its reason, and none gets further."""

import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from histolab_lite.formats.masks import mask_png
from histolab_lite.methods.wsss4luad.challenge import images
from histolab_lite.methods.wsss4luad.challenge.files import PALETTE
from histolab_lite.methods.wsss4luad.challenge.images import ImageError, decode_background, decode_rgb, read_bytes
from tests.methods.wsss4luad.challenge_folder import png, raw_png

SIZE = (67, 90)
MASK = np.random.default_rng(2).integers(0, 4, SIZE, dtype=np.uint8)
GREY, RGB = Image.fromarray(MASK), Image.fromarray(np.array(PALETTE, np.uint8)[MASK])
GOOD = mask_png(MASK, PALETTE)
ROWS = [b"\0" + row.tobytes() for row in MASK]
PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
ADAM7 = [b"\0" + row.tobytes() for top, left, down, across in PASSES for row in MASK[top::down, left::across]]


def grey_png(rows: list[bytes], interlaced: bool = False) -> bytes:
    return raw_png(SIZE, b"".join(rows), 8, 0, interlaced)


def claiming(width: int, height: int) -> bytes:
    """A good PNG, but claiming another size, with a right checksum."""
    chunk = b"IHDR" + struct.pack(">II", width, height) + GOOD[24:29]
    return GOOD[:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + GOOD[33:]


def ids(content: bytes) -> np.ndarray:
    return images.decode_ids(content, PALETTE, SIZE)


@pytest.mark.parametrize("content", [GOOD, png(GREY), grey_png(ADAM7, interlaced=True)])
def test_a_mask_is_read(content):
    assert np.array_equal(ids(content), MASK)


@pytest.mark.parametrize("white", [1, 255, True])
def test_a_background_mask_is_read_in_ones_bytes_and_bits(white):
    values = np.where(MASK == 3, white, False) if white is True else np.where(MASK == 3, np.uint8(white), np.uint8(0))
    assert np.array_equal(decode_background(png(Image.fromarray(values)), SIZE), MASK == 3)


@pytest.mark.parametrize(
    ("decode", "content", "reason"),
    [
        (ids, b"", "the file is empty"),
        (ids, b"mIoU 0.99", "no PNG, but another file"),
        (ids, png(RGB, format="JPEG"), "no PNG, but a JPEG"),
        (ids, png(GREY, format="TIFF"), "no PNG, but a TIFF"),
        (ids, GOOD[:32], "cut off within its header"),
        (ids, GOOD[:-40], "damaged or cut off"),
        (ids, GOOD[:-100] + bytes([GOOD[-100] ^ 255]) + GOOD[-99:], "damaged or cut off"),
        (ids, GOOD[:29] + b"abcd" + GOOD[33:], "damaged or cut off"),
        (ids, grey_png(ROWS[:-1]), "damaged or cut off"),
        (ids, grey_png(ADAM7[:-1], interlaced=True), "damaged or cut off"),
        (ids, mask_png(MASK[:, :-1], PALETTE), "89 x 67 px; 90 x 67 are expected"),
        (ids, claiming(60_000, 60_000), "60000 x 60000 px are more than"),
        (ids, claiming(0, 67), "header is damaged"),
        (ids, png(RGB), "a RGB PNG of 8 bits; a mask is"),
        (ids, png(RGB.convert("RGBA")), "a RGBA PNG of 8 bits"),
        (ids, png(GREY.convert("LA")), "a grey with alpha PNG of 8 bits"),
        (ids, png(Image.fromarray(MASK.astype(np.uint16))), "a grey PNG of 16 bits"),
        (ids, mask_png(MASK, PALETTE[::-1]), r"the palette gives 0 the colour \(255, 255, 255\), not \(0, 64, 128\)"),
        (ids, mask_png(MASK, (*PALETTE[:2], (243, 152, 1), PALETTE[3])), "the palette gives 2 the colour"),
        (ids, mask_png(MASK + 1, (*PALETTE, (1, 1, 1))), "holds the value 4; known are 0 to 3"),
        (ids, png(GREY, save_all=True, append_images=[Image.fromarray(3 - MASK)]), "an animation of 2 frames"),
        (decode_rgb, GOOD, "a palette PNG of 8 bits; 8-bit RGB"),
        (decode_rgb, raw_png(SIZE, bytes((6 * 90 + 1) * 67), 16, 2), "a RGB PNG of 16 bits"),
        (decode_background, png(GREY), r"holds the values \[0, 1, 2, 3\]; a background mask"),
        (decode_background, png(RGB), "a RGB PNG of 8 bits; a background mask"),
    ],
)
def test_a_bad_file_is_refused_with_its_reason(decode, content, reason):
    with pytest.raises(ImageError, match=reason):
        decode(content)


@settings(max_examples=100)
@given(st.binary(max_size=60), st.integers(0, 1000), st.integers(0, 255))
def test_no_rubbish_raises_another_error(tail, place, value):
    content = bytearray(GOOD)
    content[place] = value
    with pytest.raises(ImageError):
        ids(bytes(content[: 30 + place]) + tail)


def test_data_beyond_the_image_are_not_unpacked():
    """A small image whose data would fill the memory."""
    content = grey_png([*ROWS, bytes(50_000_000)])
    assert images._unpacked(content, images.read_header(content)) == MASK.size + len(MASK)
    assert np.array_equal(ids(content), MASK)


def test_only_plain_files_of_bearable_size_are_read(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"12345")
    assert read_bytes(tmp_path / "file") == b"12345"
    monkeypatch.setattr(images, "MOST_BYTES", 4)
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for a writer
    for name, reason in (("file", "larger than"), (".", "plain file"), ("pipe", "plain file"), ("no", "no such file")):
        with pytest.raises(ImageError, match=reason):
            read_bytes(tmp_path / name)
