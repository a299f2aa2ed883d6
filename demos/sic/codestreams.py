"""Checks from the header of a compressed tile that it is one plain image of the size that its slide claims.

A decoder does whatever the format allows. 38 kB of progressive JPEG are 2,646 passes over a tile of 1024 pixels, 0.8 s
instead of 0.01 s; 557 bytes of JPEG 2000 made OpenJPEG take 430 MB for a tile of 512 pixels.

JPEG: ITU-T T.81, annex B. JPEG 2000: ITU-T T.800, annex A.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

HEAD, MOST_SEGMENTS = 4096, 20  # bytes of a tile's header, and its segments; scanners write 800 bytes and ten
SMALLEST_PRECINCT = 5  # 2**5 pixels per side; encoders write 64 and more
_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)

# Only these segments may stand before the data. Others have no length, or a decoder skips them and looks inside for the
# next marker.
_SEQUENTIAL, _SCAN = (0xC0, 0xC1), 0xDA
_TABLES_AND_NOTES = {0xC4, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE}
_SIZE, _CODING, _TILE_PART, _DATA = 0x51, 0x52, 0x90, 0x93
_STEPS_AND_NOTES = {0x55, 0x57, 0x58, 0x5C, 0x5D, 0x63, 0x64}


def is_plain_jpeg(head: bytes, width: int, height: int) -> bool:
    """Whether it is sequential, of this size, and has all components in its first scan, the last that is decoded."""
    components = None
    for marker, body in _segments(head, b"\xff\xd8"):
        if marker in _SEQUENTIAL:
            _, rows, columns, components = struct.unpack(">BHHB", body[:6])
            if (columns, rows) != (width, height):
                return False
        elif marker == _SCAN:
            return body[0] == components
        elif marker not in _TABLES_AND_NOTES:
            return False
    return False


def is_plain_jpeg2000(head: bytes, width: int, height: int) -> bool:
    """Whether it has this size and three components, as one tile of one part, without small precincts."""
    known = False
    for marker, body in _segments(head, b"\xff\x4f"):
        if marker == _SIZE:
            _, x1, y1, x0, y0, across, down, left, top, components = struct.unpack(">H8IH", body[:36])
            known = (x1, y1, components) == (width, height, 3) and across >= x1 and down >= y1
            if not known or any((x0, y0, left, top)):
                return False
        elif marker == _CODING:
            sizes = body[10 : 11 + body[5]] if body[0] & 1 else b""  # two exponents per resolution
            if any(min(size >> 4, size & 15) < SMALLEST_PRECINCT for size in sizes):
                return False
        elif marker == _TILE_PART:
            if body[7] != 1:
                return False
        elif marker == _DATA:
            return known
        elif marker not in _STEPS_AND_NOTES:
            return False
    return False


def _segments(head: bytes, start: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, content) of each segment until an invalid one; none if ``head`` does not begin with ``start``."""
    at = len(start) if head.startswith(start) else len(head)
    for _ in range(MOST_SEGMENTS):
        found = _MARKER.match(head, at)
        if found is None:
            return
        (length,) = struct.unpack_from(">H", head.ljust(found.end() + 2, b"\0"), found.end())
        yield found[1][0], head[found.end() + 2 : found.end() + length].ljust(36, b"\0")
        at = found.end() + length
