"""Patches: squares cut from a picture, with what its mask says of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from histolab_lite.data import IGNORE


def grid_patches(image: np.ndarray, patch: int, stride: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Cut (H, W[, C]) on a grid: patches (N, patch, patch[, C]), int64 (row, col) corners (N, 2).

    Patches lie wholly inside; `stride` None means patch, without overlap.
    """
    stride = patch if stride is None else stride
    if min(patch, stride) < 1 or patch > min(image.shape[:2]):
        raise ValueError(f"A patch of {patch} px at stride {stride} does not fit a picture {image.shape[:2]}.")
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
    """The grid patches of which one class covers at least `purity` of the area.

    Returns patches uint8 (N, patch, patch, 3), labels int64 (N,), (row, col) corners int64 (N, 2). Pixels to
    ignore count as area but as no class.
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
    """At most `n` patches drawn at random from the half-overlapping grids of all images, and what they show.

    Returns patches uint8 (n, patch, patch, 3) and the share of each class in them, float64 (n, n_classes); a row sums
    to less than 1 where pixels are to be ignored. Raises ValueError for a picture smaller than a patch.
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
