"""Losses for masks that are partly wrong: easy pixels first, hard pixels first, and the Jaccard index itself.

Han et al., "WSSS4LUAD: Grand challenge on weakly-supervised tissue semantic segmentation for lung adenocarcinoma",
Sect. IV-B. Lin et al. (1st place, IV-B1): Lovász-softmax (Berman et al., CVPR 2018) beside cross-entropy, and online
hard negative mining (Shrivastava et al., CVPR 2016). Li et al. (IV-B4; Li, Yu, Zou et al., MICCAI 2022): online easy
example mining. The two are opposites: where network and mask disagree, hard mining trusts the mask, easy mining the
network.
"""

import math

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.losses import LovaszLoss

from histolab_lite.data import IGNORE


def easy_weights(loss_map: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Compute softmax(−L) / mean(softmax(−L)) over the kept pixels of each image.

    The lower the loss of a pixel, the higher its weight.

    Parameters
    ----------
    loss_map
        L, float (B, H, W).
    kept
        bool (B, H, W), the pixels that count.

    Returns
    -------
    (B, H, W)
        Weights without gradient: their mean is 1 over the kept pixels of each image; they are 0 elsewhere.

    Raises
    ------
    ValueError
        For other shapes or dtypes.
    """
    _check_pair(loss_map, kept)
    out = ~kept.flatten(1)
    softmax = (-loss_map.detach()).flatten(1).masked_fill(out, -torch.inf).softmax(1).masked_fill(out, 0)
    # A softmax sums to 1, so its mean over n pixels is 1 / n.
    return (softmax * kept.flatten(1).sum(1, keepdim=True)).view_as(loss_map)


def hard_negative_loss(loss_map: torch.Tensor, kept: torch.Tensor, *, share: float) -> torch.Tensor:
    """Average the highest losses of the batch; 0 if no pixel is kept.

    Parameters
    ----------
    loss_map
        float (B, H, W).
    kept
        bool (B, H, W), the pixels that count.
    share
        Share of the batch's kept pixels to learn from, in (0, 1]; at least one pixel.

    Raises
    ------
    ValueError
        For other shapes or dtypes, or a share out of its range.
    """
    _check_pair(loss_map, kept)
    if not 0 < share <= 1:
        raise ValueError(f"share is the share of pixels to learn from, in (0, 1], not {share}.")
    counted = loss_map[kept]
    if not counted.numel():
        return counted.sum()  # 0 with a gradient
    return counted.topk(math.ceil(share * counted.numel() - 1e-9)).values.mean()


def segmentation_loss(
    logits: torch.Tensor, target: torch.Tensor, *, easy: bool = False, hard: float | None = None, lovasz: float = 0.0
) -> torch.Tensor:
    """Compute cross-entropy, with or without mining, + λ · Lovász-softmax over all pixels whose target is not 255.

    If all targets are 255, the loss is 0, and so are its gradients.

    Parameters
    ----------
    logits
        (B, K, H, W), of any precision. The loss is computed in float32, even under autocast; for float64 logits the
        cross-entropy is in float64.
    target
        Integer (B, H, W): class ids below K, or 255.
    easy
        Whether to weight each pixel's loss by `easy_weights`.
    hard
        Share of `hard_negative_loss`; None for all pixels.
    lovasz
        λ. The Lovász-softmax takes the pixels of the batch together, and is the mean over the classes in the targets.

    Returns
    -------
    scalar

    Raises
    ------
    ValueError
        For shapes or ids that do not match, both kinds of mining at once, or λ < 0.
    """
    if logits.ndim != 4 or target.shape != (len(logits), *logits.shape[2:]):
        raise ValueError(f"logits {(*logits.shape,)} and target {(*target.shape,)} are not (B, K, H, W) and (B, H, W).")
    if easy and hard is not None:
        raise ValueError("easy and hard mining contradict each other; choose one.")
    if not lovasz >= 0:
        raise ValueError(f"lovasz is a weight of at least 0, not {lovasz}.")
    target = target.long()
    kept = target != IGNORE
    ids = target[kept]
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < logits.shape[1]:
        raise ValueError(f"the target holds {ids.unique().tolist()}, but there are {logits.shape[1]} classes.")
    with torch.autocast(logits.device.type, enabled=False):
        logits = logits if logits.dtype == torch.float64 else logits.float()
        loss_map = F.cross_entropy(logits, target, ignore_index=IGNORE, reduction="none")
        if hard is not None:
            value = hard_negative_loss(loss_map, kept, share=hard)
        else:
            weighted = easy_weights(loss_map, kept) * loss_map if easy else loss_map
            value = weighted.sum() / kept.sum().clamp(min=1)
        if lovasz and ids.numel():  # without pixels the library's loss is an empty tensor
            value = value + lovasz * LovaszLoss("multiclass", ignore_index=IGNORE)(logits.float(), target)
    return value


def _check_pair(loss_map: torch.Tensor, kept: torch.Tensor) -> None:
    if loss_map.ndim != 3 or kept.shape != loss_map.shape or kept.dtype != torch.bool:
        raise ValueError(
            f"expected losses (B, H, W) and the pixels that count, bool (B, H, W); got {(*loss_map.shape,)} and "
            f"{kept.dtype} {(*kept.shape,)}."
        )
