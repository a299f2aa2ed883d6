"""Where the tissues of a phantom specimen lie: a mask, the glands in it and the direction of its fibres.

The plan is that of a resected carcinoma: a tissue edge against glass, a zone of normal glands, tumour nests
with necrotic cores in a stroma whose fibres wrap around them, lymphocytes along the invasive edge, fat
and tears.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from .fields import lookup, resample, resample_labels, scatter, smooth_noise

BACKGROUND, STROMA, TUMOUR, LYMPHOCYTES, NECROSIS, GLAND = range(6)
SPECIMEN = 1024.0  # µm: side of the smallest specimen; a smaller slide is a field of view in it
FAR = 1e3  # µm
MARGIN = 24.0  # µm around the field of view, so that cells cut by its border are drawn


@dataclass
class Layout:
    """The field of view and a margin, on a grid of `step` µm whose corner is at `corner` (row, col) µm."""

    mask: np.ndarray  # (H, W) uint8
    depth: np.ndarray  # (H, W) µm below the glands' basement membrane, negative outside glands
    angle: np.ndarray  # (H, W) radians, of the fibres
    step: float
    corner: tuple[float, float] = (-MARGIN, -MARGIN)

    def mask_at(self, shape: tuple[int, int], mpp: float) -> np.ndarray:
        """Resample the mask to the pixels of the slide."""
        return resample_labels(
            self.mask, shape, mpp / self.step, (-self.corner[0] / self.step, -self.corner[1] / self.step)
        )


def _fine_grid(extent: tuple[float, float], mpp: float) -> tuple[tuple[int, int], float]:
    """Return shape and step in µm of the grid for a field of view of `extent` µm."""
    step = max(1.0, mpp)
    height, width = (int(np.ceil((e + 2 * MARGIN) / step)) for e in extent)
    return (height, width), step


def _lowest(score: np.ndarray, allowed: np.ndarray, area: float) -> np.ndarray:
    """Return the `area` pixels of `allowed` where `score` is lowest."""
    share = area / max(1, int(np.count_nonzero(allowed)))
    if share <= 0.0:
        return np.zeros_like(allowed)
    return allowed & (score <= np.quantile(score[allowed], min(1.0, share)))


def _tidy(region: np.ndarray, step: float, smooth: float, island: float, hole: float) -> np.ndarray:
    """Smooth the outline over `smooth` µm; remove smaller islands and fill smaller holes, in µm²."""
    region = ndimage.gaussian_filter(region.astype(np.float32), smooth / step) > 0.5
    for wanted, smallest in ((True, island), (False, hole)):
        parts, n = ndimage.label(region == wanted)
        small = np.bincount(parts.ravel(), minlength=n + 1) * step**2 < smallest
        small[0] = False
        region ^= small[parts]
    return region


def _away(region: np.ndarray, step: float) -> np.ndarray:
    """Return the distance in µm from each pixel to `region`."""
    if not region.any():
        return np.full(region.shape, FAR, np.float32)
    return (ndimage.distance_transform_edt(~region) * step).astype(np.float32)


def glands(rng: np.random.Generator, zone: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Pack glands into `zone`; return depth (H, W), µm below the basement membrane, and their region (H, W)."""
    spacing, stretch, tilt = rng.uniform(68, 88), rng.uniform(1.0, 1.8), rng.uniform(0, np.pi)
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    metric = turn @ np.diag([1.0, 1.0 / stretch]) @ turn.T  # crypts cut lengthwise: distances shrink along one axis
    centres = scatter(rng, zone, spacing, step, crowding=80.0)
    depth = np.full(zone.shape, -FAR, np.float32)
    if len(centres) == 0:
        return depth, np.zeros_like(zone)
    near = _away(zone, step) < spacing
    pixels = (np.argwhere(near) + 0.5) * step
    wobble = np.stack([3.0 * smooth_noise(rng, zone.shape, 22 / step)[near] for _ in range(2)], 1)
    k = min(7, len(centres))
    distance, index = cKDTree(centres @ metric).query((pixels + wobble) @ metric, k=k)
    distance, index = distance.reshape(-1, k), index.reshape(-1, k)
    first, others = centres[index[:, :1]] @ metric, centres[index[:, 1:]] @ metric
    apart = np.linalg.norm(others - first, axis=-1) + 1e-6
    walls = (distance[:, 1:] ** 2 - distance[:, :1] ** 2) / (2 * apart)  # distance to each bisector
    walls = np.concatenate([walls, spacing * 0.62 - distance[:, :1]], 1)
    soft = 6.0  # µm: a soft minimum rounds the corners of the Voronoi cells into glands
    inside = -soft * np.log(np.exp(-np.clip(walls, -200, 200) / soft).sum(1))
    depth[near] = inside - rng.uniform(0.5, 3.0)
    parts, n = ndimage.label(depth > 0)
    small = np.bincount(parts.ravel(), minlength=n + 1) * step**2 < 900.0
    small[0] = False
    depth[small[parts]] = -1.0
    region = _away(depth > 0, step) < 20.0  # close the gaps between glands: thin septa belong to them
    region = ndimage.distance_transform_edt(region) * step > 16.0
    return depth, _tidy(region, step, 2.0, 900.0, 6000.0)


