"""What a network learns from clicks, and from a segmentation that is sure of some places and not of others.

Zhang et al., "Weakly supervised segmentation with point annotations for histopathology images via contrast-based
variational model", CVPR 2023, Sect. 4.2. Both take logits s of the target, ŷ = sigmoid(s), so that no ŷ is so near
0 or 1 that its logarithm is lost.
"""

import torch
import torch.nn.functional as F

from histolab_lite.data import IGNORE


def partial_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Eq. 3: mean over the labelled pixels S of -(y log ŷ + (1 - y) log(1 - ŷ)); 0 where nothing is labelled.

    logits: float, any shape. labels: uint8 of that shape, 1 target, 0 outside, 255 not labelled.
    ValueError for unequal shapes or another label.
    """
    if logits.shape != labels.shape:
        raise ValueError(f"logits {(*logits.shape,)} and labels {(*labels.shape,)} differ in shape.")
    labelled = labels != IGNORE
    y = labels[labelled]
    if y.numel() and y.max() > 1:
        raise ValueError(f"labels are 1 (target), 0 (outside) and {IGNORE} (not labelled), not {int(y.max())}.")
    total = F.binary_cross_entropy_with_logits(logits[labelled], y.to(logits.dtype), reduction="sum")
    return total / labelled.sum().clamp(min=1)


def entropy(u: torch.Tensor) -> torch.Tensor:
    """h = -u log u - (1 - u) log(1 - u), in nats; 0 log 0 = 0."""
    return torch.special.entr(u) + torch.special.entr(1 - u)


def certainty(u: torch.Tensor) -> torch.Tensor:
    """w = e^(-2h): 1 where u is 0 or 1, 1/4 where it is 1/2."""
    return torch.exp(-2 * entropy(u))


def weighted_kl(logits: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """L_wkl: mean over all pixels of w D(u ‖ ŷ), w = e^(-2h), D ≥ 0 the Kullback-Leibler divergence.

        D(u ‖ ŷ) = u log(u / ŷ) + (1 - u) log((1 - u) / (1 - ŷ)),    0 log 0 = 0

    The paper prints the last form with a minus sign before the sum; minimising that would drive ŷ away from u, and its
    first form, mean w D, has none. This is the first form. Gradients reach ŷ only: u is a target.

    logits: float, any shape. u: of that shape, in [0, 1].
    ValueError for unequal shapes or u outside [0, 1].
    """
    if logits.shape != u.shape:
        raise ValueError(f"logits {(*logits.shape,)} and u {(*u.shape,)} differ in shape.")
    u = u.detach().to(logits.dtype)
    if u.numel() and not (u.min() >= 0 and u.max() <= 1):
        raise ValueError(f"u must lie in [0, 1]; it spans {u.min():.3g} to {u.max():.3g}.")
    divergence = F.binary_cross_entropy_with_logits(logits, u, reduction="none") - entropy(u)
    return (certainty(u) * divergence).sum() / max(u.numel(), 1)
