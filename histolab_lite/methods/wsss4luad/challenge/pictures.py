"""Strict reading of the challenge's PNG files: a file that is not as it should be gets a sentence, never a crash.

The header is read before a pixel is, so that neither a picture of impossible size nor one of 16 bits, which Pillow
would quietly bring down to 8, gets further.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

#: More than any picture of the challenge, whose largest are about 5000 px a side.
MOST_PIXELS = 64_000_000
#: Of a file: the same number of pixels in three colours, not compressed, and a little.
MOST_BYTES = 3 * MOST_PIXELS + 1_000_000
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KINDS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}
_CHANNELS = {"grey": 1, "RGB": 3, "palette": 1, "grey with alpha": 2, "RGBA": 4}
#: First column and row, and steps, of the passes of an interlaced PNG (Adam7).
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_JPEG, _TIFF = b"\xff\xd8\xff", (b"II*\0", b"MM\0*")
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, OverflowError)


class PictureError(ValueError):
    """A file that is not the picture it should be. The message says why, without naming the file."""


class Header(NamedTuple):
    """What a PNG says of itself. kind: "grey", "RGB", "palette", "grey with alpha" or "RGBA"; bits: of a channel."""

    height: int
    width: int
    bits: int
    kind: str
    interlaced: bool


def read_header(content: bytes) -> Header:
    """The header of a PNG's bytes. PictureError for other files, and a picture that is empty or too large."""
    if not content:
        raise PictureError("the file is empty.")
    if not content.startswith(_SIGNATURE):
        found = "a JPEG" if content.startswith(_JPEG) else "a TIFF" if content.startswith(_TIFF) else "another file"
        raise PictureError(f"no PNG, but {found}.")
    if len(content) < 33 or content[12:16] != b"IHDR":
        raise PictureError("the PNG is cut off within its header.")
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", content[16:29])
    if colour not in _KINDS or 0 in (width, height):
        raise PictureError(f"the PNG's header is damaged: {width} x {height} px, colour type {colour}.")
    if width * height > MOST_PIXELS:
        raise PictureError(f"{width} x {height} px are more than the {MOST_PIXELS:,} pixels that are read.")
    return Header(height, width, bits, _KINDS[colour], bool(interlaced))


def read_bytes(path: str | Path) -> bytes:
    """A file's content. PictureError for a file that is missing, no plain file, too large or closed to us."""
    try:
        if not Path(path).is_file():
            raise PictureError("no plain file." if Path(path).exists() else "there is no such file.")
        if Path(path).stat().st_size > MOST_BYTES:
            raise PictureError(f"the file is larger than {MOST_BYTES:,} bytes.")
        return Path(path).read_bytes()
    except OSError as error:
        raise PictureError(f"the file cannot be read: {error.strerror}.") from error


def decode_rgb(content: bytes) -> np.ndarray:
    """A photograph, uint8 (H, W, 3). PictureError for what is no 8-bit RGB PNG of one frame, or is damaged."""
    header = read_header(content)
    if header.kind != "RGB" or header.bits != 8:
        raise PictureError(f"a {header.kind} PNG of {header.bits} bits; 8-bit RGB is expected.")
    return np.array(_load(content, header))


def decode_ids(content: bytes, palette: Sequence[Sequence[int]], size: tuple[int, int] | None = None) -> np.ndarray:
    """A mask, uint8 (H, W): a palette PNG of exactly these colours, or a grey one whose greys are the ids.

    size: (H, W) that is expected; a picture of another size is not decoded. PictureError for anything else: colours
    instead of ids, 16 bits, several frames, an id beyond the palette, an id of another colour, a damaged file.
    """
    header = read_header(content)
    if size is not None and (header.height, header.width) != tuple(size):
        raise PictureError(f"{header.width} x {header.height} px; {size[1]} x {size[0]} are expected.")
    if header.kind not in ("palette", "grey") or header.bits > 8:
        raise PictureError(f"a {header.kind} PNG of {header.bits} bits; a mask is a palette PNG, or 8-bit grey.")
    picture = _load(content, header)
    ids = np.array(picture, dtype=np.uint8)
    found = np.unique(ids)
    if found[-1] >= len(palette):
        unknown = ", ".join(str(value) for value in found[found >= len(palette)][:8])
        raise PictureError(f"holds the value {unknown}; known are 0 to {len(palette) - 1}.")
    if picture.mode == "P":
        colours = np.zeros((256, 3), np.uint8)
        given = np.array(picture.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
        colours[: len(given)] = given
        for value in found:
            if tuple(colours[value]) != tuple(palette[value]):
                raise PictureError(
                    f"the palette gives {value} the colour {tuple(map(int, colours[value]))}, not {palette[value]}."
                )
    return ids


def decode_background(content: bytes, size: tuple[int, int] | None = None) -> np.ndarray:
    """A background mask, bool (H, W), True where white: values 0 and 1, as the challenge has them, or 0 and 255.

    PictureError as of ``decode_ids``.
    """
    header = read_header(content)
    if size is not None and (header.height, header.width) != tuple(size):
        raise PictureError(f"{header.width} x {header.height} px; {size[1]} x {size[0]} are expected.")
    if header.kind not in ("palette", "grey") or header.bits > 8:
        raise PictureError(f"a {header.kind} PNG of {header.bits} bits; a background mask is grey or palette.")
    values = np.array(_load(content, header), dtype=np.uint8)
    found = set(np.unique(values).tolist())
    if not (found <= {0, 1} or found <= {0, 255}):
        raise PictureError(f"holds the values {sorted(found)[:8]}; a background mask holds 0 and 1, or 0 and 255.")
    return values > 0


def _load(content: bytes, header: Header) -> Image.Image:
    try:
        if _unpacked(content, header) < _expected(header):
            raise PictureError("the PNG is damaged or cut off (it holds fewer pixels than it says).")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the header was checked
            picture = Image.open(io.BytesIO(content), formats=("PNG",))
            frames = getattr(picture, "n_frames", 1)
            picture.load()
    except PictureError:
        raise
    except UnidentifiedImageError as error:  # its message is about an address in memory
        raise PictureError("the PNG is damaged or cut off.") from error
    except (*_BROKEN, struct.error, zlib.error, Image.DecompressionBombError) as error:
        raise PictureError(f"the PNG is damaged or cut off ({error}).") from error
    if frames > 1:
        raise PictureError(f"an animation of {frames} frames; one picture is expected.")
    return picture


def _expected(header: Header) -> int:
    """Bytes of all rows, each with the one that names its filter."""
    pixel = header.bits * _CHANNELS[header.kind]
    total = 0
    for left, top, across, down in _PASSES if header.interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(header.width - left) // across), -(-(header.height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * pixel // 8))
    return total


def _unpacked(content: bytes, header: Header) -> int:
    """Bytes that a PNG's data unpack to. Pillow fills up what is missing with zeros, which are a class."""
    unpacker, total, most, place = zlib.decompressobj(), 0, _expected(header), len(_SIGNATURE)
    while place + 8 <= len(content) and total < most:
        length, kind = struct.unpack(">I4s", content[place : place + 8])
        if kind == b"IDAT":
            total += len(unpacker.decompress(content[place + 8 : place + 8 + length], most - total))
        place += length + 12
    return total