def _holes(rng: np.random.Generator, stroma: np.ndarray, angle: np.ndarray, step: float, rare: float) -> np.ndarray:
    """Return fat cells in clusters and tears along the fibres, inside `stroma`."""
    holes = np.zeros_like(stroma)
    inner = ndimage.distance_transform_edt(stroma) * step
    area = np.count_nonzero(stroma) * step**2 / 1e6  # mm²
    rows, cols = np.indices(stroma.shape, dtype=np.float32) * step
    for centre in scatter(rng, inner > 45, 260, step)[: rng.poisson(4 * rare * area)]:
        away = np.hypot(rows - centre[0], cols - centre[1]) + 14 * smooth_noise(rng, stroma.shape, 50 / step)
        cluster = stroma & (away < rng.uniform(50, 95)) & (inner > 8)
        cells = scatter(rng, cluster, 32, step, crowding=10)
        if len(cells) < 3:
            continue
        pixels = (np.argwhere(cluster) + 0.5) * step
        d, _ = cKDTree(cells).query(pixels, k=2)
        holes[cluster] |= ((d[:, 1] - d[:, 0]) > 2.6) & (d[:, 0] < 26)
    for tear in scatter(rng, inner > 18, 90, step)[: rng.poisson(10 * rare * area)]:
        theta = lookup(angle, tear[None], step)[0]
        y, x = rows - tear[0], cols - tear[1]
        u, v = x * np.cos(theta) + y * np.sin(theta), y * np.cos(theta) - x * np.sin(theta)
        length, width = rng.uniform(25, 60), rng.uniform(3, 8)
        bend = rng.normal(0, 0.004) * u**2
        holes |= (np.abs(v - bend) < width * (1 - (u / length) ** 2)) & (inner > 3)
    return holes


def _fibres(rng: np.random.Generator, tumour: np.ndarray, step: float) -> np.ndarray:
    """Return fibre angles (H, W): wandering, but tangential close to the tumour; with a crimp of about 15 µm."""
    shape = tumour.shape
    theta = rng.uniform(0, np.pi) + 0.9 * smooth_noise(rng, shape, 170 / step)
    distance = ndimage.gaussian_filter(_away(tumour, step), 8 / step)
    gy, gx = np.gradient(distance)
    around = np.arctan2(gy, gx) + np.pi / 2
    near = np.exp(-distance / 45.0)
    c = (1 - near) * np.cos(2 * theta) + near * np.cos(2 * around)  # angles of lines are averaged doubled
    s = (1 - near) * np.sin(2 * theta) + near * np.sin(2 * around)
    crimp = rng.uniform(0.15, 0.4) * smooth_noise(rng, shape, 14 / step)
    return (0.5 * np.arctan2(s, c) + crimp).astype(np.float32)


