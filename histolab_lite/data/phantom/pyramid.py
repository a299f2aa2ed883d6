"""Write a phantom as a tiled pyramidal TIFF that OpenSlide reads as a slide of known scale.

OpenSlide's generic tiled TIFF: https://openslide.org/formats/generic-tiff/; TIFF 6.0 for the resolution tags.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from histolab_lite.files import write_atomically


def write_pyramid(image: np.ndarray, mpp: float, path: str | os.PathLike[str], quality: int, tile: int) -> Path:
    """Write uint8 RGB (H, W, 3) in two or more levels; each is half the one before, down to one tile.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    ValueError
        For a quality outside 1 to 100, or a tile that is no multiple of 16.
    """
    if not 1 <= quality <= 100:
        raise ValueError(f"quality is {quality}; give a JPEG quality from 1 to 100, such as 90.")
    if tile < 16 or tile % 16:
        raise ValueError(f"tile is {tile}; TIFF tiles are a multiple of 16 pixels, such as 256.")
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent}; make it before writing {path.name}.")
    levels = [Image.fromarray(image)]
    while len(levels) < 2 or max(levels[-1].size) > tile:
        width, height = levels[-1].size
        levels.append(levels[-1].resize((max(width // 2, 1), max(height // 2, 1)), Image.Resampling.BOX))

    def write(temporary: Path) -> None:
        with tifffile.TiffWriter(temporary) as tiff:
            for i, level in enumerate(levels):
                step = mpp * image.shape[1] / level.width, mpp * image.shape[0] / level.height  # µm per pixel
                tiff.write(
                    np.asarray(level),
                    tile=(tile, tile),
                    photometric="rgb",
                    compression="jpeg",
                    compressionargs={"level": quality},
                    resolution=(1e4 / step[0], 1e4 / step[1]),
                    resolutionunit="CENTIMETER",
                    subfiletype=int(i > 0),
                    metadata=None,
                    software="histolab-lite",
                )

    return write_atomically(path, write)
