"""Outline a target from a few clicks in it and outside it, without training: the fast half of CVM.

Zhang et al., "Weakly supervised segmentation with point annotations for histopathology images via contrast-based
variational model", CVPR 2023. Sect. 4.3: correlation maps (eq. 4), contrast maps (eq. 5), a convex Chan-Vese
segmentation per in-target point (eq. 6), their normalised mean (eq. 7).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from histolab_lite.data import IGNORE
from histolab_lite.kernels.chan_vese import chan_vese
from histolab_lite.kernels.contrast_maps import FLAT, contrast_maps
from histolab_lite.methods.cvm.points import Points


@dataclass(frozen=True)
class ClassScores:
    """The multi-class segmentation on the feature grid.

    Attributes
    ----------
    classes
        K class ids.
    scores
        (K, h, w) float32 in [0, 1], one map per class.
    contrast
        (K, h, w) float32 in [0, 1], the contrast maps z alone.
    """

    classes: tuple[int, ...]
    scores: torch.Tensor
    contrast: torch.Tensor

    def ids(self, size: tuple[int, int] | None = None, margin: float = 0.0) -> torch.Tensor:
        """Find the class of the best score at every location; of equal scores the first class.

        Parameters
        ----------
        size
            (H, W) of the image, if the ids are wanted on its pixels; by default on the grid.
        margin
            In [0, 1]. Where the best score leads the second by less, the id is 255 ("ignore").

        Returns
        -------
        torch.Tensor
            Class ids, uint8 (h, w) or (H, W).

        Raises
        ------
        ValueError
            For a margin out of range.
        """
        if not 0 <= margin <= 1:
            raise ValueError(f"margin must lie in [0, 1], not {margin}.")
        scores = self.scores if size is None else upsample(self.scores, size)
        best, second = scores[0], torch.full_like(scores[0], -1)
        ids = torch.full_like(best, self.classes[0], dtype=torch.uint8)
        for name, score in zip(self.classes[1:], scores[1:], strict=True):  # 30 times as fast as topk over dim 0
            ids = ids.masked_fill(score > best, name)
            second = torch.maximum(second, torch.minimum(best, score))
            best = torch.maximum(best, score)
        return ids.masked_fill(best - second < margin, IGNORE)


def segment(
    features: torch.Tensor, inside: Points, outside: Points, eta: float = 0.6, lam: float = 3.0
) -> torch.Tensor:
    """Segment the target of some clicks: u is near 1 in the target and near 0 outside it.

    ::

        z_p = mean_q C_pq (eq. 5),   u_p = argmin F(u_p, c1, c2) (eq. 6),   u = N(mean_p u_p) (eq. 7)

    N stretches a map to [0, 1]; a constant map does not change.

    Parameters
    ----------
    features
        (C, h, w) from ``encode``.
    inside, outside
        (P, 2) and (Q, 2), (row, col) on the grid of the features; see ``to_grid``.
    eta
        η, the share of the likeness to the points outside that is subtracted.
    lam
        λ; with a larger value u follows the contrast more closely.

    Returns
    -------
    torch.Tensor
        u (h, w) float32 in [0, 1]; the target is where u >= 0.5.

    Raises
    ------
    ValueError
        For a side without a point, and for a point off the grid.
    """
    z = contrast_maps(features, torch.as_tensor(inside), torch.as_tensor(outside), eta)
    return stretch(variational(z, lam).mean(0))


def segment_classes(
    features: torch.Tensor, points: Mapping[int, Points], eta: float = 0.6, lam: float = 3.0
) -> ClassScores:
    """Segment two classes or more, which the paper leaves open.

    Each class k in turn is inside and all others are outside, and p_k is the probability of a logistic regression of
    the clicks' features::

        z_k = N(max_p z_p),   s_k = (z_k / sum_j z_j + p_k) / 2,   score_k = (s_k + argmin F(s_k)) / 2

    Prefer it to ``segment`` for two classes also, as {1: inside, 0: outside}. ``segment`` asks how much a location
    resembles the clicks inside, and needs a uniform target; this function asks which clicks it resembles more. On GlaS
    the contrast is the better part at three clicks per class, the regression at ten, and together they beat either. On
    OCDC, ten tiles of one slide, the regression alone is better still (``benchmarks/experiments/few_clicks.py``).

    Parameters
    ----------
    features
        (C, h, w) from ``encode``.
    points
        Class id -> its points (N, 2), (row, col) on the grid of the features.
    eta, lam
        As in ``segment``.

    Returns
    -------
    ClassScores
        In the order of ``points``.

    Raises
    ------
    ValueError
        For fewer than two classes, a class without a point, a point off the grid, and class ids that are not 0 to 254.
    """
    if len(points) < 2:
        raise ValueError(f"points of at least two classes are needed; got those of {len(points)}.")
    for name, clicked in points.items():
        if isinstance(name, bool) or not isinstance(name, int | np.integer) or not 0 <= name < IGNORE:
            raise ValueError(f"class ids are whole numbers from 0 to {IGNORE - 1}; got {name!r}.")
        if len(clicked) == 0:
            raise ValueError(f"class {name} has no point: click one, or leave the class out.")
    by_class = {int(name): torch.as_tensor(clicked) for name, clicked in points.items()}
    for name, clicked in by_class.items():
        if clicked.ndim != 2 or clicked.shape[1] != 2:
            raise ValueError(f"the points of class {name} must be (N, 2), (row, col); got {(*clicked.shape,)}.")
    maps = []
    for name, own in by_class.items():
        others = torch.cat([other for key, other in by_class.items() if key != name])
        maps.append(stretch(contrast_maps(features, own, others, eta).amax(0)))
    contrast = torch.stack(maps)
    total = contrast.sum(0)
    share = torch.where(total > 0, contrast / total.clamp(min=FLAT), 1 / len(by_class))
    scores = (share + _logistic_regression(features, list(by_class.values()))) / 2
    return ClassScores(tuple(by_class), (scores + variational(scores, lam)) / 2, contrast)


def _logistic_regression(features: torch.Tensor, points: Sequence[torch.Tensor]) -> torch.Tensor:
    """Probability of each class (K, h, w), by a linear model that learns from the features (C, h, w) at the points."""
    # The penalty weighs 10 / C: the sum of squares of C standardised channels is of the order of C.
    x = torch.cat([features[:, at[:, 0], at[:, 1]] for at in points], 1).T.cpu().numpy()
    y = np.repeat(np.arange(len(points)), [len(at) for at in points])
    model = LogisticRegression(C=len(features) / 10, max_iter=1000).fit(x, y)
    weights, bias = (torch.from_numpy(part).to(features) for part in (model.coef_, model.intercept_))
    odds = torch.einsum("kc,chw->khw", weights, features) + bias[:, None, None]
    return torch.softmax(odds if len(points) > 2 else torch.cat([torch.zeros_like(odds), odds]), 0)


def variational(maps: torch.Tensor, lam: float) -> torch.Tensor:
    """Compute argmin F of each map (B, h, w), eq. 6."""
    u = chan_vese(maps, lam)
    assert isinstance(u, torch.Tensor)
    return u


def stretch(values: torch.Tensor) -> torch.Tensor:
    """Stretch a map to [0, 1], the paper's N. A map that spans no more than rounding errors does not change."""
    low, high = values.aminmax()
    return (values - low) / (high - low) if high - low > FLAT else values


def upsample(scores: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Bring u (h, w), or scores (K, h, w), to the image (H, W): bilinear between the centres of the cells."""
    maps = scores if scores.ndim == 3 else scores[None]
    enlarged = F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]
    return enlarged if scores.ndim == 3 else enlarged[0]
