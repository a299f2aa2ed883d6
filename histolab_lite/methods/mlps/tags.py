"""Tags: which tissues a patch shows, by its mask, or by its file name in the published data sets."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from histolab_lite.data import IGNORE
from histolab_lite.data.patches import grid_patches

_NAMED = re.compile(r"\[([01](?:[ ,]*[01])*)\]$")


def tags_of_masks(masks: np.ndarray, n_classes: int, least: float = 0.0) -> np.ndarray:
    """Give patches whose masks are known the tags that a person would give them.

    Parameters
    ----------
    masks
        Class ids (N, H, W). Ids from K on, such as glass, and 255 get no tag, but count as area.
    n_classes
        K, from 2 to 255.
    least
        The share of a patch's pixels, in [0, 1), that a class has to exceed; at 0 a single pixel is enough.

    Returns
    -------
    ndarray
        Tags (N, K) uint8. A row without any is a patch to leave out.

    Raises
    ------
    ValueError
        An argument has another shape or is outside its range.
    """
    if masks.ndim != 3 or 0 in masks.shape[1:]:
        raise ValueError(f"expected masks (N, H, W), not {masks.shape}.")
    if not 0 <= least < 1 or not 2 <= n_classes <= IGNORE:
        raise ValueError(f"expected 0 <= least < 1 and 2 to {IGNORE} classes; got {least} and {n_classes}.")
    shares = np.stack([(masks == k).mean((1, 2)) for k in range(n_classes)], axis=1)
    return (shares > least).astype(np.uint8)


def tagged_patches(
    images: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    patch: int,
    n_classes: int,
    n: int | None = None,
    *,
    least: float = 0.0,
    kept: Mapping[int, float] | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut patches that have a tag from images, in random order.

    Parameters
    ----------
    images, masks
        uint8 (H, W, 3) and class ids (H, W).
    patch
        Side of a patch in pixels, P.
    n_classes, least
        As in `tags_of_masks`.
    n
        The most patches to return, from grids that overlap by half. None means all patches of grids without overlap.
    kept
        {class: share in [0, 1] of the patches with its tag that stay}, which makes a class rare.
    seed
        Random seed of the choice and the order.

    Returns
    -------
    patches
        uint8 (N, P, P, 3).
    masks
        (N, P, P), of the same type as the given ones.
    tags
        uint8 (N, K).

    Raises
    ------
    ValueError
        An image is smaller than a patch, a share is outside [0, 1], or no patch has a tag.
    """
    shares = kept or {}
    if not all(0 <= share <= 1 and 0 <= k < n_classes for k, share in shares.items()):
        raise ValueError(f"kept names classes below {n_classes} and shares in [0, 1], not {dict(shares)}.")
    stride = patch if n is None else max(patch // 2, 1)
    cut = np.concatenate([grid_patches(mask, patch, stride)[0] for mask in masks])
    tags = tags_of_masks(cut, n_classes, least)
    random = np.random.default_rng(seed)
    stays = tags.any(1)
    for k, share in shares.items():
        stays &= (tags[:, k] == 0) | (random.random(len(tags)) < share)
    if not stays.any():
        raise ValueError("no patch has a tag; a smaller `least`, or larger shares in `kept`, leave some.")
    chosen = random.permutation(np.flatnonzero(stays))[:n]
    patches = np.concatenate([grid_patches(image, patch, stride)[0] for image in images])
    return patches[chosen], cut[chosen], tags[chosen]


def tags_of_name(name: str | Path) -> np.ndarray:
    """Read the tags (K,) uint8 at the end of a file's name, as LUAD-HistoSeg and BCSS-WSSS have them.

    Examples are "1031280-2300-27920-[1 0 0 1].png" and "TCGA-A1-A0SK-DX1+6+3+[1010].png". The order of the classes is
    the data set's: in BCSS-WSSS tumour, stroma, lymphocytes, necrosis (Fig. 6).

    Raises
    ------
    ValueError
        The name does not end in tags.
    """
    stem = Path(name).stem
    found = _NAMED.search(stem)
    if not found:
        raise ValueError(f"{Path(name).name} does not end in tags, such as [1 0 0 1] or [1001].")
    return np.array([int(digit) for digit in re.sub(r"[ ,]", "", found[1])], dtype=np.uint8)
