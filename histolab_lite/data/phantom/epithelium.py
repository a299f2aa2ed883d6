"""Epithelium, malignant and normal: sheets of unequal crowded nuclei, and glands of regular nuclei in a row."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.measure import find_contours

from .canvas import Canvas, lymphocytes, varied
from .cells import nuclei
from .fields import smooth_noise, streaks
from .layout import GLAND, TUMOUR


def tumour(c: Canvas, rare: float) -> None:
    """Paint sheets of large, crowded, unequal nuclei with little cytoplasm, mitoses and dying cells."""
    rng = c.rng
    where = c.plan == TUMOUR
    radius, unequal = rng.uniform(5.3, 6.6), rng.uniform(0.17, 0.28)
    centres = c.spread(where, radius * rng.uniform(1.75, 2.05), 9.0)
    wall, tone = c.territories(centres, c.plan == TUMOUR)
    eosin, haem = rng.uniform(0.28, 0.75), rng.uniform(0.05, 0.28)
    cytoplasm = 0.8 + 0.16 * c.mid + 0.1 * c.fine + 0.5 * (tone - 0.5)
    membrane = np.exp(-((wall / 0.9) ** 2))
    gap = np.exp(-((wall / 0.7) ** 2)) * np.clip(c.big - rng.uniform(0.2, 1.5), 0, 1)  # cells that lost their hold
    c.fill(
        TUMOUR,
        (haem * cytoplasm + 0.05 * membrane) * (1 - gap),
        (eosin * cytoplasm + 0.18 * membrane) * (1 - 0.9 * gap),
    )

    n = len(centres)
    size = np.clip(varied(rng, n, radius, unequal), 3.6, 10.0)
    ratio = rng.uniform(1.0, 1.55, n)
    open_ = np.clip(rng.uniform(0.25, 0.8) + 0.25 * rng.standard_normal(n), 0, 1)
    dark = varied(rng, n, rng.uniform(0.95, 1.3), 0.25)
    fate = rng.random(n)
    mitosis, dying = fate < 0.012 * rare, fate > 1 - 0.012 * rare
    alive = ~(mitosis | dying)
    jitter = centres + rng.normal(0, 0.7, (n, 2))
    c.draw(
        nuclei(
            jitter[alive],
            long=(size * np.sqrt(ratio))[alive],
            short=(size / np.sqrt(ratio))[alive],
            angle=rng.uniform(0, np.pi, alive.sum()),
            haem=dark[alive],
            vesicle=open_[alive],
            clumps=rng.uniform(0.25, 0.4),
            lobing=rng.uniform(0.08, 0.14),
            nucleoli=np.minimum(rng.poisson(1.1 * open_[alive]), 4),
            soft=0.6,
        ),
        keep=c.mask == TUMOUR,
    )
    for spot in centres[mitosis]:  # a plate, or two that part, in cleared cytoplasm
        tilt = rng.uniform(0, np.pi)
        across = np.array([np.cos(tilt), -np.sin(tilt)]) * rng.uniform(2.0, 3.6)
        plates = np.array([spot - across, spot + across]) if rng.random() < 0.35 else spot[None]
        c.draw(nuclei(spot[None], long=6.5, short=6.5, haem=0.06, clear=0.55, soft=2.5, clumps=0.0))
        c.draw(nuclei(plates, long=4.4, short=1.3, angle=tilt, haem=1.7, clumps=0.1, lobing=0.22, soft=0.7))
    for spot in centres[dying]:  # shrunken, dark, in a halo
        c.draw(nuclei(spot[None], long=3.4, short=3.0, haem=0.45, halo=2.2, clumps=0.1, soft=1.0, clear=0.3))
        c.draw(nuclei(spot[None] + rng.normal(0, 1.2, (3, 2)), long=1.3, short=1.1, haem=1.7, clumps=0.0, soft=0.5))
    stray = c.spread(where, 55, 1.0)
    c.draw(lymphocytes(c, stray, 1.25), keep=c.mask == TUMOUR)


def gland(c: Canvas) -> None:
    """Paint rings of regular basal nuclei around a pale lumen, apical mucin, thin septa between the glands."""
    rng = c.rng
    where = c.plan == GLAND
    depth = c.up(c.plan_depth)
    tall, lumen = rng.uniform(23, 29), rng.uniform(-1.5, 1.5)
    mucin = rng.uniform(0.3, 0.95)
    cytoplasm, haem = rng.uniform(0.35, 0.6), rng.uniform(0.08, 0.25)
    epithelium = np.clip(depth / 0.8 + 0.5, 0, 1)
    open_ = np.clip((depth - tall - lumen - 1.2 * c.coarse) / 0.8 + 0.5, 0, 1)
    goblets, _ = _along(c, where, 0.62 * tall, rng.uniform(6.5, 8.0))
    wall, tone = c.territories(goblets, where & (c.plan_depth > 0))
    floor, top = 10.0 + 5.0 * tone + 0.6 * c.coarse, tall + lumen - 0.8
    sides = (wall / 0.9, (depth - floor) / 1.5, (top - depth) / 1.2)
    rounded = -np.log(sum(np.exp(-np.clip(side, -20, 20)) for side in sides))  # a soft minimum: a goblet's theca
    vacuole = np.clip(rounded, 0, 1) * np.clip(6 * (mucin - tone) + 0.5, 0, 1)
    brush = np.exp(-(((depth - tall - lumen) / 1.1) ** 2))
    base = np.exp(-(((depth + 0.3) / 1.0) ** 2))
    e = cytoplasm * (0.85 + 0.15 * c.mid + 0.1 * c.fine) * (1 - 0.72 * vacuole) + 0.2 * brush
    h = haem * (1 + 0.1 * c.mid) * (1 - 0.3 * vacuole)
    secretion = np.clip(0.1 + 0.06 * c.coarse + 0.1 * c.big + 0.04 * c.mid, 0.01, 0.5)
    e = e + open_ * (secretion - e)
    h = h + open_ * (0.4 * secretion - h)
    fibre = c.up(streaks(smooth_noise(rng, c.plan.shape, 1.8 / c.step), c.plan_angle, 4))
    septum = 0.42 * (0.8 + 0.25 * fibre + 0.25 * c.coarse + 0.2 * c.mid)
    e = septum + epithelium * (e - septum)
    h = 0.1 + epithelium * (h - 0.1)
    c.fill(GLAND, h, e + 0.15 * base)
    _ring(c, where)
    c.draw(
        lymphocytes(c, c.spread(where & (c.plan_depth < -3.0), 9.5, 1.5), 1.2),
        keep=(c.mask == GLAND) & (depth < 0),
    )


def _along(c: Canvas, where: np.ndarray, depth: float, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Place points (N, 2) at even steps around each gland, `depth` µm inside, with the angles (N,) to its lumen."""
    smooth = ndimage.gaussian_filter(np.maximum(c.plan_depth, -15.0), 2.0 / c.step)
    gy, gx = np.gradient(smooth)
    points = [np.zeros((0, 2))]
    for line in find_contours(smooth, depth, mask=where):
        length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))]) * c.step
        stops = np.arange(0, length[-1] - 0.6 * spacing, spacing)
        stops = stops + c.rng.normal(0, 0.1 * spacing, len(stops))
        points.append(np.stack([np.interp(stops, length, line[:, k]) for k in (0, 1)], 1) * c.step + c.corner)
    spots = np.concatenate(points)
    return spots, np.arctan2(c.at(gy, spots), c.at(gx, spots))


def _ring(c: Canvas, where: np.ndarray) -> None:
    """Draw regular nuclei in a row, standing on the basement membrane and pointing at the lumen."""
    rng = c.rng
    spots, up = _along(c, where, rng.uniform(4.7, 5.5), rng.uniform(4.8, 5.6))
    n = len(spots)
    spots = spots + np.stack([np.sin(up), np.cos(up)], 1) * rng.normal(0, 0.9, (n, 1))
    c.draw(
        nuclei(
            spots,
            long=varied(rng, n, 4.4, 0.1),
            short=varied(rng, n, 2.45, 0.1),
            angle=up + rng.normal(0, 0.12, n),
            haem=varied(rng, n, rng.uniform(1.0, 1.3), 0.1),
            vesicle=0.2,
            clumps=0.22,
            lobing=0.04,
            soft=0.6,
        ),
        keep=c.mask == GLAND,
    )
