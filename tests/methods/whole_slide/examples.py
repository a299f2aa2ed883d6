"""A small slide of odd size, and a segmenter whose output depends on where in the tile a pixel lies."""

from pathlib import Path

import numpy as np
import tifffile

MPP = 0.5


def glass_and_tissue() -> np.ndarray:
    """Glass with a noisy pink field in its left part: uint8 (257, 331, 3)."""
    image = np.full((257, 331, 3), 245, np.uint8)
    image[60:200, 20:150] = (200, 110, 160) + np.random.default_rng(0).integers(-50, 50, (140, 130, 3))
    return image


def write_slide(path: Path, image: np.ndarray, mpp: float | None = MPP) -> Path:
    scale = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, image, photometric="rgb", tile=(128, 128), compression="deflate", **scale)
    return path


def predict(rgb: np.ndarray) -> np.ndarray:
    """uint8 (h, w, 3) -> float64 (3, h, w): one class per colour, weighted by the place in the tile."""
    y, x = np.mgrid[: rgb.shape[0], : rgb.shape[1]]
    place = np.stack([np.sin(x / 7), np.cos(y / 11), np.sin((x + 2 * y) / 13)])
    score = np.exp(rgb.transpose(2, 0, 1) / 60 + 2 * place)
    return score / score.sum(0)


class Counting:
    """The segmenter, which counts its calls and stops after ``last`` of them."""

    def __init__(self, last: int | None = None) -> None:
        self.last, self.calls = last, 0

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        if self.calls == self.last:
            raise RuntimeError("stopped")
        self.calls += 1
        return predict(rgb)
