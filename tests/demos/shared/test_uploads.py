"""Images of strangers: each is read rightly or refused in a sentence, never with a traceback or a path."""

from __future__ import annotations

import contextlib
import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from demos.cvm.images import read_upload
from demos.shared.uploads import UploadError
from tests.hostile import RED, REFUSED, WHITE, encoded, plain


@pytest.fixture
def read(tmp_path):
    def read(content: bytes, name: str = "tissue.png"):
        path = tmp_path / name
        path.write_bytes(content)
        return read_upload(path)

    return read


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "WEBP", "JPEG"])
def test_images_are_read_whatever_they_are_called(read, kind):
    content = encoded(plain(), kind)
    image = read(content, "data.txt")
    assert image.view.shape == (40, 48, 3)
    assert image.view.dtype == np.uint8
    assert np.abs(image.view.reshape(-1, 3).mean(0) - RED).max() < 6
    assert (image.size, image.mpp, image.note) == ((40, 48), None, "")
    assert image.key == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("what", REFUSED)
def test_everything_else_gets_a_sentence(read, tmp_path, what):
    content, message = REFUSED[what]
    with pytest.raises(UploadError, match=message) as refused:
        read(content)
    text = str(refused.value)
    assert text.endswith(".")
    assert str(tmp_path) not in text
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "TIFF", "WEBP", "BMP"]), st.randoms(use_true_random=False))
def test_damage_anywhere_is_an_image_or_a_sentence(tmp_path_factory, kind, random):
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    content = bytearray(encoded(Image.fromarray(noise), kind))
    for _ in range(random.randint(1, 20)):
        content[random.randrange(len(content))] = random.randrange(256)
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content[: random.randint(1, len(content))])
    with contextlib.suppress(UploadError):  # any other error fails
        assert read_upload(path).view.dtype == np.uint8


def test_the_largest_image_is_read_and_shown_smaller(read):
    image = read(encoded(plain((5000, 5000)), "PNG"))
    assert image.size == (5000, 5000)
    assert image.view.shape == (1024, 1024, 3)
    assert image.downsample == (5000 / 1024, 5000 / 1024)


def test_colours_of_every_mode(read):
    for mode, kind in (("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "JPEG"), ("P", "PNG"), ("RGBA", "PNG")):
        pixels = read(encoded(plain(mode=mode), kind)).view
        assert np.abs(pixels.reshape(-1, 3).mean(0) - RED).max() < 12, (mode, kind)
    assert set(read(encoded(plain(colour=WHITE, mode="1"), "PNG")).view.ravel()) == {255}
    assert set(read(encoded(plain(colour=(90, 90, 90), mode="L"), "PNG")).view.ravel()) == {90}


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_become_eight(read, kind):
    ramp = np.linspace(0, 65535, 40).astype(np.uint16)
    pixels = read(encoded(Image.fromarray(np.tile(ramp, (40, 1))), kind)).view
    np.testing.assert_array_equal(pixels[0, :, 1], ramp >> 8)


def test_glass_is_behind_what_is_transparent(read):
    clear = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    assert set(read(encoded(clear, "PNG")).view.ravel()) == {255}


def test_a_turned_photograph_stands_upright_and_says_so(read):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :20] = RED
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    image = read(encoded(Image.fromarray(pixels), "JPEG", exif=exif, quality=95))
    assert image.size == (60, 40)
    assert np.abs(image.view[:15].reshape(-1, 3).mean(0) - RED).max() < 6
    assert "turned" in image.note
    exif[0x0112] = 1
    assert read(encoded(Image.fromarray(pixels), "JPEG", exif=exif)).note == ""


@pytest.mark.parametrize("kind", ["TIFF", "WEBP", "PNG"])
def test_of_several_frames_the_first_is_shown_and_said(read, kind):
    frames = [plain(colour=RED), plain(colour=WHITE)]
    image = read(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert np.abs(image.view.reshape(-1, 3).mean(0) - RED).max() < 6
    assert "2 images; this is the first" in image.note


@pytest.mark.parametrize(
    ("unit", "x", "y", "mpp"),
    [
        (3, 20_000, 20_000, 0.5),  # a centimetre
        (2, 25_400 / 0.25, 25_400 / 0.25, 0.25),  # an inch
        (1, 20_000, 20_000, None),  # no unit
        (None, 20_000, 20_000, None),
        (2, 96, 96, None),  # what programs write without meaning it
        (3, 20_000, 10_000, None),  # not square
        (3, 0, 0, None),
        (3, 10**9, 10**9, None),
    ],
)
def test_the_scale_is_read_where_it_can_be_meant(read, unit, x, y, mpp):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[282], tags[283] = float(x), float(y)
    if unit:
        tags[296] = unit
    assert read(encoded(plain(), "TIFF", tiffinfo=tags)).mpp == mpp


def test_the_file_is_deleted_if_asked_even_when_it_is_refused(tmp_path):
    for content in (encoded(plain(), "PNG"), b"no"):
        path = tmp_path / "upload.png"
        path.write_bytes(content)
        try:
            read_upload(path, forget=True)
        except UploadError:
            assert content == b"no"
        assert not path.exists()
    with pytest.raises(UploadError, match="did not arrive"):
        read_upload(tmp_path / "none.png")
