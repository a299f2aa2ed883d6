"""What a data set has too little of, and its own mean and spread of colour.

Han et al., "WSSS4LUAD: Grand challenge on weakly-supervised tissue semantic segmentation for lung adenocarcinoma",
Sect. IV-B1, the pre-processing of Lin et al. (1st place): they up-sampled the normal tissue, and took the data set's
mean and variance for ImageNet's. How far they went they do not say.
"""

from collections.abc import Sequence

import numpy as np


def balanced_indices(tags: np.ndarray, seed: int, *, share: float = 1.0) -> np.ndarray:
    """Indices of patches, rare classes repeated: int64 (M,), M >= N, the patches 0 to N - 1 first, repeats after them.

    tags: (N, K) of 0 and 1, or of False and True; patches without a tag stay, unrepeated.
    share: every class comes to be tagged at least ``share`` times as often as the most frequent one was in ``tags``; 1
    equals them out, 0 repeats nothing. Classes are filled up in turn, the rarest first, each by passing through its
    own patches in random order until there are enough, so that two patches of a class differ by one repeat at most
    on that class's account. A patch with several tags counts for all of them, so its other classes may end above.
    Repeats are equal; training tells them apart by its augmentation.

    Raises ValueError for tags of another shape or value, a class that no patch shows, or a share outside [0, 1].
    """
    tags = np.asarray(tags)
    if tags.ndim != 2 or 0 in tags.shape or not np.isin(tags, (0, 1)).all():
        raise ValueError(f"expected tags (N, K) of 0 and 1; got {tags.dtype} {tags.shape}.")
    if not 0 <= share <= 1:
        raise ValueError(f"share is that of the most frequent class, in [0, 1], not {share}.")
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
    """Mean and standard deviation of red, green and blue in [0, 1], over all pixels: float64 (3,) and (3,).

    patches: uint8 (N, H, W, 3), or a sequence of (H, W, 3), whose sizes may differ. Counted by value, hence exact.

    Raises ValueError for no pixel, or another shape or dtype.
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
