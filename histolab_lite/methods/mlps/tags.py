"""Ticks: which tissues a patch shows, from a mask, or from the name of a file of the published data sets."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from histolab_lite.data import IGNORE
from histolab_lite.data.patches import grid_patches

_NAMED = re.compile(r"\[([01](?:[ ,]*[01])*)\]$")


def tags_of_masks(masks: np.ndarray, n_classes: int, least: float = 0.0) -> np.ndarray:
    """What a person would tick on patches whose masks are known: masks (N, H, W) of class ids -> tags (N, K) uint8.

    least: the share of a patch's pixels that a class has to exceed; 0 ticks it from its first pixel on. Pixels of 255
    count for nothing. A row without a tag is a patch to leave out. Ids from K on, e.g. glass, are not ticked.
    ValueError for another shape, or a share outside [0, 1).
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
    """At most n patches of half-overlapping grids, in random order; without n all of grids that do not overlap.

    Returns patches uint8 (N, P, P, 3), their masks uint8 (N, P, P) and tags uint8 (N, K), as ``tags_of_masks`` with
    ``least``; patches without a tag are left out.
    kept: {class: share of the patches tagged with it that stay}, which gives a data set its long tail.
    Raises ValueError for a picture smaller than a patch, a share outside [0, 1], or when no patch has a tag.
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
    """The tags (K,) uint8 at the end of a file's name, as LUAD-HistoSeg and BCSS-WSSS have them.

    Such as "1031280-2300-27920-[1 0 0 1].png" or "TCGA-A1-A0SK-DX1+6+3+[1010].png"; the order of the classes is
    the data set's: in BCSS-WSSS tumour, stroma, lymphocytes, necrosis (Fig. 6).

    Raises ValueError for a name without them.
    """
    stem = Path(name).stem
    found = _NAMED.search(stem)
    if not found:
        raise ValueError(f"{Path(name).name} does not end in tags, such as [1 0 0 1] or [1001].")
    return np.array([int(digit) for digit in re.sub(r"[ ,]", "", found[1])], dtype=np.uint8)
