"""Files that lost a bit on their way."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def flipped(content: bytes, count: int = 200, seed: int = 0) -> Iterator[tuple[int, bytes]]:
    """Copies with one bit changed, and that bit's number: spread evenly over the whole, each at a place of its own."""
    ends = np.linspace(0, 8 * len(content), count + 1).astype(int)
    for bit in np.random.default_rng(seed).integers(ends[:-1], ends[1:]).tolist():
        copy = bytearray(content)
        copy[bit // 8] ^= 1 << bit % 8
        yield bit, bytes(copy)
