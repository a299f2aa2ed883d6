"""Files that claim to be slides, some made to keep a server busy. tifffile would write none of them."""

import struct
import zlib
from functools import partial
from typing import NamedTuple

import imagecodecs
import numpy as np

BYTES, FORMATS = {2: 1, 3: 2, 4: 4, 7: 1, 16: 8}, {3: "H", 4: "I", 16: "Q"}
NONE, LZW, JPEG, DEFLATE, JPEG2000, ZSTD = 1, 5, 7, 8, 33005, 50000
ENCODERS = {
    LZW: lambda image: imagecodecs.lzw_encode(image.tobytes()),
    JPEG: partial(imagecodecs.jpeg8_encode, colorspace="RGB", outcolorspace="RGB"),
    DEFLATE: zlib.compress,
    JPEG2000: partial(imagecodecs.jpeg2k_encode, codecformat="J2K", level=30),
}
PINK = (220, 120, 190)
START = 16  # where the bytes of a tile lie, the same for all tiles


class Far(NamedTuple):
    """A value that lies elsewhere, or nowhere."""

    count: int
    offset: int


Tags = dict[int, tuple[int, list[int] | bytes | Far]]


def bigtiff(directories: list[Tags], content: bytes = b"", last: int | None = None) -> bytes:
    """content: put at START. last: number of the directory that follows the last one."""
    out, offsets, link = bytearray(b"II+\0" + struct.pack("<HHQ", 8, 0, 0) + content), [], 8
    for tags in directories:
        entries = []
        for tag, (kind, value) in tags.items():
            if isinstance(value, Far):
                entries.append(struct.pack("<HHQQ", tag, kind, value.count, value.offset))
                continue
            data = value if isinstance(value, bytes) else struct.pack(f"<{len(value)}{FORMATS[kind]}", *value)
            where = data.ljust(8, b"\0") if len(data) <= 8 else struct.pack("<Q", len(out))
            entries.append(struct.pack("<HHQ", tag, kind, len(data) // BYTES[kind]) + where)
            if len(data) > 8:
                out += data
        offsets.append(len(out))
        out[link : link + 8] = struct.pack("<Q", len(out))
        out += struct.pack("<Q", len(entries)) + b"".join(entries)
        link = len(out)
        out += struct.pack("<Q", 0)
    if last is not None:
        out[link : link + 8] = struct.pack("<Q", offsets[last])
    return bytes(out)


def level(side: int, tile: int, compression: int, length: int, reduced: bool = False, mpp: float = 0.5) -> Tags:
    """A square level whose tiles all have the same bytes, at START."""
    tiles = (-(-side // tile)) ** 2
    integers = {254: int(reduced), 256: side, 257: side, 322: tile, 323: tile}
    shorts = {258: [8, 8, 8], 259: [compression], 262: [2], 277: [3], 284: [1]}
    return {
        **{tag: (4, [value]) for tag, value in integers.items()},
        **{tag: (3, values) for tag, values in shorts.items()},
        270: (2, b"Aperio test|MPP = %g\0" % mpp),
        324: (16, [START] * tiles),
        325: (16, [length] * tiles),
    }


def encoded(compression: int, side: int) -> bytes:
    """A tile of one colour."""
    return ENCODERS[compression](np.full((side, side, 3), PINK, np.uint8))


def slide(side: int, tile: int, compression: int, *smaller: int, content: bytes = b"", mpp: float = 0.5) -> bytes:
    """A slide whose tiles are all the same, by default of one colour. smaller: sides of the smaller levels."""
    content = content or encoded(compression, tile)
    sides = (side, *smaller)
    return bigtiff([level(one, tile, compression, len(content), one != side, mpp) for one in sides], content)


def segment(marker: int, body: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", 2 + len(body)) + body


def frame(marker: int, side: int) -> bytes:
    """The header of a JPEG with three components."""
    return segment(marker, struct.pack(">BHHB", 8, side, side, 3) + b"".join(bytes([i, 0x11, 0]) for i in (1, 2, 3)))


def jpeg_of_many_scans(side: int, progressive: bool) -> bytes:
    """Thousands of passes over the image. side: 2**n * 8, at most 1024."""
    blocks = (side // 8) ** 2
    run = blocks.bit_length() - 1
    out = b"\xff\xd8" + segment(0xDB, b"\0" + b"\1" * 64) + frame(0xC2 if progressive else 0xC0, side)
    out += segment(0xC4, b"\x00" + bytes([1] + [0] * 15) + b"\0")
    out += segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + bytes([run << 4 if progressive else 0]))
    if not progressive:
        one = [segment(0xDA, bytes([1, component, 0, 0, 63, 0])) + b"\0" * (blocks // 4) for component in (1, 2, 3)]
        return out + b"".join(one) * 10 + b"\xff\xd9"
    out += segment(0xDA, bytes([3, 1, 0, 2, 0, 3, 0, 0, 0, 0])) + b"\0" * (blocks * 3 // 8)
    for position in range(1, 64):
        for component in (1, 2, 3):
            for high, low in [(0, 13), *((bit, bit - 1) for bit in range(13, 0, -1))]:
                out += segment(0xDA, bytes([1, component, 0, position, position, high << 4 | low])) + b"\0\0"
    return out + b"\xff\xd9"


def jpeg2000_stream(
    side: int = 256,
    tile: tuple[int, int] | None = None,
    components: int = 3,
    precincts: bool = False,
    more: bytes = b"",
    parts: int = 1,
) -> bytes:
    """An empty image. tile: (width, height) of the tiles in which it is coded. parts: per such tile."""
    size = struct.pack(">H8IH", 0, side, side, 0, 0, *(tile or (side, side)), 0, 0, components)
    out = b"\xff\x4f" + segment(0x51, size + b"\7\1\1" * components)
    out += segment(0x52, bytes([precincts, 0, 0, 1, 0, 5, 2, 2, 0, 1]) + (b"\x11" * 6 if precincts else b""))
    out += segment(0x5C, bytes([0x40, *[0x48] * 16])) + more
    return out + segment(0x90, struct.pack(">HIBB", 0, 114, 0, parts)) + b"\xff\x93" + b"\0" * 100 + b"\xff\xd9"
