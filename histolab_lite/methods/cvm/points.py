"""Clicked points: their cells on a grid, a simulated annotator who clicks them, and the labels made of them.

Zhang et al., "Weakly supervised segmentation with point annotations for histopathology images via contrast-based
variational model", CVPR 2023, eq. 3 and Sect. 5.2.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from histolab_lite.data import IGNORE

Points = torch.Tensor | np.ndarray | Sequence[Sequence[int]]  # (N, 2) whole numbers, (row, col)


def to_grid(points: Points, image: tuple[int, int], grid: tuple[int, int]) -> torch.Tensor:
    """Find the cells of a grid in which pixels of an image lie.

    Parameters
    ----------
    points
        Pixels (N, 2), (row, col).
    image, grid
        Rows and columns: (H, W) pixels, (h, w) cells.

    Returns
    -------
    torch.Tensor
        Cells (N, 2) int64, (row, col).

    Raises
    ------
    ValueError
        For points that are not (N, 2), and for a pixel off the image.
    """
    pixels = torch.as_tensor(points)
    if not pixels.numel():
        pixels = pixels.reshape(0, 2)
    if pixels.ndim != 2 or pixels.shape[1] != 2:
        raise ValueError(f"points must be (N, 2), (row, col); got {(*pixels.shape,)}.")
    sides, cells = (torch.tensor(shape, device=pixels.device) for shape in (image, grid))
    for row, column in pixels[((pixels < 0) | (pixels >= sides)).any(1)].tolist():
        raise ValueError(f"the point ({row}, {column}) lies off the image of {(*image,)} (rows, columns).")
    return ((2 * pixels + 1) * cells).div(2 * sides, rounding_mode="floor").long()  # by the pixel's centre


def simulate_points(
    mask: np.ndarray | torch.Tensor, n_pairs: int, classes: Sequence[int] | None = None, seed: int = 0
) -> dict[int, torch.Tensor]:
    """Draw pixels of every class at random, without repetition: the paper's simulated annotator.

    The same seed gives the same points, and the first 3 of 5 points are those that ``n_pairs=3`` gives.

    Parameters
    ----------
    mask
        (H, W) class ids, 255 is never drawn; or bool, where the target is class 1 and the rest class 0.
    n_pairs
        Points per class. The paper takes 3, or 5 for tissue cores.
    classes
        The classes to draw from; by default all that the mask holds.
    seed
        Random seed.

    Returns
    -------
    dict
        Class id -> (n_pairs, 2) int64, (row, col) of pixels.

    Raises
    ------
    ValueError
        For a class that is absent, or smaller than ``n_pairs`` pixels.
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
    """Make the labels of the partial cross-entropy (eq. 3) from points.

    Every point becomes a square, cut off at the border. A pixel in squares of two classes stays 255, and so does a
    pixel clicked as both. A clicked pixel inside the square of another class keeps its own class.

    Parameters
    ----------
    points
        Class id -> (N, 2), (row, col) of pixels.
    shape
        (H, W) of the image.
    radius
        A square has 2·radius + 1 pixels per side; 3 in the paper.

    Returns
    -------
    torch.Tensor
        (H, W) uint8, 255 wherever nobody clicked.

    Raises
    ------
    ValueError
        For a negative radius or a point off the image.
    """
    if radius < 0:
        raise ValueError(f"radius must be at least 0, not {radius}.")
    mask = torch.full(shape, IGNORE, dtype=torch.uint8)
    for around in (radius, 0):  # first the squares, then the clicked pixels over them
        claimed: dict[tuple[int, int], int] = {}
        for name, clicked in points.items():
            for row, column in to_grid(clicked, shape, shape).tolist():
                for y in range(max(row - around, 0), min(row + around + 1, shape[0])):
                    for x in range(max(column - around, 0), min(column + around + 1, shape[1])):
                        claimed[y, x] = int(name) if claimed.get((y, x), name) == name else IGNORE
        for place, name in claimed.items():
            mask[place] = name
    return mask
