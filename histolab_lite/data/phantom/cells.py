"""Nuclei: their shapes, their chromatin, and drawing them into the stain concentrations.

Sizes are in micrometres, from the ranges in histology textbooks: a lymphocyte's nucleus about 7 µm, a
carcinoma's 8 to 16 µm, a fibroblast's 3 by 14 µm, a crypt epithelium's 5 by 9 µm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

HARMONICS = np.arange(2, 6)


@dataclass
class Nuclei:
    """N nuclei, one value per nucleus: positions and radii in µm, angles in radians, stain in optical density."""

    centre: np.ndarray  # (N, 2) row, col
    long: np.ndarray  # semi-axis along `angle`
    short: np.ndarray  # semi-axis across it
    angle: np.ndarray
    haem: np.ndarray  # haematoxylin of the chromatin
    vesicle: np.ndarray  # 0: evenly dark; 1: a pale inside within a dark rim
    clumps: np.ndarray  # contrast of the chromatin's texture
    lobing: np.ndarray  # irregularity of the outline
    nucleoli: np.ndarray  # how many
    soft: np.ndarray  # width of the edge: crisp membrane or smudge
    halo: np.ndarray  # width of a pale rim around the nucleus
    clear: np.ndarray  # share of the stain beneath that the nucleus hides
    taper: np.ndarray  # 0: an ellipse; 1: pointed ends
    bend: np.ndarray  # curvature along the long axis
    eosin: np.ndarray  # its own eosin: 0 in nuclei; red cells have nothing else

    def __len__(self) -> int:
        return len(self.centre)


def nuclei(centre: np.ndarray, **values: np.ndarray | float) -> Nuclei:
    """Make nuclei at `centre` (N, 2); every other property is an array (N,) or one number for all."""
    default: dict[str, np.ndarray | float] = dict(
        long=3.5,
        short=3.5,
        angle=0.0,
        haem=1.2,
        vesicle=0.0,
        clumps=0.2,
        lobing=0.02,
        nucleoli=0,
        soft=0.6,
        halo=0.0,
        clear=0.85,
        taper=0.0,
        bend=0.0,
        eosin=0.0,
    )
    default |= values
    full = {k: np.broadcast_to(np.asarray(v, float), (len(centre),)) for k, v in default.items()}
    return Nuclei(centre, **full)


def draw(
    haem: np.ndarray,
    eosin: np.ndarray,
    cells: Nuclei,
    chromatin: np.ndarray,
    mpp: float,
    rng: np.random.Generator,
    keep: np.ndarray | None = None,
) -> None:
    """Draw `cells` into `haem` and `eosin` (H, W) in place.

    `chromatin` (H, W) is a fine noise; `keep` (H, W) limits where.
    """
    n = len(cells)
    amplitude = rng.standard_normal((n, len(HARMONICS))) * cells.lobing[:, None] * 4.0 / HARMONICS**2
    phase = rng.uniform(0, 2 * np.pi, (n, len(HARMONICS)))
    spots = rng.random((n, 6, 2))
    height, width = haem.shape
    for i in range(n):
        long, short, halo = cells.long[i], cells.short[i], cells.halo[i]
        reach = (max(long, short) * 1.25 + halo + cells.soft[i]) / mpp + 1
        y, x = cells.centre[i] / mpp
        top, left = max(0, int(y - reach)), max(0, int(x - reach))
        bottom, right = min(height, int(y + reach) + 2), min(width, int(x + reach) + 2)
        if top >= bottom or left >= right:
            continue
        v = ((np.arange(top, bottom) + 0.5 - y) * mpp)[:, None]
        u = ((np.arange(left, right) + 0.5 - x) * mpp)[None]
        c, s = np.cos(cells.angle[i]), np.sin(cells.angle[i])
        a, b = (u * c + v * s) / long, (v * c - u * s) / short
        b = b - cells.bend[i] * (a**2 - 0.3)
        radius = np.hypot(a, b * (1.0 + cells.taper[i] * a**2))
        outline = 1.0 + (amplitude[i] * np.cos(np.arctan2(b, a)[..., None] * HARMONICS + phase[i])).sum(-1)
        inside = (outline - radius) * min(long, short)  # µm below the membrane
        cover = np.clip(inside / cells.soft[i] + 0.5, 0.0, 1.0)
        box = np.s_[top:bottom, left:right]
        if keep is not None:
            cover = cover * keep[box]
        h, e = haem[box], eosin[box]
        if halo > 0:
            pale = 1.0 - 0.75 * np.clip((inside + halo) / halo, 0.0, 1.0)
            h *= pale
            e *= pale
        middle = np.clip((inside - 0.5) / 1.1, 0.0, 1.0)
        level = cells.haem[i] * (1.0 + cells.vesicle[i] * (0.25 - 0.8 * middle))
        level = level * (1.0 + cells.clumps[i] * chromatin[box])
        for k in range(int(cells.nucleoli[i])):
            at = (0.5 * np.sqrt(spots[i, k, 0]), 2 * np.pi * spots[i, k, 1])
            d = np.hypot((a - at[0] * np.cos(at[1])) * long, (b - at[0] * np.sin(at[1])) * short)
            level = np.maximum(level, 1.25 * cells.haem[i] * np.clip((1.5 - d) / 0.6, 0.0, 1.0))
        h += cover * (np.maximum(level, 0.05) - cells.clear[i] * h)
        e += cover * (cells.eosin[i] - cells.clear[i] * 0.75 * e)
