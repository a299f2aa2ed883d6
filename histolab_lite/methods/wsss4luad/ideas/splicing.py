"""Pixel labels for nothing: pieces of patches that show one tissue each, put together to patches that show several.

Han et al., "WSSS4LUAD: Grand challenge on weakly-supervised tissue semantic segmentation for lung adenocarcinoma",
Sect. IV-B: the first three teams did so. Lin et al. (1st place) and Zhu et al. (2nd) paste a rectangle of one patch on
another, as CutMix does (Yun et al., ICCV 2019, eq. 1 and 2); Fang et al. (3rd) put random crops side by side. The
tissue of a patch with a single tag is known at every pixel that is no glass, and so is the label of what is made of it.
"""

import numpy as np

from histolab_lite.data import IGNORE
from histolab_lite.data.batches import check_patches


def splice(
    patches: np.ndarray, masks: np.ndarray, n: int, seed: int, *, alpha: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """n patches with a rectangle of another class each: uint8 (n, H, W, 3), and their masks uint8 (n, H, W).

    patches: uint8 (N, H, W, 3), each of a single class. masks: uint8 (N, H, W), its class id, 255 for glass and
    whatever else is no tissue; 255 is pasted with the rest.
    The class below is drawn uniformly, so that rare ones are as frequent as common ones, and so is that of the
    rectangle, of the others; where there is but one class, both are of it. As in CutMix 1 - λ, with λ ~ Beta(α, α),
    is the rectangle's share of the area before it is cut at the border, its shape the patch's, its centre uniform, and
    it keeps its place.
    The first m of n patches are those that the same seed gives for m.

    Raises ValueError for no patches, shapes that do not belong together, a patch of no class or of several, or another
    number out of its range.
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
    """n patches of grid × grid cells, every cell a random crop: uint8 (n, H, W, 3), and their masks uint8 (n, H, W).

    patches, masks: as for ``splice``. Cells are as equal as whole pixels allow, and no class comes twice in a mosaic
    before every other has come once; which cell gets which is drawn uniformly.
    The first m of n patches are those that the same seed gives for m.

    Raises ValueError as ``splice`` does, and for a grid finer than the pixels.
    """
    members = _by_class(patches, masks)
    height, width = masks.shape[1:]
    if n < 1 or not 1 <= grid <= min(height, width):
        raise ValueError(f"n is at least 1, and the grid fits a patch of {height} × {width}; got {n} and {grid}.")
    random = np.random.default_rng(seed)
    pictures, labels = _empty(patches, n)
    rows, cols = (_cells(length, grid) for length in (height, width))
    for index in range(n):
        rounds = [random.permutation(list(members)) for _ in range(-(-grid * grid // len(members)))]
        classes = iter(random.permutation(np.concatenate(rounds)[: grid * grid]))
        for row in rows:
            for col in cols:
                donor = random.choice(members[next(classes)])
                crop = donor, *(_anywhere(cell, length, random) for cell, length in ((row, height), (col, width)))
                pictures[index, row, col], labels[index, row, col] = patches[crop], masks[crop]
    return pictures, labels


def _by_class(patches: np.ndarray, masks: np.ndarray) -> dict[int, np.ndarray]:
    """{class id: indices of its patches}, in order."""
    check_patches(patches)
    if masks.shape != patches.shape[:3] or masks.dtype != np.uint8:
        raise ValueError(f"expected a mask a patch, uint8 {patches.shape[:3]}; got {masks.dtype} {masks.shape}.")
    if 0 in masks.shape:
        raise ValueError(f"there is nothing to put together: patches are {patches.shape}.")
    lowest = masks.min((1, 2))  # IGNORE is the highest id of all
    highest = np.where(masks == IGNORE, 0, masks).max((1, 2))
    for wrong, what in ((lowest == IGNORE, "no class at all"), (lowest < highest, "several classes")):
        if wrong.any():
            raise ValueError(f"patches {np.flatnonzero(wrong)[:10].tolist()} show {what}; give those of a single one.")
    return {int(k): np.flatnonzero(lowest == k) for k in np.unique(lowest)}


def _empty(patches: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.empty((n, *patches.shape[1:]), np.uint8), np.empty((n, *patches.shape[1:3]), np.uint8)


def _interval(length: int, side: float, random: np.random.Generator) -> slice:
    """Of ``side`` times the length around a place drawn uniformly, cut at both ends."""
    centre = random.uniform(0, length)
    ends = np.clip([centre - side * length / 2, centre + side * length / 2], 0, length)
    return slice(*np.rint(ends).astype(int))


def _cells(length: int, grid: int) -> list[slice]:
    edges = np.arange(grid + 1) * length // grid
    return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]


def _anywhere(cell: slice, length: int, random: np.random.Generator) -> slice:
    """A slice of the cell's size, anywhere within the length."""
    size = cell.stop - cell.start
    start = random.integers(length - size + 1)
    return slice(start, start + size)
