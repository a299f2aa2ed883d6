"""Show embeddings on the slide: three UMAP dimensions as colours.

Chelebian et al., "Seeded iterative clustering for histology region identification", 2022, Sect. 2.2 and Fig. 1: patches
with similar embeddings have similar colours; "only for qualitative visualization purposes". UMAP: McInnes, Healy and
Melville, 2018. The paper uses the three dimensions as red, green and blue. Here they are lightness, blue to yellow and
green to red of CIELAB, where equal distances look about equally different.
"""

from collections.abc import Sequence

import numpy as np
import torch
from skimage.color import lab2rgb

MIDDLE, RADII = (62.0, 0.0, 0.0), (30.0, 45.0, 45.0)  # L*, a*, b*: an ellipsoid, almost all inside sRGB


def umap_colours(
    embeddings: Sequence[torch.Tensor | np.ndarray], neighbours: int = 20, n_fit: int = 10_000, seed: int = 0
) -> list[np.ndarray]:
    """Colour the patches of one or more slides by their embeddings.

    All slides are laid out together, so that a colour means the same on each: give raw embeddings then, because those
    of `prepare` do not compare between slides. Call it slide by slide to use all colours on each. The axes of UMAP are
    turned to principal components: the widest becomes blue to yellow, which almost all readers can tell apart, the next
    lightness, the last green to red. The same random seed gives the same colours on the same machine.

    Parameters
    ----------
    embeddings
        (N, D) per slide.
    neighbours
        Neighbours of UMAP.
    n_fit
        UMAP is fitted on at most so many random patches, and places the rest.
    seed
        Random seed.

    Returns
    -------
    list of uint8 (N, 3)
        RGB of each patch, per slide.

    Raises
    ------
    ValueError
        For another shape, values that are not finite, or fewer than five patches in all.
    """
    parts = [np.asarray(part, dtype=np.float32) for part in embeddings]
    if not parts or any(part.ndim != 2 or part.shape[1:] != parts[0].shape[1:] for part in parts):
        raise ValueError(f"expected a list of (N, D) with the same D; got {[part.shape for part in parts]}.")
    x = np.concatenate(parts)
    if len(x) < 5 or not np.isfinite(x).all():
        raise ValueError(f"colours need at least five patches, and finite values; got {len(x)} patches.")
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
    """Lay out embeddings by UMAP: (N, D) -> (N, 3)."""
    from umap import UMAP  # imported here: the first import compiles for half a minute

    start = "spectral" if len(x) > 20 else "random"  # the eigensolver needs more points than dimensions
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
    """Make an image of the patches' colours, class ids or confidences: one pixel per patch.

    The first pixel is the patch at the smallest x and y: its middle lies half a patch right of and below that corner.

    Parameters
    ----------
    values
        (N,) or (N, C).
    coords
        (N, 2), level-0 (x, y) of the patches' corners.
    pitch
        Stride between patches, level-0 pixels.
    fill
        Value where there is no patch.

    Returns
    -------
    image
        (h, w) or (h, w, C), with the dtype of `values`.
    cells
        int64 (N, 2), the (row, col) of each patch in the image.

    Raises
    ------
    ValueError
        For shapes that do not match, or two patches in one pixel, of which one would be hidden.
    """
    values, places = np.asarray(values), np.asarray(coords, dtype=float)
    if len(values) == 0 or places.shape != (len(values), 2) or not pitch > 0:
        raise ValueError(
            f"expected values, an (x, y) for each, and a pitch above 0; got {values.shape}, {places.shape}, {pitch}."
        )
    cells = np.rint((places - places.min(0)) / pitch).astype(np.int64)[:, ::-1]
    height, width = cells.max(0) + 1
    if len(np.unique(cells[:, 0] * width + cells[:, 1])) < len(cells):
        raise ValueError(f"patches lie closer together than the pitch of {pitch}: give the stride between patches.")
    image = np.full((height, width, *values.shape[1:]), fill, values.dtype)
    image[cells[:, 0], cells[:, 1]] = values
    return image, cells