def _field_of_view(mask: np.ndarray, view: tuple[int, int]) -> tuple[int, int]:
    """Return the corner of the window of `view` pixels that shows the most classes, and shows them best."""
    spare = [max(0, m - v) for m, v in zip(mask.shape, view, strict=True)]
    corners = [
        (r, c)
        for r in sorted({spare[0] * i // 12 for i in range(13)})
        for c in sorted({spare[1] * i // 12 for i in range(13)})
    ]

    def score(corner: tuple[int, int]) -> float:
        window = mask[corner[0] : corner[0] + view[0], corner[1] : corner[1] + view[1]]
        share = np.bincount(window.ravel(), minlength=6) / window.size
        return float(np.minimum(share / 0.06, 1.0).sum() - 0.5 * (share * np.log(share + 1e-9)).sum())

    return max(corners, key=score)


def plan(rng: np.random.Generator, extent: tuple[float, float], mpp: float, rare: float) -> Layout:
    """Plan a specimen and choose the field of view of `extent` (height, width) µm in it."""
    step = 2.0  # µm: enough for regions; what is finer is added in the field of view
    height, width = (int(np.ceil(max(e, SPECIMEN) / step)) for e in extent)
    shape = (height, width)
    rows, cols = np.indices(shape, dtype=np.float32) * step
    share = dict(zip(range(6), rng.dirichlet(160 * np.array([0.10, 0.29, 0.25, 0.14, 0.10, 0.12])), strict=True))
    share = {k: float(np.clip(v, 0.08, 0.35)) * rows.size for k, v in share.items()}

    sides = rng.uniform(0, 2 * np.pi) + np.array([0.0, rng.uniform(1.2, 2.5)])[: rng.integers(1, 3)]
    edge = np.min(
        [
            rows * np.sin(a)
            + cols * np.cos(a)
            - min(0, shape[0] * step * np.sin(a))
            - min(0, shape[1] * step * np.cos(a))
            for a in sides
        ],
        axis=0,
    )
    edge += 45 * smooth_noise(rng, shape, 160 / step) + 9 * smooth_noise(rng, shape, 30 / step)
    edge += 2.0 * smooth_noise(rng, shape, 6 / step)
    glass = _lowest(edge, np.ones(shape, bool), share[BACKGROUND])
    glass = _tidy(glass, step, 1.0, 600.0, 600.0)
    inward = _away(glass, step)

    candidates = np.argwhere((inward > 90) & (inward < 170)) * step
    centre = candidates[rng.integers(len(candidates))] if len(candidates) else np.array(shape) * step / 2
    reach = np.hypot(rows - centre[0], cols - centre[1]) + 35 * smooth_noise(rng, shape, 120 / step)
    zone = _lowest(reach, inward > 22, share[GLAND] * 0.95)
    depth, gland = glands(rng, zone, step)
    gland &= inward > 8

    free = (inward > 12) & (_away(gland, step) > 24)
    nests = smooth_noise(rng, shape, 210 / step) + 0.3 * smooth_noise(rng, shape, 70 / step)
    nests += 0.08 * smooth_noise(rng, shape, 22 / step)
    tumour = _tidy(_lowest(-nests, free, share[TUMOUR] + share[NECROSIS]), step, 5.0, 4000.0, 2500.0)
    core = ndimage.distance_transform_edt(tumour) * step + 16 * smooth_noise(rng, shape, 60 / step)
    core += 4 * smooth_noise(rng, shape, 16 / step)
    necrosis = _tidy(_lowest(-core, tumour & (core > 42), share[NECROSIS]), step, 7.0, 9000.0, 4000.0)

    outside = _away(tumour, step)
    front = np.maximum(outside, 4) / 110.0 - 1.3 * smooth_noise(rng, shape, 190 / step)
    front += 0.2 * smooth_noise(rng, shape, 25 / step)
    aggregate = 2.3 - 2.2 * smooth_noise(rng, shape, 110 / step)
    free &= ~tumour
    lymphocytes = _tidy(
        _lowest(np.minimum(front, aggregate), free, 1.1 * share[LYMPHOCYTES]), step, 7.0, 6000.0, 3000.0
    )

    mask = np.full(shape, STROMA, np.uint8)
    for region, label in (
        (lymphocytes, LYMPHOCYTES),
        (tumour, TUMOUR),
        (necrosis & tumour, NECROSIS),
        (gland, GLAND),
        (glass, BACKGROUND),
    ):
        mask[region] = label
    view = (int(np.ceil(extent[0] / step)), int(np.ceil(extent[1] / step)))
    top, left = _field_of_view(mask, view)
    grid, fine = _fine_grid(extent, mpp)
    place = (grid, fine / step, (top - MARGIN / step, left - MARGIN / step))
    mask, depth = resample_labels(mask, *place), resample(depth, *place)
    depth[mask != GLAND] = -FAR
    angle = _fibres(rng, np.isin(mask, (TUMOUR, NECROSIS)), fine)
    mask[_holes(rng, mask == STROMA, angle, fine, rare)] = BACKGROUND
    return Layout(mask, depth, angle, fine)


def uniform(rng: np.random.Generator, class_id: int, extent: tuple[float, float], mpp: float) -> Layout:
    """Make a layout of one tissue only, for single patches."""
    grid, step = _fine_grid(extent, mpp)
    everywhere = np.ones(grid, bool)
    depth = glands(rng, everywhere, step)[0] if class_id == GLAND else np.full(grid, -FAR, np.float32)
    return Layout(np.full(grid, class_id, np.uint8), depth, _fibres(rng, ~everywhere, step), step)
