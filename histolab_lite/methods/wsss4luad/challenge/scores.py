"""The challenge's measure: mean IoU of tumour, stroma and normal, white background left out (Sect. III-E).

The pixels of all images are counted together before the division, as if they were one large image.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from histolab_lite.data import IGNORE
from histolab_lite.methods.wsss4luad.challenge.files import BACKGROUND, CLASSES
from histolab_lite.metrics import confusion

BAND = 512  # rows counted at a time: counting takes about 40 bytes per pixel


@dataclass(frozen=True)
class Scores:
    """IoU of each class, and their mean.

    A class that neither the truth nor the prediction holds is NaN, and does not count in the mean.
    """

    mean_iou: float
    tumour: float
    stroma: float
    normal: float


def challenge_scores(predictions: Iterable[np.ndarray], targets: Iterable[np.ndarray]) -> Scores:
    """Compute the scores over all pixels of pairs of masks (H, W).

    Parameters
    ----------
    predictions
        Class ids 0, 1, 2, and 3 for white. White on tissue is a false negative of the true class, and no false positive
        of another class.
    targets
        Class ids 0, 1, 2, and 3 or 255 for white. White pixels are not scored.

    Raises
    ------
    ValueError
        For no pair, unequal numbers or sizes, or other values.
    """
    total, pairs = np.zeros((BACKGROUND + 1, BACKGROUND + 1)), 0
    for prediction, target in zip(predictions, targets, strict=True):
        prediction, target = np.asarray(prediction), np.asarray(target)
        if prediction.shape != target.shape:
            raise ValueError(f"prediction {prediction.shape} and target {target.shape} differ in size.")
        for top in range(0, len(target), BAND):
            rows = slice(top, top + BAND)
            true = np.where(target[rows] == BACKGROUND, IGNORE, target[rows])
            total += confusion(prediction[rows], true, BACKGROUND + 1)
        pairs += 1
    if not pairs:
        raise ValueError("there is no mask to score.")
    hits, true, claimed = total.diagonal(), total.sum(1), total.sum(0)
    union = (true + claimed - hits)[: len(CLASSES)]
    iou = np.full(len(CLASSES), np.nan)
    np.divide(hits[: len(CLASSES)], union, out=iou, where=union > 0)
    occurring = iou[union > 0]
    mean = float(occurring.mean()) if len(occurring) else float("nan")
    return Scores(mean, *iou.tolist())
