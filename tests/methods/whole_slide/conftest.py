"""A small slide of odd size, and a segmenter whose answer depends on where in the tile a pixel lies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

MPP = 0.5


@pytest.fixture(scope="session")
def write_slide() -> Callable[..., Path]:
    def write(path: Path, image: np.ndarray, mpp: float | None = MPP) -> Path:
        scale = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
        tifffile.imwrite(path, image, photometric="rgb", tile=(128, 128), compression="deflate", **scale)
        return path

    return write


@pytest.fixture(scope="session")
def picture() -> np.ndarray:
    """Glass with a noisy pink field in its left part: uint8 (257, 331, 3)."""
    rng = np.random.default_rng(0)
    image = np.full((257, 331, 3), 245, np.uint8)
    image[60:200, 20:150] = (200, 110, 160) + rng.integers(-50, 50, (140, 130, 3))
    return image


@pytest.fixture(scope="session")
def slide_path(tmp_path_factory, write_slide, picture) -> Path:
    return write_slide(tmp_path_factory.mktemp("slide") / "small.tif", picture)


@pytest.fixture(scope="session")
def predict() -> Callable[[np.ndarray], np.ndarray]:
    """uint8 (h, w, 3) -> float64 (3, h, w): one class a colour, weighed by the place in the tile."""

    def segment(rgb: np.ndarray) -> np.ndarray:
        y, x = np.mgrid[: rgb.shape[0], : rgb.shape[1]]
        place = np.stack([np.sin(x / 7), np.cos(y / 11), np.sin((x + 2 * y) / 13)])
        score = np.exp(rgb.transpose(2, 0, 1) / 60 + 2 * place)
        return score / score.sum(0)

    return segment
