"""Checks a TIFF by its directories and the headers of its tiles, before any decoder reads it.

TIFF 6.0, 1992, sections 2 and 15; BigTIFF, https://libtiff.gitlab.io/libtiff/specification/bigtiff.html. OpenSlide
and tifffile cannot do this: both read every directory and every description, however many and long. A description of
120 MB kept OpenSlide busy for 16 s and took 1.8 GB.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from demos.shared.uploads import UploadError
from demos.sic.codestreams import HEAD, is_plain_jpeg, is_plain_jpeg2000

MOST_DIRECTORIES, MOST_TAGS = 64, 200  # a slide has about ten levels and three more images, with 30 tags each
LONGEST_VALUE = 4 * 2**20  # bytes of a description or a colour profile; real ones have at most 2 MB
SMALLEST_TILE, LARGEST_TILE = 64, 1024  # pixels per side; scanners and converters write 128 to 1024
LARGEST_JPEG2000 = 256  # pixels per side; scanners write 240 and 256. OpenJPEG takes up to 1.7 GB for one of 1024
MOST_TILES = 250_000  # in all levels; 600 mm² at 0.25 µm per pixel take 200,000 of 256 pixels
MOST_MISSING = 16  # per smaller level; OpenSlide makes a missing tile from all finer tiles below it
MOST_SAMPLES, MOST_BITS = 4, 16

JPEG, JPEG2000 = (7,), (33003, 33005)
COMPRESSIONS = (1, 5, 8, 32773, 32946, *JPEG, *JPEG2000)  # none, LZW, deflate, PackBits, old deflate
WIDTH, HEIGHT, BITS, COMPRESSION, SAMPLES, PLANAR = 256, 257, 258, 259, 277, 284
TILE_WIDTH, TILE_HEIGHT, OFFSETS, LENGTHS = TILED = 322, 323, 324, 325
STRIPS = 273, 279  # libtiff reads these as tiles too
BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 11: 4, 13: 4}  # per value, by type; 8 of any other
WHOLE = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}  # unsigned types

DAMAGED = "This slide is damaged and cannot be read. Copy it again from its source."
NOT_TILED = "This TIFF is not a slide, because it has no tiles. Export it as .svs or as a tiled, pyramidal .tif."
NOT_BUILT_SO = "This file is not structured like a slide. Export it again as .svs or as a tiled, pyramidal .tif."
NOT_PLAIN = "The tiles of this slide are not plain images. Export it again, as baseline JPEG."


@dataclass(frozen=True)
class _Value:
    """field: the value itself if it is short, else its offset in the file."""

    kind: int
    count: int
    field: bytes

    @property
    def nbytes(self) -> int:
        return self.count * BYTES.get(self.kind, 8)


def check_tiff(path: Path) -> None:
    """Raise UploadError for what no slide has, see the limits above. Takes up to 20 µs per tile, and little memory."""
    with path.open("rb", buffering=0) as file:
        tiff, tiles, levels = _Tiff(file), 0, 0
        for tags in tiff.directories():
            if not tags.keys().isdisjoint(TILED):
                if not tags.keys() >= set(TILED) or not tags.keys().isdisjoint(STRIPS):
                    raise UploadError(DAMAGED)
                tiles += _check_level(tiff, tags, MOST_TILES - tiles, reduced=levels > 0)
                levels += 1
    if not levels:
        raise UploadError(NOT_TILED)


class _Tiff:
    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        head = file.read(16)
        self.order = "<" if head[:2] == b"II" else ">"
        self.big = head[2:4] in (b"+\0", b"\0+")
        self.first = self._unpack("Q", head[8:]) if self.big else self._unpack("I", head[4:])

    def directories(self) -> Iterator[dict[int, _Value]]:
        """Follow the links from one directory to the next."""
        number, entry, link = ("Q", "HHQ8s", "Q") if self.big else ("H", "HHI4s", "I")
        offset, seen = self.first, set()
        while offset:
            if offset in seen:
                raise UploadError(DAMAGED)
            seen.add(offset)
            if len(seen) > MOST_DIRECTORIES:
                raise UploadError(NOT_BUILT_SO)
            count = self._unpack(number, self.read(offset, struct.calcsize("=" + number)))
            if count > MOST_TAGS:
                raise UploadError(NOT_BUILT_SO)
            size = struct.calcsize("=" + entry)
            content = self.read(offset + struct.calcsize("=" + number), count * size + struct.calcsize("=" + link))
            tags: dict[int, _Value] = {}
            for tag, *value in struct.iter_unpack(self.order + entry, content[: count * size]):
                if tag in tags:  # readers do not agree which of the two counts
                    raise UploadError(DAMAGED)
                tags[tag] = _Value(*value)
                if tag not in (OFFSETS, LENGTHS) and tags[tag].nbytes > LONGEST_VALUE:
                    raise UploadError(NOT_BUILT_SO)
            yield tags
            offset = self._unpack(link, content[count * size :])

    def numbers(self, value: _Value) -> np.ndarray:
        if value.kind not in WHOLE:
            raise UploadError(DAMAGED)
        content = value.field[: value.nbytes]
        if value.nbytes > len(value.field):
            content = self.read(self._unpack("Q" if self.big else "I", value.field), value.nbytes)
        return np.frombuffer(content, self.order + WHOLE[value.kind]).astype(np.uint64)

    def number(self, tags: dict[int, _Value], tag: int, default: int) -> int:
        """The value of a tag. BITS has one value per sample, of which the largest counts; other tags have one value."""
        if tag not in tags:
            return default
        if not 1 <= tags[tag].count <= (MOST_SAMPLES if tag == BITS else 1):
            raise UploadError(DAMAGED)
        return int(self.numbers(tags[tag]).max())

    def read(self, offset: int, size: int) -> bytes:
        content = self.head(offset, size)
        if len(content) < size:
            raise UploadError(DAMAGED)
        return content

    def head(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes from an offset, as many as the file has."""
        if offset >= 2**63:
            return b""
        self.file.seek(offset)
        return self.file.read(size)

    def _unpack(self, kind: str, content: bytes) -> int:
        try:
            return struct.unpack_from(self.order + kind, content)[0]
        except struct.error:
            raise UploadError(DAMAGED) from None


