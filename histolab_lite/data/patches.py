"""Patches: squares cut from an image, with the classes that its mask shows there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from histolab_lite.data import IGNORE


def grid_patches(image: np.ndarray, patch: int, stride: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Cut an image into patches on a grid; every patch lies wholly inside.

    Parameters
    ----------
    image
        (H, W) or (H, W, C).
    patch
        Side of a patch in pixels.
    stride
        Step of the grid in pixels; None for `patch`, without overlap.

    Returns
    -------
    patches : (N, patch, patch) or (N, patch, patch, C)
        Row by row.
    coords : (N, 2) int64
        Their upper left corners (row, col).

    Raises
    ------
    ValueError
        If the image is smaller than a patch, or the stride is below 1.
    """
    stride = patch if stride is None else stride
    if min(patch, stride) < 1 or patch > min(image.shape[:2]):
        raise ValueError(f"A patch of {patch} px at stride {stride} does not fit an image of {image.shape[:2]}.")
    windows = sliding_window_view(image, (patch, patch), axis=(0, 1))[::stride, ::stride]  # (R, C[, 3], p, p)
    if image.ndim == 3:
        windows = np.moveaxis(windows, 2, -1)
    rows, cols = windows.shape[:2]
    row, col = np.meshgrid(np.arange(rows) * stride, np.arange(cols) * stride, indexing="ij")
    coords = np.stack([row.ravel(), col.ravel()], axis=1).astype(np.int64)
    return windows.reshape(rows * cols, *windows.shape[2:]), coords


def pure_patches(
    image: np.ndarray, mask: np.ndarray, patch: int, stride: int | None = None, purity: float = 0.95
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the grid patches of which one class covers at least `purity` of the area.

    Ignored pixels count as area but not as a class.

    Parameters
    ----------
    image
        uint8 (H, W, 3).
    mask
        Class ids, uint8 (H, W), 255 for ignore.
    patch, stride
        As for `grid_patches`.
    purity
        Least share of the leading class, above 0.5.

    Returns
    -------
    patches : (N, patch, patch, 3) uint8
        The pure patches.
    labels : (N,) int64
        Their classes.
    coords : (N, 2) int64
        Their upper left corners (row, col).

    Raises
    ------
    ValueError
        As `grid_patches`, for a mask of another size, or a purity outside (0.5, 1].
    """
    if image.shape[:2] != mask.shape:
        raise ValueError(f"The image is {image.shape[:2]}, its mask {mask.shape}.")
    if not 0.5 < purity <= 1:
        raise ValueError(f"purity is a share above 0.5, so that one class leads, not {purity}.")
    windows, coords = grid_patches(mask, patch, stride)
    labels = np.full(len(windows), -1, dtype=np.int64)
    for value in np.setdiff1d(np.unique(mask), [IGNORE]):
        labels[(windows == value).mean(axis=(1, 2)) >= purity] = value
    pure = labels >= 0
    patches, _ = grid_patches(image, patch, stride)
    return patches[pure], labels[pure], coords[pure]


def labelled_patches(
    images: Sequence[np.ndarray], masks: Sequence[np.ndarray], patch: int, n_classes: int, n: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw at most `n` patches at random from the half-overlapping grids of all images, with their classes.

    Parameters
    ----------
    images, masks
        uint8 (H, W, 3), and class ids uint8 (H, W), 255 for ignore.
    patch
        Side of a patch in pixels.
    n_classes
        Class ids are 0 to n_classes - 1.
    n
        Largest number of patches.
    seed
        The random seed.

    Returns
    -------
    patches : (n, patch, patch, 3) uint8
        In random order.
    fractions : (n, n_classes) float64
        The share of each class; a row sums to less than 1 where pixels are ignored.

    Raises
    ------
    ValueError
        For an image smaller than a patch.
    """
    places = [
        (index, int(row), int(col))
        for index, mask in enumerate(masks)
        for row, col in grid_patches(mask, patch, max(patch // 2, 1))[1]
    ]
    chosen = np.random.default_rng(seed).permutation(len(places))[:n]
    windows = [(i, slice(row, row + patch), slice(col, col + patch)) for i, row, col in (places[j] for j in chosen)]
    patches = np.stack([images[i][rows, cols] for i, rows, cols in windows])
    parts = [masks[i][rows, cols] for i, rows, cols in windows]
    fractions = np.stack([np.bincount(part.ravel(), minlength=256)[:n_classes] / part.size for part in parts])
    return patches, fractions
