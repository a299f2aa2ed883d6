"""Clicked points: from an image's pixels to a grid's cells, as a simulated annotator sets them, as training labels.

Zhang et al., "Weakly supervised segmentation with point annotations for histopathology images via contrast-based
variational model", CVPR 2023, eq. 3 and Sect. 5.2.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from histolab_lite.data import IGNORE

Points = torch.Tensor | np.ndarray | Sequence[Sequence[int]]  # (N, 2) whole numbers, (row, col)


def to_grid(points: Points, image: tuple[int, int], grid: tuple[int, int]) -> torch.Tensor:
    """Pixels (N, 2), (row, col), of an image (H, W) -> the cells (N, 2) int64 they lie in on the grid (h, w).

    ValueError for a pixel off the image.
    """
    pixels = torch.as_tensor(points).reshape(-1, 2)
    sides, cells = (torch.tensor(shape, device=pixels.device) for shape in (image, grid))
    for row, column in pixels[((pixels < 0) | (pixels >= sides)).any(1)].tolist():
        raise ValueError(f"the point ({row}, {column}) lies off the image of {(*image,)} (rows, columns).")
    return ((2 * pixels + 1) * cells).div(2 * sides, rounding_mode="floor").long()  # by the pixel's centre


def simulate_points(
    mask: np.ndarray | torch.Tensor, n_pairs: int, classes: Sequence[int] | None = None, seed: int = 0
) -> dict[int, torch.Tensor]:
    """The paper's simulated annotator: ``n_pairs`` pixels of every class, drawn evenly without repetition.

    mask: (H, W) class ids, 255 is never drawn, or bool, in which case the target is class 1 and the rest 0.
    classes: those to draw from; by default all that the mask holds. The paper takes 3 pairs, or 5 for tissue cores.
    Returns class id -> (n_pairs, 2) int64, (row, col) of pixels. The same seed gives the same points, and the first of
    5 are the 3 that 3 pairs give. ValueError for a class that is absent, or smaller than n_pairs pixels.
    """
    ids = np.asarray(mask)
    if ids.ndim != 2 or n_pairs < 1:
        raise ValueError(f"expected a mask (H, W) and at least one pair; got {ids.shape} and {n_pairs}.")
    present = [int(name) for name in np.unique(ids) if name != IGNORE]
    wanted = present if classes is None else [int(name) for name in classes]
    if len(wanted) < 2:
        raise ValueError(f"points are drawn from two classes or more; this mask has {present}, asked for: {wanted}.")
    points = {}
    for name in wanted:
        where = np.flatnonzero(ids == name)
        if len(where) < n_pairs:
            raise ValueError(
                f"class {name} has {len(where)} pixels in this mask, which holds {present}; "
                f"{n_pairs} points cannot be drawn from it."
            )
        drawn = np.random.default_rng([seed, name]).permutation(where)[:n_pairs]
        points[name] = torch.from_numpy(np.stack(np.unravel_index(drawn, ids.shape), 1))
    return points


def point_mask(points: Mapping[int, Points], shape: tuple[int, int], radius: int = 1) -> torch.Tensor:
    """The labels of the partial cross-entropy (eq. 3): (H, W) uint8, 255 wherever nobody clicked.

    Every point is widened to a square of 2·radius + 1 pixels, the paper's 3 × 3, cut off at the border. A pixel in
    squares of two classes stays 255, as does one clicked as both; a clicked pixel keeps its class in another's square.
    """
    if radius < 0:
        raise ValueError(f"radius must be at least 0, not {radius}.")
    mask = torch.full(shape, IGNORE, dtype=torch.uint8)
    for around in (radius, 0):  # the clicked pixels last, over the squares
        claimed: dict[tuple[int, int], int] = {}
        for name, clicked in points.items():
            for row, column in to_grid(clicked, shape, shape).tolist():
                for y in range(max(row - around, 0), min(row + around + 1, shape[0])):
                    for x in range(max(column - around, 0), min(column + around + 1, shape[1])):
                        claimed[y, x] = int(name) if claimed.get((y, x), name) == name else IGNORE
        for place, name in claimed.items():
            mask[place] = name
    return mask