def _check_level(tiff: _Tiff, tags: dict[int, _Value], room: int, reduced: bool) -> int:
    """Check one level and return the number of its tiles. room: the most tiles that it may have."""
    width, height, side, other = (tiff.number(tags, tag, 0) for tag in (WIDTH, HEIGHT, TILE_WIDTH, TILE_HEIGHT))
    compression, samples = tiff.number(tags, COMPRESSION, 1), tiff.number(tags, SAMPLES, 1)
    if not (SMALLEST_TILE <= min(side, other) and max(side, other) <= LARGEST_TILE):
        raise UploadError(
            f"This slide has tiles of {side:,} × {other:,} pixels; {SMALLEST_TILE} to {LARGEST_TILE} pixels per side "
            "can be read here. Export it again with tiles of 256 pixels."
        )
    if compression not in COMPRESSIONS or (compression in JPEG2000 and max(side, other) > LARGEST_JPEG2000):
        raise UploadError("This slide has a compression that cannot be read here. Export it again as JPEG.")
    if samples > MOST_SAMPLES or tiff.number(tags, BITS, 1) > MOST_BITS:
        raise UploadError("This slide is not an RGB image. Export it again as an 8-bit RGB slide.")
    expected = math.ceil(width / side) * math.ceil(height / other)
    if tiff.number(tags, PLANAR, 1) == 2:
        expected *= samples
    if expected > room:
        raise UploadError(f"This slide has more than {MOST_TILES:,} tiles, more than can be read here.")
    if not tags[OFFSETS].count == tags[LENGTHS].count == expected > 0:
        raise UploadError(DAMAGED)
    offsets, lengths = tiff.numbers(tags[OFFSETS]), tiff.numbers(tags[LENGTHS])
    if reduced and (lengths == 0).sum() > MOST_MISSING:
        raise UploadError("Parts of this slide's smaller levels are missing. Export it again.")
    if lengths.max() > 2 * side * other * max(3, samples) + 2**16:
        raise UploadError(NOT_PLAIN)
    plain = is_plain_jpeg if compression in JPEG else is_plain_jpeg2000 if compression in JPEG2000 else None
    if plain and not all(
        plain(tiff.head(offset, HEAD), side, other) for offset in np.unique(offsets[lengths > 0]).tolist()
    ):
        raise UploadError(NOT_PLAIN)
    return expected
