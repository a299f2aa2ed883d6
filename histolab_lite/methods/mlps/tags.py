"""Ticks: which tissues a patch shows, from a mask, or from the name of a file of the published data sets."""

import re
from pathlib import Path

import numpy as np

from histolab_lite.data.patches import IGNORE

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
