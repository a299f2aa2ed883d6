"""Six phantom slides with their masks, in the bundle; ``cvm`` and ``mlps`` show them first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from demos.bundle import FOLDER
from histolab_lite.data.phantom import CLASS_NAMES, PALETTE
from histolab_lite.data.tiles import Tile, TileSet, load_tiles
from histolab_lite.formats.masks import write_mask

SLIDES, SEED = 6, 57  # slides that no network of ours has seen
SIZE, MPP = 1024, 0.5
QUALITY = 92


def make(folder: Path) -> None:
    """Draw the slides: per slide a JPEG, and a PNG of class ids; about 3 MB in all."""
    tiles = load_tiles("phantom", n_slides=SLIDES, size=SIZE, mpp=MPP, seed=SEED)
    for tile in tiles:
        image, mask = _files(folder, tile.name)
        Image.fromarray(tile.read_image()).save(image, quality=QUALITY, subsampling=0)
        write_mask(mask, tile.read_mask(), tiles.palette)


def bundled(folder: Path = FOLDER) -> TileSet:
    """The slides that ``make`` wrote to the folder."""
    names = [f"phantom_{seed:06d}" for seed in range(SEED * 1000, SEED * 1000 + SLIDES)]
    tiles = tuple(Tile(name, *_files(folder, name), name, len(CLASS_NAMES)) for name in names)
    return TileSet("phantom", tiles, CLASS_NAMES, np.array(PALETTE, np.uint8), MPP)


def _files(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}.jpg", folder / f"{name}_mask.png"
