"""The canvas on which tissues are painted, and the lymphocytes that occur in every tissue."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from .cells import Nuclei, draw, nuclei
from .fields import lookup, resample, scatter, smooth_noise
from .layout import Layout


class Canvas:
    """Noise and stain on the pixels of the slide; the plan and its margin on a grid of `step` µm."""

    def __init__(self, layout: Layout, mask: np.ndarray, mpp: float, rng: np.random.Generator) -> None:
        self.mpp, self.mask, self.rng = mpp, mask, rng
        self.plan, self.plan_depth, self.plan_angle = layout.mask, layout.depth, layout.angle
        self.step, self.corner = layout.step, np.array(layout.corner)
        shape = mask.shape
        self.fine, self.mid, self.coarse, self.big = (
            smooth_noise(rng, shape, size / mpp) for size in (0.8, 2.5, 8.0, 30.0)
        )
        self.chromatin = 0.5 * self.fine + 0.8 * smooth_noise(rng, shape, 1.8 / mpp)
        self.haem = np.zeros(shape, np.float32)
        self.eosin = np.zeros(shape, np.float32)

    def spread(self, where: np.ndarray, spacing: float, crowding: float = 4.0) -> np.ndarray:
        """Scatter points (N, 2), in slide µm, on the true pixels of `where`, a mask on the plan."""
        return scatter(self.rng, where, spacing, self.step, crowding) + self.corner

    def at(self, field: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Look up a plan's field at points in slide µm."""
        return lookup(field, points - self.corner, self.step)

    def up(self, field: np.ndarray) -> np.ndarray:
        """Resample a plan's field to the pixels of the slide."""
        return resample(field, self.mask.shape, self.mpp / self.step, tuple(-self.corner / self.step))

    def territories(self, centres: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Make Voronoi cells: distance to the wall in µm, and one random tone in [0, 1] per cell; both (H, W)."""
        wall = np.full(self.plan.shape, 9.0, np.float32)
        tone = np.full(self.plan.shape, 0.5, np.float32)
        if len(centres) > 1 and where.any():
            pixels = (np.argwhere(where) + 0.5) * self.step + self.corner
            pixels += np.stack([smooth_noise(self.rng, self.plan.shape, 6 / self.step)[where] for _ in range(2)], 1)
            d, i = cKDTree(centres).query(pixels, k=2)
            apart = np.linalg.norm(centres[i[:, 1]] - centres[i[:, 0]], axis=1)
            wall[where] = (d[:, 1] ** 2 - d[:, 0] ** 2) / (2 * apart)
            tone[where] = self.rng.random(len(centres))[i[:, 0]]
        return self.up(wall), self.up(ndimage.gaussian_filter(tone, 0.8))

    def fill(self, label: int, haem: np.ndarray | float, eosin: np.ndarray | float) -> None:
        """Set the stain of a class."""
        inside = self.mask == label
        for target, value in ((self.haem, haem), (self.eosin, eosin)):
            target[inside] = np.maximum(value, 0.0)[inside] if isinstance(value, np.ndarray) else value

    def draw(self, cells: Nuclei, keep: np.ndarray | None = None) -> None:
        """Draw nuclei; `keep` (H, W) limits where."""
        draw(self.haem, self.eosin, cells, self.chromatin, self.mpp, self.rng, keep)


def varied(rng: np.random.Generator, n: int, mean: float, spread: float) -> np.ndarray:
    """Draw log-normal sizes with this mean and relative spread."""
    return mean * np.exp(rng.standard_normal(n) * spread - spread**2 / 2)


def lymphocytes(c: Canvas, centres: np.ndarray, haem: float) -> Nuclei:
    """Make small round dark nuclei, all alike, with almost no cytoplasm."""
    n = len(centres)
    size = varied(c.rng, n, 3.35, 0.09)
    return nuclei(
        centres,
        long=size * c.rng.uniform(1.0, 1.2, n),
        short=size,
        angle=c.rng.uniform(0, np.pi, n),
        haem=varied(c.rng, n, haem, 0.12),
        clumps=0.25,
        lobing=0.05,
        soft=0.7,
        halo=0.5,
    )
