"""Whether a compressed tile is one plain picture of the size that its slide claims: its header tells.

A decoder goes along with whatever is allowed. 38 kB of progressive JPEG are 2,646 passes over a tile of 1024 pixels,
0.8 s in place of 0.01 s; 557 bytes of JPEG 2000 made OpenJPEG take 430 MB for a tile of 512 pixels.

JPEG: ITU-T T.81, annex B. JPEG 2000: ITU-T T.800, annex A.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

HEAD = 4096  # bytes that hold a tile's header; scanners write some hundred
_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)

_FRAMES = [code for code in range(0xC0, 0xD0) if code not in (0xC4, 0xCC)]  # between them, two kinds of tables
_SEQUENTIAL = (0xC0, 0xC1)
_SCAN = 0xDA
_SIZE, _CODING, _CODING_OF_COMPONENT, _ORDER, _TILE_PART, _DATA = 0x51, 0x52, 0x53, 0x5F, 0x90, 0x93


def is_plain_jpeg(head: bytes, width: int, height: int) -> bool:
    """Sequential, of this size, and all of its components in its first scan, after which a decoder reads no other."""
    components = None
    for marker, body in _segments(head, b"\xff\xd8"):
        if marker in _FRAMES:
            _, rows, columns, components = struct.unpack(">BHHB", body[:6])
            if marker not in _SEQUENTIAL or (columns, rows) != (width, height):
                return False
        if marker == _SCAN:
            return body[0] == components
    return False


def is_plain_jpeg2000(head: bytes, width: int, height: int) -> bool:
    """Of this size and three components, as one tile of one part, without precincts."""
    known = False
    for marker, body in _segments(head, b"\xff\x4f"):
        if marker == _SIZE:
            _, x1, y1, x0, y0, across, down, left, top, components = struct.unpack(">H8IH", body[:36])
            known = (x1, y1, components) == (width, height, 3) and across >= x1 and down >= y1
            if not known or any((x0, y0, left, top)):
                return False
        if marker in (_CODING_OF_COMPONENT, _ORDER) or (marker == _CODING and body[0] & 1):
            return False
        if marker == _TILE_PART and body[7] > 1:
            return False
        if marker == _DATA:
            return known
    return False


def _segments(head: bytes, start: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, what follows its length), as far as they go; none where it starts otherwise."""
    at = len(start) if head.startswith(start) else len(head)
    while found := _MARKER.match(head, at):
        (length,) = struct.unpack_from(">H", head.ljust(found.end() + 2, b"\0"), found.end())
        yield found[1][0], head[found.end() + 2 : found.end() + length].ljust(36, b"\0")
        at = found.end() + length
