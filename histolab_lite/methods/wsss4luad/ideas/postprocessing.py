"""Two repairs of a finished segmentation: tissue that was taken for background, and tumour amid normal tissue.

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
    """Tissue that was called background takes the class of the nearest pixel that was not: (H, W), of equal dtype.

    prediction: integer class ids (H, W). foreground: bool (H, W), where there is tissue. background: the id to be
    replaced there, such as 3 in the challenge's files; outside the tissue everything stays as it is. Of equally near
    classes any one is taken, and in a prediction that is all background there is none to take, so it stays too.
    ValueError for other shapes or dtypes.
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
    """Pixels of ``others`` with more than a ``share`` of normal ones around them become normal: (H, W), of equal dtype.

    prediction: integer class ids (H, W). others: tumour and stroma. Normal tissue hardly mixes with either, so either
    is an error where there is much of it.
    The neighbourhood of a pixel is the side × side pixels around it, itself included, as far as they lie inside the
    picture; an even side reaches one pixel farther up and left. Its normal pixels are counted in the prediction given,
    whatever becomes normal meanwhile, and divided by all of its pixels, or with ``background`` by those that are not
    of this id; Lin et al. do not say which. Counts are whole numbers and a share such as 0.3 is meant as 3/10, so a
    neighbourhood of exactly this share changes nothing.

    Raises ValueError for a prediction of another shape or dtype, classes that are not distinct, a side below 1, or a
    share outside [0, 1).
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
    # Half the memory where the largest number to come, of a whole row of columns, leaves room for it.
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
    """How many of bool (H, W) are true in the side × side neighbourhood of each: (H, W)."""
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
