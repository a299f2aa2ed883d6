"""The number of pixels that a slide's reader must decode: it decodes whole tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openslide

TOLERANCE = 1.02  # on the requested downsample, the same as in ``Slide``


@dataclass(frozen=True)
class Pyramid:
    """sizes, tiles: (width, height) of every level and of its tiles, in pixels of that level."""

    sizes: tuple[tuple[int, int], ...]
    tiles: tuple[tuple[int, int], ...]
    downsamples: tuple[float, ...]

    @classmethod
    def of(cls, path: Path) -> Pyramid:
        """Read it from a file without decoding a pixel. KeyError for a level without tiles; errors of OpenSlide."""
        with openslide.OpenSlide(path) as opened:
            names = [f"openslide.level[{level}].tile" for level in range(opened.level_count)]
            tiles = tuple(
                (int(opened.properties[f"{name}-width"]), int(opened.properties[f"{name}-height"])) for name in names
            )
            return cls(opened.level_dimensions, tiles, opened.level_downsamples)

    def level(self, scale: float) -> int:
        """The level that OpenSlide reads for this scale. scale: level-0 pixels per pixel."""
        finer = [level for level, downsample in enumerate(self.downsamples) if downsample <= scale * TOLERANCE]
        return max(finer, default=0)

    def whole(self, level: int) -> int:
        """The number of pixels in all tiles of a level."""
        (width, height), (across, down) = self.sizes[level], self.tiles[level]
        return math.ceil(width / across) * math.ceil(height / down) * across * down

    def under(self, corners: np.ndarray, side: int, scale: float) -> int:
        """The number of pixels in the tiles under patches of ``side`` pixels at ``scale``.

        corners: level-0 (x, y), int64 (N, 2), row by row. A tile counts once per row of patches, since OpenSlide caches
        the tiles used last.
        """
        level = self.level(scale)
        downsample, tile = self.downsamples[level], np.array(self.tiles[level])
        zoom = scale / downsample
        margin = math.ceil(zoom) + 1  # the same as in ``Slide.read``
        most = -(-np.array(self.sizes[level]) // tile) - 1
        first = ((corners // downsample - margin) // tile).clip(0, most)
        last = ((np.ceil(corners / downsample + side * zoom) + margin - 1) // tile).clip(0, most)
        again = np.zeros(len(corners), bool)
        again[1:] = (np.diff(corners[:, 1]) == 0) & (np.diff(corners[:, 0]) > 0)
        before = np.where(again, np.roll(last[:, 0], 1), -1)  # last column of tiles under the patch before
        columns = last[:, 0] - np.maximum(first[:, 0], before + 1) + 1
        rows = last[:, 1] - first[:, 1] + 1
        return int((columns * rows).sum()) * int(tile.prod())
