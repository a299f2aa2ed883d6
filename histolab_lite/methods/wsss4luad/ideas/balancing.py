"""Repeat rare classes, and measure the data set's own mean and standard deviation of colour.

Han et al., "WSSS4LUAD: Grand challenge on weakly-supervised tissue semantic segmentation for lung adenocarcinoma",
Sect. IV-B1, the pre-processing of Lin et al. (1st place): they up-sampled the normal tissue, and replaced ImageNet's
mean and variance by the data set's own. The paper does not say how far they up-sampled.
"""

from collections.abc import Sequence

import numpy as np


def balanced_indices(tags: np.ndarray, seed: int, *, share: float = 1.0) -> np.ndarray:
    """Repeat patches of rare classes until each class is frequent enough.

    Classes are filled up one after the other, the rarest first. Each class repeats its own patches in random order,
    again and again, until there are enough; so it repeats no patch more than once more often than another. A patch with
    several tags counts for all of them, so a class can become more frequent than asked for. Repeats are identical;
    augmentation makes them differ.

    Parameters
    ----------
    tags
        (N, K) of 0 and 1, or bool. Patches without a tag are not repeated.
    seed
        Random seed.
    share
        Each class becomes at least `share` times as frequent as the most frequent class in `tags`: 1 repeats until
        classes are equally frequent, 0 repeats nothing.

    Returns
    -------
    int64 (M,), M ≥ N
        Indices of patches: 0 to N − 1, then the repeats.

    Raises
    ------
    ValueError
        For tags of another shape or value, a class without a patch, or a share outside [0, 1].
    """
    tags = np.asarray(tags)
    if tags.ndim != 2 or 0 in tags.shape or not np.isin(tags, (0, 1)).all():
        raise ValueError(f"expected tags (N, K) of 0 and 1; got {tags.dtype} {tags.shape}.")
    if not 0 <= share <= 1:
        raise ValueError(f"share is relative to the most frequent class and lies in [0, 1]; got {share}.")
    present = tags.astype(bool)
    counts = present.sum(0)
    if not counts.all():
        raise ValueError(f"no patch shows class {np.flatnonzero(counts == 0).tolist()}: there is nothing to repeat.")
    random = np.random.default_rng(seed)
    wanted = np.ceil(share * counts.max() - 1e-9).astype(int)
    repeats: list[np.ndarray] = []
    for k in np.argsort(counts, kind="stable"):
        own = np.flatnonzero(present[:, k])
        missing = wanted - counts[k] - sum(int(present[extra, k].sum()) for extra in repeats)
        while missing > 0:
            repeats.append(random.permutation(own)[:missing])
            missing -= len(repeats[-1])
    return np.concatenate([np.arange(len(tags)), *repeats]).astype(np.int64)


def channel_statistics(patches: np.ndarray | Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Compute mean and standard deviation of red, green and blue over all pixels.

    The pixels are counted by value, so the result is exact.

    Parameters
    ----------
    patches
        uint8 (N, H, W, 3), or a sequence of (H, W, 3) whose sizes may differ.

    Returns
    -------
    mean, std
        float64 (3,) each, for values in [0, 1].

    Raises
    ------
    ValueError
        For no pixel, or another shape or dtype.
    """
    counts = np.zeros((3, 256), np.int64)
    for patch in patches:
        if patch.ndim != 3 or patch.shape[2] != 3 or patch.dtype != np.uint8:
            raise ValueError(f"expected patches, uint8 (H, W, 3) each; got {patch.dtype} {patch.shape}.")
        counts += [np.bincount(patch[..., channel].ravel(), minlength=256) for channel in range(3)]
    if not counts.any():
        raise ValueError("there is no pixel to take the mean of.")
    values = np.arange(256) / 255
    weights = counts / counts.sum(1, keepdims=True)
    mean = weights @ values
    return mean, np.sqrt((weights * (values - mean[:, None]) ** 2).sum(1))
