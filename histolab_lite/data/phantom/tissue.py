"""From a layout to stain: haematoxylin and eosin concentrations of every tissue, and the nuclei in it.

The classes differ by architecture: how dense, large, regular and oriented nuclei are, and what lies between them. Each
slide has its own variant of every tissue (clear or dense cytoplasm, loose or sclerotic stroma, bland or dirty
necrosis), as patients have, so that no class has its own colour.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .canvas import Canvas, lymphocytes, varied
from .cells import nuclei
from .epithelium import gland, tumour
from .fields import smooth_noise, streaks
from .layout import BACKGROUND, GLAND, LYMPHOCYTES, NECROSIS, STROMA, TUMOUR, Layout


def stroma(c: Canvas, rare: float) -> None:
    """Paint wavy collagen in bundles, clefts between them, spindle nuclei along the fibres, small vessels."""
    rng = c.rng
    where = c.plan == STROMA
    fine = streaks(smooth_noise(rng, c.plan.shape, 1.6 / c.step), c.plan_angle, 5)
    bundle = streaks(smooth_noise(rng, c.plan.shape, 5.0 / c.step), c.plan_angle, 5)
    dense, ground = rng.uniform(0.32, 0.65), rng.uniform(0.05, 0.28)
    fine, bundle = c.up(fine), c.up(bundle)
    open_ = np.clip((bundle + 0.5 * fine + 0.35 * c.big + rng.uniform(1.0, 1.9)) / 0.7, 0.0, 1.0)  # clefts
    eosin = dense * (0.95 + 0.24 * bundle + 0.22 * fine + 0.08 * c.fine) * (0.12 + 0.88 * open_)
    haem = ground * (0.9 + 0.25 * bundle + 0.15 * c.coarse) * (0.2 + 0.8 * open_)
    c.fill(STROMA, haem, eosin)

    spots = c.spread(where, rng.uniform(13, 20), 2.5)
    n = len(spots)
    angle = c.at(c.plan_angle, spots) + rng.normal(0, 0.15, n)
    c.draw(
        nuclei(
            spots,
            long=varied(rng, n, 7.5, 0.25),
            short=varied(rng, n, 1.75, 0.25),
            angle=angle,
            haem=varied(rng, n, rng.uniform(0.95, 1.3), 0.2),
            lobing=0.06,
            clumps=0.2,
            soft=0.7,
            taper=0.9,
            bend=rng.normal(0, 0.5, n),
        ),
        keep=c.mask == STROMA,
    )
    stray = c.spread(where, 45, 1.2)  # a few lymphocytes pass through every stroma
    c.draw(lymphocytes(c, stray, 1.25), keep=c.mask == STROMA)
    inner = ndimage.distance_transform_edt(where) * c.step
    area = np.count_nonzero(where) * c.step**2 / 1e6  # mm²
    for centre in c.spread(inner > 16, 70, 3.0)[: rng.poisson(22 * rare * area)]:
        _vessel(c, centre)


def _vessel(c: Canvas, centre: np.ndarray) -> None:
    """Draw a capillary or venule: a lumen with red cells in a ring of flat endothelial nuclei."""
    rng = c.rng
    long, short, tilt = rng.uniform(8, 16), rng.uniform(5, 9), c.at(c.plan_angle, centre[None])[0]
    stain = dict(clumps=0.0, vesicle=0.0, lobing=0.06, angle=tilt)
    here = c.mask == STROMA
    c.draw(
        nuclei(centre[None], long=long + 2, short=short + 2, haem=0.12, clear=0.35, soft=1.0, **stain),
        keep=here,
    )
    c.draw(nuclei(centre[None], long=long, short=short, haem=0.02, clear=1.3, soft=0.8, **stain), keep=here)
    turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])  # (u, v) -> (row, col) below
    inside = rng.uniform(-1, 1, (rng.integers(4, 26), 2))
    inside = inside[np.hypot(*inside.T) < 0.85] * [short, long] @ turn
    c.draw(nuclei(inside + centre, long=2.9, short=2.9, haem=0.0, eosin=1.0, clear=1.3, clumps=0.0), keep=here)
    around = np.linspace(0, 2 * np.pi, rng.integers(3, 6), endpoint=False) + rng.uniform(0, 2)
    rim = np.stack([(short + 1.2) * np.sin(around), (long + 1.2) * np.cos(around)], 1) @ turn + centre
    c.draw(
        nuclei(
            rim,
            long=4.5,
            short=1.3,
            angle=np.arctan2(short * np.cos(around), -long * np.sin(around)) + tilt,
            haem=1.2,
            soft=0.6,
        ),
        keep=here,
    )


def infiltrate(c: Canvas) -> None:
    """Paint lymphocytes in a dense crowd on a faint reticulum."""
    rng = c.rng
    where = c.plan == LYMPHOCYTES
    net = streaks(smooth_noise(rng, c.plan.shape, 2.0 / c.step), c.plan_angle, 3)
    eosin, haem = rng.uniform(0.25, 0.55), rng.uniform(0.04, 0.14)
    c.fill(
        LYMPHOCYTES,
        haem * (1 + 0.3 * c.mid),
        eosin * (0.75 + 0.3 * c.mid + 0.25 * c.up(net) + 0.2 * c.coarse),
    )
    spots = c.spread(where, rng.uniform(6.6, 8.2), 9.0)
    c.draw(lymphocytes(c, spots, rng.uniform(0.85, 1.3)))


def necrosis(c: Canvas) -> None:
    """Paint granular debris and smudges, ghosts of cells, dust of burst nuclei; no nucleus is intact."""
    rng = c.rng
    where = c.plan == NECROSIS
    ghosts = c.spread(where, 15.0, 3.0)
    wall, tone = c.territories(ghosts, where)
    eosin, dust = rng.uniform(0.45, 0.8), rng.uniform(0.9, 1.9)
    clot = np.clip(0.85 + 0.22 * c.coarse + 0.25 * c.big, 0.12, 1.6)
    grain = 0.9 + 0.08 * c.fine + 0.2 * c.mid + 0.13 * c.chromatin + 0.5 * (tone - 0.5)
    fissure = np.exp(-((wall / 1.0) ** 2)) * np.clip(0.15 + 0.35 * c.big, 0, 0.6)
    body = clot * np.maximum(grain, 0.1) * (1 - fissure)
    c.fill(NECROSIS, rng.uniform(0.08, 0.4) * body, eosin * body)
    n = len(ghosts)
    c.draw(
        nuclei(
            ghosts,
            long=varied(rng, n, 4.6, 0.2),
            short=varied(rng, n, 4.0, 0.2),
            angle=rng.uniform(0, np.pi, n),
            haem=varied(rng, n, 0.17, 0.5),
            vesicle=0.6,
            lobing=0.1,
            soft=2.4,
            clear=0.5,
        ),
        keep=c.mask == NECROSIS,
    )
    drift = ndimage.gaussian_filter(rng.standard_normal(c.plan.shape), 12 / c.step) * 12 / c.step * 3.5
    for size, gap in ((1.5, 6.0), (0.8, 3.4)):
        bits = c.spread(where & (drift > 0.9 - dust), gap, 1.2)
        n = len(bits)
        c.draw(
            nuclei(
                bits,
                long=varied(rng, n, size, 0.4),
                short=varied(rng, n, size * 0.7, 0.3),
                angle=rng.uniform(0, np.pi, n),
                haem=varied(rng, n, 1.1, 0.4),
                lobing=0.3,
                clumps=0.1,
                soft=0.9,
            ),
            keep=c.mask == NECROSIS,
        )


def stain(layout: Layout, mask: np.ndarray, mpp: float, seed: int, rare: float) -> tuple[np.ndarray, np.ndarray]:
    """Paint all tissues: haematoxylin and eosin (H, W) float32, in optical density along their stain vectors."""
    c = Canvas(layout, mask, mpp, np.random.default_rng([seed, 2]))
    present = np.unique(c.plan)
    for label, paint in (
        (STROMA, lambda: stroma(c, rare)),
        (NECROSIS, lambda: necrosis(c)),
        (GLAND, lambda: gland(c)),
        (LYMPHOCYTES, lambda: infiltrate(c)),
        (TUMOUR, lambda: tumour(c, rare)),
    ):
        c.rng = np.random.default_rng([seed, 10 + label])  # a tissue looks the same whatever lies beside it
        if label in present:
            paint()
    solid = np.clip(ndimage.gaussian_filter((mask != BACKGROUND).astype(np.float32), 0.6 / mpp) * 2 - 0.5, 0, 1)
    return c.haem * solid, c.eosin * solid
