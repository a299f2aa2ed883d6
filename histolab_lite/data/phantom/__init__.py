"""Phantom slides: procedural H&E with an exact mask, the same for the same random seed.

The six classes differ by morphology and not by mean colour: every slide has its own stain vectors and its own variant
of each tissue, as laboratories and patients have. Regions and nuclei have physical sizes, so that `mpp` scales them.
The mask holds regions as a pathologist outlines them: "normal gland" includes lumens and the thin septa between glands,
"tumour" its mitoses and stray lymphocytes, "stroma" its vessels, "background" glass, fat and tears.

    plan (layout) -> stain (tissue, epithelium, canvas, cells) -> light (optics) -> a file (pyramid)
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import layout as _layout
from .optics import develop
from .pyramid import write_pyramid
from .tissue import stain

CLASS_NAMES = ("background", "stroma", "tumour", "lymphocytes", "necrosis", "normal gland")
#: RGB per class: Okabe & Ito's colour-blind-safe palette, grey for glass.
PALETTE = ((221, 221, 221), (240, 228, 66), (213, 94, 0), (0, 114, 178), (0, 0, 0), (0, 158, 115))
MPP_RANGE = (0.1, 2.0)
SMALLEST = 64


@dataclass(frozen=True)
class Phantom:
    """A slide: `image` uint8 RGB (H, W, 3), `mask` uint8 class ids (H, W), `mpp` µm per pixel, its `seed`."""

    image: np.ndarray
    mask: np.ndarray
    mpp: float
    seed: int


def _check(seed: int, size: int | tuple[int, int], mpp: float) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int | np.integer) else size
    if min(height, width) < SMALLEST:
        raise ValueError(f"size is {height} x {width} pixels; a phantom slide needs at least {SMALLEST} on each side.")
    if not MPP_RANGE[0] <= mpp <= MPP_RANGE[1]:
        raise ValueError(
            f"mpp is {mpp}; give micrometres per pixel between {MPP_RANGE[0]} and {MPP_RANGE[1]}, such as 0.5 for 20x."
        )
    if seed < 0:
        raise ValueError(f"seed is {seed}; give an integer of 0 or more.")
    return int(height), int(width)


def phantom_slide(seed: int, size: int | tuple[int, int] = 2048, mpp: float = 0.5, rare: float = 1.0) -> Phantom:
    """Make a slide. One smaller than about 1 mm is a field of view, chosen to show many classes, of a 1 mm specimen.

    Parameters
    ----------
    seed
        The random seed, 0 or more.
    size
        (H, W) in pixels, or one number for a square; at least 64.
    mpp
        Micrometres per pixel, 0.1 to 2.
    rare
        Factor on how often vessels, mitoses, dying cells, fat and tears occur; 0 leaves them out.

    Raises
    ------
    ValueError
        For an argument out of its range.
    """
    shape = _check(seed, size, mpp)
    if rare < 0:
        raise ValueError(f"rare is {rare}; give 0 to leave rare structures out, 1 for the usual number.")
    extent = (shape[0] * mpp, shape[1] * mpp)
    return _render(_layout.plan(np.random.default_rng([seed, 1]), extent, mpp, rare), shape, mpp, seed, rare)


def _render(plan: _layout.Layout, shape: tuple[int, int], mpp: float, seed: int, rare: float) -> Phantom:
    mask = plan.mask_at(shape, mpp)
    haem, eosin = stain(plan, mask, mpp, seed, rare)
    return Phantom(develop(haem, eosin, mpp, np.random.default_rng([seed, 3])), mask, float(mpp), int(seed))


def phantom_patch(class_id: int, seed: int, size: int = 128, mpp: float = 0.5) -> np.ndarray:
    """Make a patch of one class only: uint8 RGB (size, size, 3).

    Raises
    ------
    ValueError
        For an unknown class, and as `phantom_slide`.
    """
    shape = _check(seed, size, mpp)
    if class_id not in range(len(CLASS_NAMES)):
        raise ValueError(f"class_id is {class_id}; give one of 0 to 5: {', '.join(CLASS_NAMES)}.")
    plan = _layout.uniform(np.random.default_rng([seed, 1]), class_id, (shape[0] * mpp, shape[1] * mpp), mpp)
    return _render(plan, shape, mpp, seed, 1.0).image


def write_slide(phantom: Phantom, path: str | os.PathLike[str], quality: int = 90, tile: int = 256) -> Path:
    """Write the image as a tiled pyramidal JPEG TIFF with its mpp, atomically; return the path.

    OpenSlide opens it with two levels or more and reports `openslide.mpp-x` and `openslide.mpp-y`.

    Parameters
    ----------
    phantom, path
        The slide, and the file to write.
    quality
        JPEG quality, 1 to 100.
    tile
        Side of a TIFF tile in pixels, a multiple of 16.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    ValueError
        For a quality or tile out of range.
    """
    return write_pyramid(phantom.image, phantom.mpp, path, quality, tile)
