"""Random fields, point sets and resampling for the phantom.

Directional averaging follows the idea of line integral convolution: Cabral & Leedom, "Imaging vector fields
using line integral convolution", SIGGRAPH 1993. Point sets follow dart throwing: Cook, "Stochastic sampling
in computer graphics", ACM TOG 1986.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], length: float) -> np.ndarray:
    """Draw Gaussian noise (H, W) float32 of unit variance, with a correlation length of `length` pixels."""
    step = max(1.0, length / 3.0)  # drawn on a coarser grid: a smooth field needs no more samples
    coarse = tuple(int(np.ceil(n / step)) + 4 for n in shape)
    sigma = length / step / 2.0
    field = rng.standard_normal(coarse, dtype=np.float32)
    if sigma > 0.2:
        field = ndimage.gaussian_filter(field, sigma, mode="wrap")
        field *= max(1.0, np.sqrt(4.0 * np.pi) * sigma)
    if step == 1.0:
        return field[: shape[0], : shape[1]]
    return resample(field, shape, 1.0 / step, (1.0, 1.0))


def resample(
    field: np.ndarray, shape: tuple[int, int], scale: float, origin: tuple[float, float] = (0.0, 0.0)
) -> np.ndarray:
    """Interpolate `field` linearly on a grid of `shape`, whose pixel spans `scale` pixels of `field`.

    `origin` is the (row, col) of the new grid's corner, in pixels of `field`.
    """
    offset = [o + 0.5 * scale - 0.5 for o in origin]
    return ndimage.affine_transform(
        field.astype(np.float32, copy=False), [scale, scale], offset, shape, order=1, mode="nearest"
    )


def resample_labels(
    labels: np.ndarray, shape: tuple[int, int], scale: float, origin: tuple[float, float] = (0.0, 0.0)
) -> np.ndarray:
    """Resample class ids, uint8: the class strongest after interpolation wins, so that outlines stay smooth."""
    best, out = np.full(shape, -1.0, np.float32), np.zeros(shape, np.uint8)
    for label in np.unique(labels):
        score = resample(ndimage.gaussian_filter((labels == label).astype(np.float32), 0.7), shape, scale, origin)
        out[score > best] = label
        np.maximum(best, score, out=best)
    return out


def streaks(noise: np.ndarray, angle: np.ndarray, doublings: int) -> np.ndarray:
    """Average `noise` (H, W) along `angle` (H, W) radians over ±2**doublings pixels; unit variance again."""
    rows, cols = np.indices(noise.shape, dtype=np.float32)
    dy, dx = np.sin(angle), np.cos(angle)
    field = noise
    for step in 2.0 ** np.arange(doublings):
        ahead = ndimage.map_coordinates(field, [rows + step * dy, cols + step * dx], order=1, mode="mirror")
        behind = ndimage.map_coordinates(field, [rows - step * dy, cols - step * dx], order=1, mode="mirror")
        field = 0.5 * (ahead + behind)
    return (field - field.mean()) / (field.std() + 1e-6)


def scatter(
    rng: np.random.Generator, where: np.ndarray, spacing: float, pixel: float, crowding: float = 4.0
) -> np.ndarray:
    """Scatter points (N, 2), (row, col) in µm, on the true pixels of `where`, no two closer than `spacing` µm.

    `pixel` is the size of one pixel of `where` in µm. `crowding` is the number of darts thrown per disc that would fit:
    more darts give a denser packing.
    """
    rows, cols = np.nonzero(where)
    n = int(crowding * len(rows) * pixel**2 / spacing**2 + rng.random())
    if n == 0:
        return np.zeros((0, 2))
    pick = rng.integers(0, len(rows), n)
    points = (np.stack([rows[pick], cols[pick]], 1) + rng.random((n, 2))) * pixel
    pairs = cKDTree(points).query_pairs(spacing, output_type="ndarray")
    keep = np.ones(n, bool)
    while len(pairs):  # a dart stands when no earlier one is left beside it; later ones beside it are removed
        earlier, later = pairs.T
        waits = np.zeros(n, bool)
        waits[later] = True
        keep[later[~waits[earlier]]] = False
        pairs = pairs[keep[earlier] & keep[later]]
    return points[keep]


def lookup(field: np.ndarray, points: np.ndarray, pixel: float) -> np.ndarray:
    """Look up `field` (H, W) at `points` (N, 2) in micrometres; points beyond the border take its value."""
    index = np.floor(points / pixel).astype(int)
    return field[np.clip(index[:, 0], 0, field.shape[0] - 1), np.clip(index[:, 1], 0, field.shape[1] - 1)]
