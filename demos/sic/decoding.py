"""How many pixels have to be decoded for what is read of a slide: tiles are decoded whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openslide

TOLERANCE = 1.02  # as ``Slide`` has, of the downsample that is wanted


@dataclass(frozen=True)
class Pyramid:
    """sizes, tiles: (width, height) per level, pixels of that level."""

    sizes: tuple[tuple[int, int], ...]
    tiles: tuple[tuple[int, int], ...]
    downsamples: tuple[float, ...]

    @classmethod
    def of(cls, path: Path) -> Pyramid:
        """No pixel is decoded. KeyError for a level without tiles; what OpenSlide raises."""
        with openslide.OpenSlide(path) as opened:
            said = opened.properties
            tiles = [
                tuple(int(said[f"openslide.level[{level}].tile-{side}"]) for side in ("width", "height"))
                for level in range(opened.level_count)
            ]
            return cls(opened.level_dimensions, tuple(tiles), opened.level_downsamples)

    def level(self, scale: float) -> int:
        """The one that is read where level-0 pixels per pixel are wanted: OpenSlide's choice."""
        finer = [level for level, downsample in enumerate(self.downsamples) if downsample <= scale * TOLERANCE]
        return max(finer, default=0)

    def whole(self, level: int) -> int:
        """Pixels of all tiles of a level."""
        (width, height), (across, down) = self.sizes[level], self.tiles[level]
        return math.ceil(width / across) * math.ceil(height / down) * across * down

    def under(self, corners: np.ndarray, side: int, scale: float) -> int:
        """Pixels of the tiles under patches of ``side`` pixels at ``scale``.

        corners: level-0 (x, y), int64 (N, 2), row by row. A tile is decoded once per row of patches, since OpenSlide
        remembers those used last.
        """
        level = self.level(scale)
        downsample, tile = self.downsamples[level], np.array(self.tiles[level])
        zoom = scale / downsample
        margin = math.ceil(zoom) + 1  # as ``Slide.read`` has
        most = -(-np.array(self.sizes[level]) // tile) - 1
        first = ((corners // downsample - margin) // tile).clip(0, most)
        last = ((np.ceil(corners / downsample + side * zoom) + margin - 1) // tile).clip(0, most)
        again = np.zeros(len(corners), bool)
        again[1:] = (np.diff(corners[:, 1]) == 0) & (np.diff(corners[:, 0]) > 0)
        before = np.where(again, np.roll(last[:, 0], 1), -1)  # column of the last tile that is decoded already
        columns = last[:, 0] - np.maximum(first[:, 0], before + 1) + 1
        rows = last[:, 1] - first[:, 1] + 1
        return int((columns * rows).sum()) * int(tile.prod())
