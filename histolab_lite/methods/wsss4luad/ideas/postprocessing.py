"""Two repairs of a finished segmentation: tissue predicted as background, and tumour amid normal tissue.

Han et al., "WSSS4LUAD: Grand challenge on weakly-supervised tissue semantic segmentation for lung adenocarcinoma",
Sect. IV-B1, the post-processing of Lin et al. (1st place). They search breadth first for the nearest pixel of a class;
here an exact Euclidean distance transform finds it for all pixels at once.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from scipy.ndimage import distance_transform_edt

from histolab_lite.data import IGNORE


def fill_background(prediction: np.ndarray, foreground: np.ndarray, background: int = IGNORE) -> np.ndarray:
    """Give tissue that was predicted as background the class of the nearest pixel of another class.

    Outside the tissue nothing changes. At equal distances any of the nearest classes is taken. A prediction that is all
    background stays as it is.

    Parameters
    ----------
    prediction
        Integer class ids (H, W).
    foreground
        bool (H, W), True where there is tissue.
    background
        Id to be replaced, such as 3 in the challenge's files.

    Returns
    -------
    (H, W)
        With the dtype of `prediction`.

    Raises
    ------
    ValueError
        For other shapes or dtypes.
    """
    _check(prediction)
    if foreground.shape != prediction.shape or foreground.dtype != bool:
        raise ValueError(
            f"expected the foreground, bool {prediction.shape}; got {foreground.dtype} {foreground.shape}."
        )
    empty = prediction == background
    wrong = empty & foreground
    filled = prediction.copy()
    if wrong.any() and not empty.all():
        rows, cols = distance_transform_edt(empty, return_distances=False, return_indices=True)
        filled[wrong] = prediction[rows[wrong], cols[wrong]]
    return filled


def normal_rule(
    prediction: np.ndarray,
    *,
    normal: int = 2,
    others: Sequence[int] = (0, 1),
    side: int = 100,
    share: float = 0.3,
    background: int | None = None,
) -> np.ndarray:
    """Turn pixels of `others` into normal tissue if more than a `share` of their neighbourhood is normal.

    Normal tissue hardly ever mixes with tumour or stroma, so these are errors where much normal tissue surrounds them.
    All pixels are decided on the given prediction, not on one that has already changed.

    Parameters
    ----------
    prediction
        Integer class ids (H, W).
    normal, others
        Ids of normal tissue, and of tumour and stroma.
    side
        The neighbourhood of a pixel is the side × side pixels around it, with itself, inside the image. An even side
        reaches one pixel farther up and left.
    share
        Share of normal pixels in [0, 1). Counts are exact and 0.3 means 3/10: exactly this share changes nothing.
    background
        Id that does not count in the neighbourhood; None counts all pixels. Lin et al. do not say which they use.

    Returns
    -------
    (H, W)
        With the dtype of `prediction`.

    Raises
    ------
    ValueError
        For a prediction of another shape or dtype, classes that are not distinct, a side below 1, or a share out of its
        range.
    """
    _check(prediction)
    named = [normal, *others, *([] if background is None else [background])]
    if not others or len(set(named)) < len(named):
        raise ValueError(
            f"normal, others and background are different classes; got {normal}, {tuple(others)} and {background}."
        )
    if side < 1 or not 0 <= share < 1:
        raise ValueError(f"side is at least 1 pixel and share in [0, 1); got {side} and {share}.")
    part = Fraction(share).limit_denominator(10_000)
    height, width = prediction.shape
    # int32 halves the memory, if it can hold the largest number below.
    dtype = np.int32 if min(side, height) * width * part.denominator < 2**31 else np.int64
    count = _box_sums(prediction == normal, side, dtype)
    if background is None:
        rows, cols = (_running_sum(np.ones(length, bool), side, 0, dtype) for length in (height, width))
        total = rows[:, None] * cols
    else:
        total = _box_sums(prediction != background, side, dtype)
    count *= part.denominator
    total *= part.numerator
    result = prediction.copy()
    result[(count > total) & np.logical_or.reduce([prediction == k for k in others])] = normal
    return result


def _box_sums(values: np.ndarray, side: int, dtype: type) -> np.ndarray:
    """Count the true pixels of bool (H, W) in the side × side neighbourhood of each pixel: (H, W)."""
    return _running_sum(_running_sum(values, side, 0, dtype), side, 1, dtype)


def _running_sum(values: np.ndarray, side: int, axis: int, dtype: type) -> np.ndarray:
    length = values.shape[axis]
    before, after = min(side // 2, length), min((side - 1) // 2, length)
    padding = [(0, 0)] * values.ndim
    padding[axis] = (before + 1, after)
    sums = np.moveaxis(np.pad(values, padding).cumsum(axis, dtype=dtype), axis, 0)
    return np.moveaxis(sums[before + after + 1 :] - sums[:length], 0, axis)


def _check(prediction: np.ndarray) -> None:
    if prediction.ndim != 2 or 0 in prediction.shape or not np.issubdtype(prediction.dtype, np.integer):
        raise ValueError(f"expected class ids, integer (H, W); got {prediction.dtype} {prediction.shape}.")
