"""The losses of CVM: the partial cross-entropy of clicks, and the divergence from a soft segmentation u.

Zhang et al., "Weakly supervised segmentation with point annotations for histopathology images via contrast-based
variational model", CVPR 2023, Sect. 4.2. Both losses take logits s of the target, ŷ = sigmoid(s), so that log ŷ and
log(1 - ŷ) stay finite.
"""

import torch
import torch.nn.functional as F

from histolab_lite.data import IGNORE


def partial_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Compute eq. 3: the mean over the labelled pixels of -(y log ŷ + (1 - y) log(1 - ŷ)).

    Parameters
    ----------
    logits
        Float, any shape.
    labels
        uint8 of the same shape: 1 target, 0 outside, 255 not labelled.

    Returns
    -------
    torch.Tensor
        A scalar; 0 where nothing is labelled.

    Raises
    ------
    ValueError
        For unequal shapes or another label.
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
    """Compute h = -u log u - (1 - u) log(1 - u), in nats; 0 log 0 = 0."""
    return torch.special.entr(u) + torch.special.entr(1 - u)


def certainty(u: torch.Tensor) -> torch.Tensor:
    """Compute w = e^(-2h): 1 where u is 0 or 1, 1/4 where it is 1/2."""
    return torch.exp(-2 * entropy(u))


def weighted_kl(logits: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """Compute L_wkl: the mean over all pixels of w D(u ‖ ŷ), w = e^(-2h), D ≥ 0 the Kullback-Leibler divergence.

        D(u ‖ ŷ) = u log(u / ŷ) + (1 - u) log((1 - u) / (1 - ŷ)),    0 log 0 = 0

    The paper prints the last form with a minus sign before the sum. To minimise it would drive ŷ away from u. The
    paper's first form, the mean of w D, has no such sign; it is the one computed here.

    Parameters
    ----------
    logits
        Float, any shape.
    u
        The target, of the same shape, in [0, 1]. It gets no gradient.

    Returns
    -------
    torch.Tensor
        A scalar.

    Raises
    ------
    ValueError
        For unequal shapes or u outside [0, 1].
    """
    if logits.shape != u.shape:
        raise ValueError(f"logits {(*logits.shape,)} and u {(*u.shape,)} differ in shape.")
    u = u.detach().to(logits.dtype)
    if u.numel() and not (u.min() >= 0 and u.max() <= 1):
        raise ValueError(f"u must lie in [0, 1]; it spans {u.min():.3g} to {u.max():.3g}.")
    divergence = F.binary_cross_entropy_with_logits(logits, u, reduction="none") - entropy(u)
    return (certainty(u) * divergence).sum() / max(u.numel(), 1)
