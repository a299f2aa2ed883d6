"""Files that claim to be slides, most of them made to keep a server busy. tifffile would write none of them."""

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


def jpeg2000(tile=(256, 256), side=256, components=3, precincts=False, more: bytes = b"", parts=1) -> bytes:
    """An empty image. tile: (width, height) of the tiles in which it is coded. parts: per such tile."""
    size = struct.pack(">H8IH", 0, side, side, 0, 0, *tile, 0, 0, components)
    out = b"\xff\x4f" + segment(0x51, size + b"\7\1\1" * components)
    out += segment(0x52, bytes([precincts, 0, 0, 1, 0, 5, 2, 2, 0, 1]) + (b"\x11" * 6 if precincts else b""))
    out += segment(0x5C, bytes([0x40, *[0x48] * 16])) + more
    return out + segment(0x90, struct.pack(">HIBB", 0, 114, 0, parts)) + b"\xff\x93" + b"\0" * 100 + b"\xff\xd9"


TILE = encoded(DEFLATE, 256)


def small(**tags: tuple) -> Tags:
    """A good level of 1024 pixels but for these tags, such as ``t259=(3, [50000])``."""
    return level(1024, 256, DEFLATE, len(TILE)) | {int(tag[1:]): value for tag, value in tags.items()}


def one(**tags: tuple) -> bytes:
    return bigtiff([small(**tags)], TILE)


def tiled(compression: int, content: bytes = b"", side: int = 256) -> bytes:
    return slide(4 * side, side, compression, content=content)


def many_directories() -> bytes:
    return bigtiff([small(), *[level(256, 256, DEFLATE, len(TILE), reduced=True)] * 10**4], TILE)


def shared_description() -> bytes:
    """10 MB, to be read for each of 60 directories."""
    long = {270: (2, Far(10_000_008, START + len(TILE)))}
    content = TILE + b"Aperio " + b"a=b|" * 2_500_000 + b"\0"
    return bigtiff([small() | long, *[small(t254=(4, [1])) | long] * 60], content)


def missing() -> bytes:
    """OpenSlide would make each tile of the smallest level from 4,096 of the largest."""
    smaller = [level(16_384 >> shift, 256, DEFLATE, 0, True) for shift in (2, 4, 6)]
    return bigtiff([level(16_384, 256, DEFLATE, len(TILE)), *smaller], TILE)


def strips_for_tiles() -> bytes:
    """libtiff reads them as tiles."""
    tags = small(t322=(4, [4096]), t323=(4, [4096]), t273=(16, [START]), t279=(16, [100]))
    return bigtiff([{tag: value for tag, value in tags.items() if tag not in (324, 325)}], TILE)


def two_widths() -> bytes:
    """The tag of the kind of level becomes a second one of the tiles' width."""
    kind, width = (tag.to_bytes(2, "little") + (4).to_bytes(2, "little") for tag in (254, 322))
    return one().replace(kind, width)


