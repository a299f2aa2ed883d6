"""Strict reading of the challenge's PNG files: a bad file gets a sentence that says what is wrong, never a crash.

The header is checked before any pixel is decoded. This stops images of impossible size, and images of 16 bits, which
Pillow would silently reduce to 8.
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

#: More than any image of the challenge has; the largest have sides of about 5000 px.
MOST_PIXELS = 64_000_000
#: Largest file: as many uncompressed RGB pixels, and some room for the rest.
MOST_BYTES = 3 * MOST_PIXELS + 1_000_000
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KINDS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}
_CHANNELS = {"grey": 1, "RGB": 3, "palette": 1, "grey with alpha": 2, "RGBA": 4}
#: Passes of an interlaced PNG (Adam7): first column, first row, step in columns, step in rows.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_JPEG, _TIFF = b"\xff\xd8\xff", (b"II*\0", b"MM\0*")
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, OverflowError)


class ImageError(ValueError):
    """A file is not the image it should be. The message says why, without the file's name."""


class Header(NamedTuple):
    """What the header of a PNG says.

    Attributes
    ----------
    height, width
        Size in pixels.
    bits
        Bits per channel.
    kind
        "grey", "RGB", "palette", "grey with alpha" or "RGBA".
    interlaced
        Whether the pixels come in the passes of Adam7.
    """

    height: int
    width: int
    bits: int
    kind: str
    interlaced: bool


def read_header(content: bytes) -> Header:
    """Read the header of a PNG from its bytes.

    Raises
    ------
    ImageError
        If this is no PNG, its header is cut off or damaged, or the image is empty or larger than `MOST_PIXELS`.
    """
    if not content:
        raise ImageError("the file is empty.")
    if not content.startswith(_SIGNATURE):
        found = "a JPEG" if content.startswith(_JPEG) else "a TIFF" if content.startswith(_TIFF) else "another file"
        raise ImageError(f"no PNG, but {found}.")
    if len(content) < 33 or content[12:16] != b"IHDR":
        raise ImageError("the PNG is cut off within its header.")
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", content[16:29])
    if colour not in _KINDS or 0 in (width, height):
        raise ImageError(f"the PNG's header is damaged: {width} x {height} px, colour type {colour}.")
    if width * height > MOST_PIXELS:
        raise ImageError(f"{width} x {height} px are more than the {MOST_PIXELS:,} pixels that are read.")
    return Header(height, width, bits, _KINDS[colour], bool(interlaced))


def read_bytes(path: str | Path) -> bytes:
    """Read the content of a file.

    Raises
    ------
    ImageError
        If the file is missing, is no plain file, is larger than `MOST_BYTES`, or cannot be read.
    """
    try:
        if not Path(path).is_file():
            raise ImageError("no plain file." if Path(path).exists() else "there is no such file.")
        if Path(path).stat().st_size > MOST_BYTES:
            raise ImageError(f"the file is larger than {MOST_BYTES:,} bytes.")
        return Path(path).read_bytes()
    except OSError as error:
        raise ImageError(f"the file cannot be read: {error.strerror}.") from error


def decode_rgb(content: bytes) -> np.ndarray:
    """Decode a photograph to uint8 (H, W, 3).

    Raises
    ------
    ImageError
        If this is no 8-bit RGB PNG of one frame, or it is damaged.
    """
    header = read_header(content)
    if header.kind != "RGB" or header.bits != 8:
        raise ImageError(f"a {header.kind} PNG of {header.bits} bits; 8-bit RGB is expected.")
    return np.array(_load(content, header))


def decode_ids(content: bytes, palette: Sequence[Sequence[int]], size: tuple[int, int] | None = None) -> np.ndarray:
    """Decode a mask to class ids, uint8 (H, W).

    Parameters
    ----------
    content
        A palette PNG of exactly the given colours, or a grey PNG whose grey values are the ids.
    palette
        RGB of each class id.
    size
        Expected (H, W); an image of another size is not decoded.

    Raises
    ------
    ImageError
        For colours instead of ids, more than 8 bits, several frames, an id without a colour in the palette, an id of
        another colour, another size, or a damaged file.
    """
    image = _load_mask(content, size, "a mask is a palette PNG, or 8-bit grey.")
    ids = np.array(image, dtype=np.uint8)
    found = np.unique(ids)
    if found[-1] >= len(palette):
        unknown = ", ".join(str(value) for value in found[found >= len(palette)][:8])
        raise ImageError(f"holds the value {unknown}; known are 0 to {len(palette) - 1}.")
    if image.mode == "P":
        colours = np.zeros((256, 3), np.uint8)
        given = np.array(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
        colours[: len(given)] = given
        for value in found:
            if tuple(colours[value]) != tuple(palette[value]):
                raise ImageError(
                    f"the palette gives {value} the colour {tuple(map(int, colours[value]))}, not {palette[value]}."
                )
    return ids


def decode_background(content: bytes, size: tuple[int, int] | None = None) -> np.ndarray:
    """Decode a background mask to bool (H, W), True where it is white.

    The file holds the values 0 and 1, as the challenge has them, or 0 and 255.

    Raises
    ------
    ImageError
        For other values, and as `decode_ids`.
    """
    values = np.array(_load_mask(content, size, "a background mask is grey or palette."), dtype=np.uint8)
    found = set(np.unique(values).tolist())
    if not (found <= {0, 1} or found <= {0, 255}):
        raise ImageError(f"holds the values {sorted(found)[:8]}; a background mask holds 0 and 1, or 0 and 255.")
    return values > 0


def _load_mask(content: bytes, size: tuple[int, int] | None, expected: str) -> Image.Image:
    header = read_header(content)
    if size is not None and (header.height, header.width) != tuple(size):
        raise ImageError(f"{header.width} x {header.height} px; {size[1]} x {size[0]} are expected.")
    if header.kind not in ("palette", "grey") or header.bits > 8:
        raise ImageError(f"a {header.kind} PNG of {header.bits} bits; {expected}")
    return _load(content, header)


def _load(content: bytes, header: Header) -> Image.Image:
    try:
        if _unpacked(content, header) < _expected(header):
            raise ImageError("the PNG is damaged or cut off (it holds fewer pixels than its header says).")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the header was checked
            image = Image.open(io.BytesIO(content), formats=("PNG",))
            frames = getattr(image, "n_frames", 1)
            image.load()
    except ImageError:
        raise
    except UnidentifiedImageError as error:  # its message is about an address in memory
        raise ImageError("the PNG is damaged or cut off.") from error
    except (*_BROKEN, struct.error, zlib.error, Image.DecompressionBombError) as error:
        raise ImageError(f"the PNG is damaged or cut off ({error}).") from error
    if frames > 1:
        raise ImageError(f"an animation of {frames} frames; one image is expected.")
    return image


def _expected(header: Header) -> int:
    """Count the bytes of all rows, each with the byte that names its filter."""
    pixel = header.bits * _CHANNELS[header.kind]
    total = 0
    for left, top, across, down in _PASSES if header.interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(header.width - left) // across), -(-(header.height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * pixel // 8))
    return total


def _unpacked(content: bytes, header: Header) -> int:
    """Count the unpacked bytes of a PNG. Pillow fills missing pixels with zeros, which are a class."""
    unpacker, total, most, place = zlib.decompressobj(), 0, _expected(header), len(_SIGNATURE)
    while place + 8 <= len(content) and total < most:
        length, kind = struct.unpack(">I4s", content[place : place + 8])
        if kind == b"IDAT":
            total += len(unpacker.decompress(content[place + 8 : place + 8 + length], most - total))
        place += length + 12
    return total
