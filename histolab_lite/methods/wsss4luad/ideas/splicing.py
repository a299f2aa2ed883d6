"""Pixel labels at no cost: pieces of patches of a single tissue are combined to patches of several tissues.

Han et al., "WSSS4LUAD: Grand challenge on weakly-supervised tissue semantic segmentation for lung adenocarcinoma",
Sect. IV-B: the first three teams do so. Lin et al. (1st place) and Zhu et al. (2nd) paste a rectangle of one patch on
another, as CutMix does (Yun et al., ICCV 2019, eq. 1 and 2); Fang et al. (3rd) put random crops side by side. The
class of a patch with a single tag is known at every pixel of tissue, and so is the mask of any combination of them.
"""

import numpy as np

from histolab_lite.data import IGNORE
from histolab_lite.data.batches import check_patches


def splice(
    patches: np.ndarray, masks: np.ndarray, n: int, seed: int, *, alpha: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Paste a rectangle of another class on each of n patches.

    The class of the patch below is drawn uniformly, so that rare classes are as frequent as common ones; so is the
    class of the rectangle, among the others. If there is only one class, both have it. As in CutMix, the rectangle has
    the shape of a patch, a uniformly drawn centre, and 1 − λ of the area, λ ~ Beta(α, α), before it is cut at the
    border. It keeps its place. The first m of n patches are the m patches of the same random seed.

    Parameters
    ----------
    patches
        uint8 (N, H, W, 3), each of a single class.
    masks
        uint8 (N, H, W): the class id, 255 for glass and everything else that is no tissue. 255 is pasted, too.
    n
        Number of patches to make.
    seed
        Random seed.
    alpha
        α, above 0.

    Returns
    -------
    patches
        uint8 (n, H, W, 3).
    masks
        uint8 (n, H, W).

    Raises
    ------
    ValueError
        For no patches, shapes or dtypes that do not match, a patch of no class or of several, or a number out of its
        range.

    References
    ----------
    Yun et al., "CutMix", ICCV 2019, eq. 1 and 2.
    """
    members = _by_class(patches, masks)
    if n < 1 or not alpha > 0:
        raise ValueError(f"n is at least 1 and alpha is above 0; got {n} and {alpha}.")
    random = np.random.default_rng(seed)
    spliced, labels = _empty(patches, n)
    for index in range(n):
        below = random.choice(list(members))
        chosen = random.choice(members[below])
        spliced[index], labels[index] = patches[chosen], masks[chosen]
        above = random.choice([k for k in members if k != below] or [below])
        donor = random.choice(members[above])
        side = np.sqrt(1 - random.beta(alpha, alpha))  # eq. 2
        box = tuple(_interval(length, side, random) for length in masks.shape[1:])
        spliced[index][box], labels[index][box] = patches[donor][box], masks[donor][box]
    return spliced, labels


def mosaic(patches: np.ndarray, masks: np.ndarray, n: int, seed: int, grid: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Make n patches of grid × grid cells, each cell a random crop of a patch.

    Cells are as equal as whole pixels allow. No class comes twice in a mosaic before every other class has come once;
    the order of the cells is random. The first m of n patches are the m patches of the same random seed.

    Parameters
    ----------
    patches, masks, n, seed
        As in `splice`.
    grid
        Number of cells per side.

    Returns
    -------
    patches
        uint8 (n, H, W, 3).
    masks
        uint8 (n, H, W).

    Raises
    ------
    ValueError
        As `splice`, and for a grid of more cells than pixels.
    """
    members = _by_class(patches, masks)
    height, width = masks.shape[1:]
    if n < 1 or not 1 <= grid <= min(height, width):
        raise ValueError(f"n is at least 1, and the grid fits a patch of {height} × {width}; got {n} and {grid}.")
    random = np.random.default_rng(seed)
    mosaics, labels = _empty(patches, n)
    rows, cols = (_cells(length, grid) for length in (height, width))
    for index in range(n):
        rounds = [random.permutation(list(members)) for _ in range(-(-grid * grid // len(members)))]
        classes = iter(random.permutation(np.concatenate(rounds)[: grid * grid]))
        for row in rows:
            for col in cols:
                donor = random.choice(members[next(classes)])
                crop = donor, *(_anywhere(cell, length, random) for cell, length in ((row, height), (col, width)))
                mosaics[index, row, col], labels[index, row, col] = patches[crop], masks[crop]
    return mosaics, labels


def _by_class(patches: np.ndarray, masks: np.ndarray) -> dict[int, np.ndarray]:
    """Group patches by class: {class id: indices}, in order."""
    check_patches(patches)
    if masks.shape != patches.shape[:3] or masks.dtype != np.uint8:
        raise ValueError(f"expected a mask per patch, uint8 {patches.shape[:3]}; got {masks.dtype} {masks.shape}.")
    if 0 in masks.shape:
        raise ValueError(f"there is no patch to combine: the patches are {patches.shape}.")
    lowest = masks.min((1, 2))  # IGNORE is the highest id
    highest = np.where(masks == IGNORE, 0, masks).max((1, 2))
    for wrong, what in ((lowest == IGNORE, "no class at all"), (lowest < highest, "several classes")):
        if wrong.any():
            raise ValueError(
                f"patches {np.flatnonzero(wrong)[:10].tolist()} show {what}; give patches of a single class."
            )
    return {int(k): np.flatnonzero(lowest == k) for k in np.unique(lowest)}


def _empty(patches: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.empty((n, *patches.shape[1:]), np.uint8), np.empty((n, *patches.shape[1:3]), np.uint8)


def _interval(length: int, side: float, random: np.random.Generator) -> slice:
    """Draw an interval of `side` times the length with a uniform centre, cut at both ends."""
    centre = random.uniform(0, length)
    ends = np.clip([centre - side * length / 2, centre + side * length / 2], 0, length)
    return slice(*np.rint(ends).astype(int))


def _cells(length: int, grid: int) -> list[slice]:
    edges = np.arange(grid + 1) * length // grid
    return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]


def _anywhere(cell: slice, length: int, random: np.random.Generator) -> slice:
    """Draw a slice of the cell's size within the length."""
    size = cell.stop - cell.start
    start = random.integers(length - size + 1)
    return slice(start, start + size)