HEAD = b"II+\0\x08\0\0\0"
HIDDEN_FRAME = b"\xff\xd8\xff\x01\0\x15" + frame(0xC2, 256) + encoded(JPEG, 256)[2:]
HIDDEN_PRECINCTS = segment(0x30, b"\xff\x52" + b"\0" * 40)
PRECINCTS_OF_ONE = segment(0x53, b"\0\1\5\2\2\0\1" + b"\x11" * 6)
#: The attacks by the words with which each is refused.
HOSTILE = {
    "4,096 × 4,096": {
        "JPEG tiles of 4096": lambda: slide(102_400, 4096, JPEG, 6400, 1600),
        "LZW tiles of 4096": lambda: slide(102_400, 4096, LZW, 6400, 1600),
        "deflated tiles of 4096": lambda: slide(102_400, 4096, DEFLATE, 6400, 1600),
        "JPEG 2000 tiles of 4096": lambda: slide(102_400, 4096, JPEG2000, 6400),
    },
    "16 × 16": {"tiny tiles": lambda: tiled(DEFLATE, side=16)},
    "256 × 1,040": {"high tiles": lambda: one(t323=(4, [1040]))},
    "8,192 × 256": {"one tile is large": lambda: bigtiff([small(), small(t322=(4, [8192]))], TILE)},
    "more than 250,000 tiles": {
        "2^31 pixels wide": lambda: one(t256=(4, [2**31 - 1]), t257=(4, [2**31 - 1])),
        "on two levels": lambda: bigtiff([level(92_160, 256, DEFLATE, len(TILE))] * 2, TILE),
    },
    "damaged": {
        "a level of nothing": lambda: one(t256=(4, [0])),
        "levels in a loop": lambda: bigtiff([small()] * 3, TILE, last=0),
        "a level after itself": lambda: bigtiff([small()], TILE, last=0),
        "no directory there": lambda: HEAD + (2**64 - 1).to_bytes(8, "little"),
        "cut off": lambda: b"MM\0*\0",
        "2^32 offsets": lambda: one(t324=(16, Far(2**32, START))),
        "2^63 offsets": lambda: one(t324=(16, Far(2**63, START))),
        "too few lengths": lambda: one(t325=(16, [100] * 15)),
        "planes without tiles": lambda: one(t284=(3, [2])),
        "65,536 widths": lambda: one(t256=(4, Far(2**16, START))),
        "a signed width": lambda: one(t256=(9, Far(1, 1024))),
        "strips beside tiles": lambda: one(t273=(16, [START] * 16), t279=(16, [100] * 16)),
        "strips for tiles": strips_for_tiles,
        "two compressions": lambda: one(t259=(3, [JPEG, JPEG2000])),
        "two widths of tiles": two_widths,
    },
    "not structured like a slide": {
        "10,000 levels": many_directories,
        "2^40 tags": lambda: HEAD + START.to_bytes(8, "little") + (2**40).to_bytes(8, "little"),
        "a description of 2^32": lambda: one(t270=(2, Far(2**32, START))),
        "a shared description": shared_description,
        "a profile of 10 MB": lambda: one(t34675=(7, b"x" * 10**7)),
        "an unknown tag of 2^40": lambda: one(t50000=(16, Far(2**40, START))),
    },
    "compression that cannot be read": {
        "another compression": lambda: one(t259=(3, [ZSTD])),
        "JPEG 2000 tiles of 1024": lambda: tiled(JPEG2000, side=1024),
    },
    "not an RGB image": {
        "60,000 samples": lambda: one(t277=(3, [60_000])),
        "64 bits": lambda: one(t258=(3, [8, 64, 8])),
    },
    "are missing": {"missing tiles": missing},
    "not plain images": {
        "long tiles": lambda: bigtiff([level(1024, 256, DEFLATE, 10**6)], TILE),
        "progressive JPEG": lambda: tiled(JPEG, jpeg_of_many_scans(256, True)),
        "JPEG of many scans": lambda: tiled(JPEG, jpeg_of_many_scans(256, False)),
        "a larger JPEG": lambda: tiled(JPEG, encoded(JPEG, 1024)),
        "no JPEG": lambda: tiled(JPEG, b"\xff\xd8" + b"\xff\xe0\0\x02" * 1000),
        "JPEG with a hidden frame": lambda: tiled(JPEG, HIDDEN_FRAME),
        "a larger JPEG 2000": lambda: tiled(JPEG2000, jpeg2000((60_000, 60_000), 60_000)),
        "JPEG 2000 of 32,768 tiles": lambda: tiled(JPEG2000, jpeg2000((1, 2))),
        "JPEG 2000 of 16,384 components": lambda: tiled(JPEG2000, jpeg2000(components=16384)),
        "JPEG 2000 in parts without number": lambda: tiled(JPEG2000, jpeg2000(parts=0)),
        "JPEG 2000 in two parts": lambda: tiled(JPEG2000, jpeg2000(parts=2)),
        "JPEG 2000 with precincts": lambda: tiled(JPEG2000, jpeg2000(precincts=True)),
        "JPEG 2000 with precincts of one component": lambda: tiled(JPEG2000, jpeg2000(more=PRECINCTS_OF_ONE)),
        "JPEG 2000 with hidden precincts": lambda: tiled(JPEG2000, jpeg2000(more=HIDDEN_PRECINCTS)),
    },
    "no smaller levels": {
        "levels too far apart": lambda: slide(60_000, 256, DEFLATE, 3750, mpp=0.26),
        "one large level": lambda: slide(16_384, 1024, DEFLATE),
    },
}
