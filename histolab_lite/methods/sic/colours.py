"""What the embeddings look like on the slide: three UMAP dimensions as colours.

Chelebian et al., "Seeded iterative clustering for histology region identification", 2022, Sect. 2.2 and Fig. 1: patches
alike in the embedding have like colours; "only for qualitative visualization purposes". UMAP: McInnes, Healy and
Melville, 2018. The paper takes the three dimensions for red, green and blue; here they are lightness, blue to
yellow and green to red of CIELAB, where equal distances look about equally different.
"""

from collections.abc import Sequence

import numpy as np
import torch
from skimage.color import lab2rgb

MIDDLE, RADII = (62.0, 0.0, 0.0), (30.0, 45.0, 45.0)  # L*, a*, b*: an ellipsoid of colours, nearly all of them sRGB's


def umap_colours(
    embeddings: Sequence[torch.Tensor | np.ndarray], neighbours: int = 20, n_fit: int = 10_000, seed: int = 0
) -> list[np.ndarray]:
    """Embeddings of one slide or several, each (N, D), -> RGB uint8 (N, 3) each, a colour a patch.

    Several are laid out together, so that one colour means the same on all of them: give raw embeddings then, for what
    ``prepare`` makes of one slide does not compare with another's. Call it slide by slide to spend all colours on each.
    UMAP is fitted on at most ``n_fit`` patches, drawn at random, and places the rest. Its axes are turned to principal
    components: the widest becomes blue to yellow, which readers of nearly every colour vision tell apart, the next
    lightness, the last green to red.
    The same seed gives the same colours on the same machine. ValueError for fewer than five patches in all.
    """
    parts = [np.asarray(part, dtype=np.float32) for part in embeddings]
    if not parts or any(part.ndim != 2 or part.shape[1:] != parts[0].shape[1:] for part in parts):
        raise ValueError(f"expected a list of (N, D), one D; got {[part.shape for part in parts]}.")
    x = np.concatenate(parts)
    if len(x) < 5 or not np.isfinite(x).all():
        raise ValueError(f"colours need five patches or more, all finite; got {len(x)}.")
    points = _layout(x, min(neighbours, len(x) - 1), n_fit, seed)
    _, _, axes = np.linalg.svd(points - points.mean(0), full_matrices=False)
    axes *= np.sign(axes[np.arange(3), np.abs(axes).argmax(1)])[:, None]
    widest = (points - points.mean(0)) @ axes.T  # (N, 3), widest first
    reach = np.quantile(np.linalg.norm(widest, axis=1), 0.98)
    b, lightness, a = (widest / max(float(reach), 1e-12)).T
    lab = np.array(MIDDLE) + np.stack([lightness, a, b], 1) * RADII
    rgb = np.round(255 * np.clip(lab2rgb(lab), 0, 1)).astype(np.uint8)
    return np.split(rgb, np.cumsum([len(part) for part in parts])[:-1])


def _layout(x: np.ndarray, neighbours: int, n_fit: int, seed: int) -> np.ndarray:
    """(N, D) -> (N, 3)."""
    from umap import UMAP  # here, since its import compiles for half a minute the first time

    start = "spectral" if len(x) > 20 else "random"  # the eigensolver wants more points than dimensions
    options = {"metric": "cosine", "min_dist": 0.2, "init": start, "random_state": seed, "n_jobs": 1}
    reducer = UMAP(n_components=3, n_neighbors=neighbours, **options)
    if len(x) <= n_fit:
        return reducer.fit_transform(x)
    fitted = np.zeros(len(x), bool)
    fitted[np.random.default_rng(seed).permutation(len(x))[:n_fit]] = True
    points = np.empty((len(x), 3), np.float32)
    points[fitted] = reducer.fit_transform(x[fitted])
    points[~fitted] = reducer.transform(x[~fitted])
    return points


def paint(values: np.ndarray, coords: np.ndarray, pitch: float, fill: int | float = 0) -> tuple[np.ndarray, np.ndarray]:
    """Colours, class ids or confidences of patches as a picture: a cell of pitch × pitch for each, around its centre.

    values: (N,) or (N, C). coords: (N, 2), level-0 (x, y) of the patches' corners, on a grid of ``pitch`` (the stride
    between patches, level-0 pixels). fill: where no patch is.
    Returns the picture (h, w) or (h, w, C), and int64 (N, 2) the (row, col) of each patch in it. The first cell stands
    for the patch at the smallest x and y, so its middle lies half a patch right of and below that corner.
    ValueError if two patches fall into one cell, for one of them would be hidden.
    """
    values, places = np.asarray(values), np.asarray(coords, dtype=float)
    if len(values) == 0 or places.shape != (len(values), 2) or not pitch > 0:
        raise ValueError(
            f"expected values and an (x, y) for each, and a pitch above 0; got {values.shape}, {places.shape}, {pitch}."
        )
    cells = np.rint((places - places.min(0)) / pitch).astype(np.int64)[:, ::-1]
    height, width = cells.max(0) + 1
    if len(np.unique(cells[:, 0] * width + cells[:, 1])) < len(cells):
        raise ValueError(f"patches lie closer together than the pitch of {pitch}: give the stride between patches.")
    picture = np.full((height, width, *values.shape[1:]), fill, values.dtype)
    picture[cells[:, 0], cells[:, 1]] = values
    return picture, cells
