"""Scores of segmentations and embeddings. Class ids are integers; 255 is left out.

Dice, IoU and accuracy are pooled: all pixels of all images are counted before dividing, as in Proto2Seg's Table 1.
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
    """dice, iou: (K,), NaN for a class that neither mask holds. accuracy: share of right pixels, NaN if none count.

    frequency: (K,), the true pixels of each class among all; NaN if none count.
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
    """(K, K) pixel counts, rows are true classes. Both (H, W) class ids; target pixels of 255 are left out.

    ValueError for unequal sizes, or an id that is no class.
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
    """Class ids as int64 on the CPU, whatever the strides (a flipped array has negative ones)."""
    return mask.long().cpu() if isinstance(mask, torch.Tensor) else torch.from_numpy(np.array(mask, dtype=np.int64))


def segmentation_scores(
    predictions: Iterable[np.ndarray | torch.Tensor], targets: Iterable[np.ndarray | torch.Tensor], n_classes: int
) -> SegmentationScores:
    """Scores pooled over pairs of masks (H, W). ValueError for no pair, unequal numbers, or unequal sizes."""
    pairs = list(zip(predictions, targets, strict=True))
    if not pairs:
        raise ValueError("there is no mask to score.")
    counts = np.sum([confusion(prediction, target, n_classes) for prediction, target in pairs], axis=0, dtype=float)
    hits, true, claimed = counts.diagonal(), counts.sum(1), counts.sum(0)
    with np.errstate(invalid="ignore"):
        dice = 2 * hits / (true + claimed)
        iou = hits / (true + claimed - hits)
        accuracy, frequency = hits.sum() / counts.sum(), true / counts.sum()
    return SegmentationScores(dice, iou, float(accuracy), frequency)


@dataclass(frozen=True)
class BinaryScores:
    """Of a target against the rest: those of Table 1 of Zhang et al., CVPR 2023. NaN where not defined."""

    dice: float
    accuracy: float
    kappa: float
    auc: float


def binary_scores(
    probabilities: Iterable[np.ndarray | torch.Tensor], masks: Iterable[np.ndarray | torch.Tensor]
) -> BinaryScores:
    """Dice, accuracy and Cohen's κ at 0.5, and the area under the ROC curve, by torchmetrics, pooled over all pixels.

    probabilities: of the target, (H, W) float in [0, 1]. masks: (H, W), 1 or True in the target, 0 outside, 255 left
    out. The area is exact: every probability that occurs is a threshold.
    ValueError for no pair, unequal numbers or sizes, or other values.
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
    claimed = (p >= 0.5).long()  # torchmetrics alone would claim above 0.5 only
    both = 0 < int(y.sum()) < len(y)
    return BinaryScores(
        float(binary_f1_score(claimed, y)) if (claimed | y).any() else float("nan"),
        float(binary_accuracy(claimed, y)) if len(y) else float("nan"),
        float(binary_cohen_kappa(claimed, y)) if len(y) else float("nan"),
        float(binary_auroc(p, y)) if both else float("nan"),
    )


def knn_accuracy(
    train: torch.Tensor | np.ndarray,
    train_labels: np.ndarray,
    test: torch.Tensor | np.ndarray,
    test_labels: np.ndarray,
    k: int = 20,
) -> float:
    """Balanced accuracy of a k-nearest-neighbour vote by cosine similarity: how well embeddings separate classes.

    train: (N, D), test: (M, D); labels (N,), (M,).
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
    """Balanced accuracy of a logistic regression of standardised embeddings, classes weighed alike.

    train: (N, D), test: (M, D); labels (N,), (M,).
    """
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000, class_weight="balanced"))
    probe.fit(np.asarray(train), np.asarray(train_labels))
    return float(balanced_accuracy_score(test_labels, probe.predict(np.asarray(test))))
