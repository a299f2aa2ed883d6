"""A stranger's image is read correctly, or refused in a sentence without a traceback or a path."""

import contextlib
import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from demos.cvm.images import read_upload
from demos.shared.uploads import UploadError, given_scale
from tests.hostile import RED, REFUSED, WHITE, encoded, plain

CLEAR = Image.new("RGBA", (48, 40), (0, 0, 0, 0))  # glass lies behind what is transparent
FRAMES = {"save_all": True, "append_images": [plain(colour=WHITE)]}


@pytest.fixture
def read(tmp_path):
    def read(content: bytes):
        path = tmp_path / "data.txt"  # the type is detected from the content
        path.write_bytes(content)
        return read_upload(path)

    return read


def off(pixels, colour) -> int:
    """How far the pixels are from a colour, at most, on average."""
    return np.abs(pixels.reshape(-1, 3).mean(0) - colour).max()


@pytest.mark.parametrize(
    ("content", "colour", "tolerance", "note"),
    [(encoded(plain(), kind), RED, 6, "") for kind in ("PNG", "TIFF", "BMP", "WEBP", "JPEG")]
    + [(encoded(plain(mode="CMYK"), kind), RED, 12, "") for kind in ("JPEG", "TIFF")]
    + [(encoded(plain(mode="YCbCr"), "JPEG"), RED, 12, ""), (encoded(CLEAR, "PNG"), WHITE, 0, "")]
    + [(encoded(plain(mode=mode), "PNG"), RED, 12, "") for mode in ("P", "RGBA")]
    + [(encoded(plain(colour=(90, 90, 90), mode="L"), "PNG"), 90, 0, "")]
    + [(encoded(plain(colour=WHITE, mode="1"), "PNG"), WHITE, 0, "")]
    + [(encoded(plain(), kind, **FRAMES), RED, 6, "2 images; this is the first") for kind in ("TIFF", "WEBP", "PNG")],
)
def test_images_of_every_kind_and_mode_are_read(read, content, colour, tolerance, note):
    found = read(content)
    assert (found.size, found.view.shape, found.view.dtype, found.mpp) == ((40, 48), (40, 48, 3), np.uint8, None)
    assert off(found.view, colour) <= tolerance
    assert note in found.note
    assert bool(note) == bool(found.note)
    assert found.key == hashlib.sha256(content).hexdigest()


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


@settings(max_examples=150)
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
    assert (image.size, image.view.shape) == ((5000, 5000), (1024, 1024, 3))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_become_eight(read, kind):
    ramp = np.linspace(0, 65535, 40).astype(np.uint16)
    pixels = read(encoded(Image.fromarray(np.tile(ramp, (40, 1))), kind)).view
    np.testing.assert_array_equal(pixels[0, :, 1], ramp >> 8)
    for beyond in (-1, 65536):
        values = np.zeros((40, 40), np.int32)
        values[0, 0] = beyond
        with pytest.raises(UploadError, match="measurements"):
            read(encoded(Image.fromarray(values), "TIFF"))


def test_a_turned_photograph_stands_upright_and_says_so(read):
    pixels, exif = np.zeros((40, 60, 3), np.uint8), Image.Exif()
    pixels[:, :20] = RED
    for orientation, note in ((6, "turned"), (1, "")):  # 6: to be turned clockwise
        exif[0x0112] = orientation
        image = read(encoded(Image.fromarray(pixels), "JPEG", exif=exif, quality=95))
        assert image.size == ((60, 40) if note else (40, 60))
        assert off(image.view[:15] if note else image.view[:, :15], RED) < 6
        assert note in image.note
        assert bool(note) == bool(image.note)


@pytest.mark.parametrize(
    ("unit", "x", "y", "mpp"),
    [
        (3, 20_000, 20_000, 0.5),  # per centimetre
        (2, 25_400 / 0.25, 25_400 / 0.25, 0.25),  # per inch
        (1, 20_000, 20_000, None),  # no unit
        (None, 20_000, 20_000, None),
        (2, 96, 96, None),  # what programs write without meaning it
        (3, 20_000, 10_000, None),  # not square
        (3, 0, 0, None),
        (3, 10**9, 10**9, None),
    ],
)
def test_the_scale_is_read_if_it_is_plausible(read, unit, x, y, mpp):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[282], tags[283] = float(x), float(y)
    if unit:
        tags[296] = unit
    assert read(encoded(plain(), "TIFF", tiffinfo=tags)).mpp == mpp


def test_a_scale_is_taken_as_visitors_write_it():
    assert [given_scale(text) for text in (None, "", " 0 ", " 0,25 ", "20", 0.05)] == [None, None, None, 0.25, 20, 0.05]
    for text in ("0.049", "20.1", "-1", "half", "nan"):
        with pytest.raises(UploadError, match="from 0.05 to 20"):
            given_scale(text)


def test_the_file_is_deleted_if_asked_even_when_it_is_refused(tmp_path):
    path = tmp_path / "upload.png"
    path.write_bytes(encoded(plain(), "PNG"))
    read_upload(path)
    read_upload(path, forget=True)
    assert not path.exists()
    path.write_bytes(b"no")
    for message in ("not an image", "did not arrive"):  # the second time it is not there
        with pytest.raises(UploadError, match=message):
            read_upload(path, forget=True)
        assert not path.exists()
