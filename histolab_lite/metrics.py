"""Scores of segmentations and embeddings. Class ids are integers; pixels of 255 do not count.

Dice, IoU and accuracy are pooled: the pixels of all images are counted before dividing, as in Proto2Seg's Table 1.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torchmetrics.functional.classification import (
    binary_accuracy,
    binary_auroc,
    binary_cohen_kappa,
    binary_f1_score,
    multiclass_confusion_matrix,
)

from histolab_lite.data import IGNORE


@dataclass(frozen=True)
class SegmentationScores:
    """Scores of predicted masks.

    Parameters
    ----------
    dice, iou : (K,)
        One value per class, NaN for a class that neither mask holds.
    accuracy
        Share of correct pixels, NaN if no pixel counts.
    frequency : (K,)
        Share of the true pixels that each class has, NaN if no pixel counts.
    """

    dice: np.ndarray
    iou: np.ndarray
    accuracy: float
    frequency: np.ndarray

    @property
    def macro_dice(self) -> float:
        """Mean Dice over the classes that occur."""
        return float(np.nanmean(self.dice))

    @property
    def mean_iou(self) -> float:
        """Mean IoU over the classes that occur."""
        return float(np.nanmean(self.iou))

    @property
    def fw_iou(self) -> float:
        """Frequency-weighted IoU, Σ_k frequency_k IoU_k (Long et al., CVPR 2015); NaN if no pixel counts."""
        return float(np.nansum(self.frequency * self.iou)) if np.isfinite(self.frequency).all() else float("nan")


def confusion(prediction: np.ndarray | torch.Tensor, target: np.ndarray | torch.Tensor, n_classes: int) -> np.ndarray:
    """Count pixels by true class (row) and predicted class (column), (K, K); target pixels of 255 do not count.

    Parameters
    ----------
    prediction, target : (H, W)
        Class ids.
    n_classes
        K.

    Raises
    ------
    ValueError
        The sizes differ, or an id is no class.
    """
    prediction, target = (_ids(mask) for mask in (prediction, target))
    if prediction.shape != target.shape:
        raise ValueError(f"prediction {(*prediction.shape,)} and target {(*target.shape,)} differ in size.")
    kept = target != IGNORE
    prediction, target = prediction[kept], target[kept]
    for name, ids in (("prediction", prediction), ("target", target)):
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < n_classes:
            raise ValueError(f"the {name} holds ids {ids.unique().tolist()}, but there are {n_classes} classes.")
    return multiclass_confusion_matrix(prediction, target, n_classes, validate_args=False).numpy()  # checked above


def _ids(mask: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Return class ids as int64 on the CPU, also of arrays with negative strides (flipped ones)."""
    return mask.long().cpu() if isinstance(mask, torch.Tensor) else torch.from_numpy(np.array(mask, dtype=np.int64))


def segmentation_scores(
    predictions: Iterable[np.ndarray | torch.Tensor], targets: Iterable[np.ndarray | torch.Tensor], n_classes: int
) -> SegmentationScores:
    """Score pairs of masks (H, W), pooled over all pixels.

    Raises
    ------
    ValueError
        There is no pair, the numbers or the sizes of masks differ, or an id is no class.
    """
    pairs = list(zip(predictions, targets, strict=True))
    if not pairs:
        raise ValueError("there is no mask to score.")
    counts = np.sum([confusion(prediction, target, n_classes) for prediction, target in pairs], axis=0, dtype=float)
    hits, true, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
    with np.errstate(invalid="ignore"):
        dice = 2 * hits / (true + predicted)
        iou = hits / (true + predicted - hits)
        accuracy, frequency = hits.sum() / counts.sum(), true / counts.sum()
    return SegmentationScores(dice, iou, float(accuracy), frequency)


@dataclass(frozen=True)
class BinaryScores:
    """Scores of one class against the rest, as in Table 1 of Zhang et al., CVPR 2023; NaN where undefined."""

    dice: float
    accuracy: float
    kappa: float
    auc: float


def binary_scores(
    probabilities: Iterable[np.ndarray | torch.Tensor], masks: Iterable[np.ndarray | torch.Tensor]
) -> BinaryScores:
    """Compute Dice, accuracy and Cohen's κ at 0.5, and the area under the ROC curve, pooled over all pixels.

    The area is exact: every probability that occurs is a threshold.

    Parameters
    ----------
    probabilities : (H, W) float
        Probabilities of the class, in [0, 1].
    masks : (H, W)
        1 or True inside the class, 0 outside; pixels of 255 do not count.

    Raises
    ------
    ValueError
        There is no pair, the numbers or the sizes differ, or a value is out of range.
    """
    pairs = [(torch.as_tensor(np.asarray(p)), _ids(mask)) for p, mask in zip(probabilities, masks, strict=True)]
    if not pairs:
        raise ValueError("there is no mask to score.")
    for p, mask in pairs:
        if p.shape != mask.shape:
            raise ValueError(f"probabilities {(*p.shape,)} and mask {(*mask.shape,)} differ in size.")
    p, y = torch.cat([p.flatten().float() for p, _ in pairs]), torch.cat([mask.flatten() for _, mask in pairs])
    p, y = p[y != IGNORE], y[y != IGNORE]
    if not ((p >= 0) & (p <= 1)).all() or not ((y == 0) | (y == 1)).all():
        raise ValueError(f"probabilities lie in [0, 1], and a mask holds 0, 1 and {IGNORE} only.")
    predicted = (p >= 0.5).long()  # torchmetrics would use p > 0.5
    both = 0 < int(y.sum()) < len(y)
    return BinaryScores(
        float(binary_f1_score(predicted, y)) if (predicted | y).any() else float("nan"),
        float(binary_accuracy(predicted, y)) if len(y) else float("nan"),
        float(binary_cohen_kappa(predicted, y)) if len(y) else float("nan"),
        float(binary_auroc(p, y)) if both else float("nan"),
    )


def knn_accuracy(
    train: torch.Tensor | np.ndarray,
    train_labels: np.ndarray,
    test: torch.Tensor | np.ndarray,
    test_labels: np.ndarray,
    k: int = 20,
) -> float:
    """Return the balanced accuracy of a k-nearest-neighbour vote by cosine similarity.

    Parameters
    ----------
    train, test : (N, D) and (M, D)
        Embeddings.
    train_labels, test_labels : (N,) and (M,)
        Their classes.
    k
        Number of neighbours; all of them where there are fewer.
    """
    classifier = KNeighborsClassifier(min(k, len(train)), metric="cosine")
    classifier.fit(np.asarray(train), np.asarray(train_labels))
    return float(balanced_accuracy_score(test_labels, classifier.predict(np.asarray(test))))


def linear_probe_accuracy(
    train: torch.Tensor | np.ndarray,
    train_labels: np.ndarray,
    test: torch.Tensor | np.ndarray,
    test_labels: np.ndarray,
) -> float:
    """Return the balanced accuracy of a linear probe: logistic regression on standardised embeddings.

    All classes have the same weight in the regression.

    Parameters
    ----------
    train, test : (N, D) and (M, D)
        Embeddings.
    train_labels, test_labels : (N,) and (M,)
        Their classes.
    """
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000, class_weight="balanced"))
    probe.fit(np.asarray(train), np.asarray(train_labels))
    return float(balanced_accuracy_score(test_labels, probe.predict(np.asarray(test))))
