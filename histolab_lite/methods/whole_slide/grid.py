"""Where the tiles of a slide lie, which of them show tissue, and how they are read ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import islice

import numpy as np

from histolab_lite.data.slides import Slide, tissue_mask

Corner = tuple[int, int]  # (x, y) on the canvas, which is the slide at the wanted scale

_TISSUE_MPP = 8.0
_TISSUE_SIDE = 2048  # the longer side of the thumbnail in which tissue is found, in pixels, at most
_AHEAD = 2  # batches that are read while one is predicted


@dataclass(frozen=True)
class Grid:
    """The tiles on the canvas.

    Attributes
    ----------
    shape
        (H, W) of the canvas.
    size
        (h, w) of a tile, or of its part that lies on the canvas.
    ys, xs
        The top rows and the left columns of the tiles, in pixels.
    wanted
        Which tiles show tissue, bool (rows of tiles, columns of tiles).
    strips
        (left, right) pixels, from left to right.
    """

    shape: tuple[int, int]
    size: tuple[int, int]
    ys: list[int]
    xs: list[int]
    wanted: np.ndarray
    strips: list[tuple[int, int]]

    def columns(self, strip: int) -> list[int]:
        """List the columns of tiles, by number, that reach into a strip."""
        left, right = self.strips[strip]
        return [column for column, x in enumerate(self.xs) if x < right and x + self.size[1] > left]

    def corners(self, strip: int, first: int) -> list[Corner]:
        """List the tiles with tissue that reach into a strip at or below row ``first``, row by row."""
        columns = self.columns(strip)
        below = [row for row, y in enumerate(self.ys) if y + self.size[0] > first]
        return [(self.xs[column], self.ys[row]) for row in below for column in columns if self.wanted[row, column]]


def lay_grid(
    slide: Slide, mpp: float, tile: int, overlap: float, min_tissue: float, bytes_per_pixel: int, memory: int
) -> Grid:
    """Lay tiles over a slide at a scale, and divide it into strips whose sums take at most ``memory`` bytes."""
    width, height = (max(1, round(side * slide.mpp / mpp)) for side in slide.dimensions)
    h, w = min(tile, height), min(tile, width)
    stride = max(1, round(tile * (1 - overlap)))
    ys, xs = ([*range(0, side - part, stride), side - part] for side, part in ((height, h), (width, w)))
    held = memory // (bytes_per_pixel * h)  # columns of pixels
    strip = width if held >= width else max(held - 2 * w, w)  # tiles reach out on both sides
    strips = [(left, min(left + strip, width)) for left in range(0, width, strip)]
    return Grid((height, width), (h, w), ys, xs, _find_tissue(slide, mpp, ys, xs, (h, w), min_tissue), strips)


def _find_tissue(
    slide: Slide, mpp: float, ys: list[int], xs: list[int], size: tuple[int, int], min_tissue: float
) -> np.ndarray:
    """Find the tiles with at least ``min_tissue`` of tissue: bool (rows, columns)."""
    if min_tissue == 0:
        return np.ones((len(ys), len(xs)), bool)
    # 16 pixels per side of a tile give an exact enough share; the thumbnail must stay small on any slide.
    coarse = max(slide.mpp, min(_TISSUE_MPP, min(size) * mpp / 16), max(slide.dimensions) * slide.mpp / _TISSUE_SIDE)
    mask = tissue_mask(slide.thumbnail(coarse))
    table = np.pad(mask.astype(np.int64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    (y0, y1), (x0, x1) = (
        (
            np.floor(np.array(starts) * mpp / coarse).astype(int).clip(0, limit - 1),
            np.ceil((np.array(starts) + part) * mpp / coarse).astype(int).clip(1, limit),
        )
        for starts, part, limit in zip((ys, xs), size, mask.shape, strict=True)
    )
    tissue = table[np.ix_(y1, x1)] - table[np.ix_(y0, x1)] - table[np.ix_(y1, x0)] + table[np.ix_(y0, x0)]
    return tissue >= min_tissue * np.outer(y1 - y0, x1 - x0)


def read_ahead(
    pool: Executor, slide: Slide, corners: list[Corner], tile: int, mpp: float, batch_size: int
) -> Iterator[tuple[list[Corner], np.ndarray]]:
    """Read tiles in batches, uint8 (B, tile, tile, 3); the next ones are read while the caller is busy."""
    scale = mpp / slide.mpp

    def read(group: list[Corner]) -> np.ndarray:
        return np.stack([slide.read(x * scale, y * scale, tile, mpp) for x, y in group])

    groups = iter([corners[start : start + batch_size] for start in range(0, len(corners), batch_size)])
    waiting: deque[tuple[list[Corner], Future[np.ndarray]]] = deque()
    for group in islice(groups, _AHEAD):
        waiting.append((group, pool.submit(read, group)))
    while waiting:
        group, reading = waiting.popleft()
        rgb = reading.result()
        for following in islice(groups, 1):
            waiting.append((following, pool.submit(read, following)))
        yield group, rgb
