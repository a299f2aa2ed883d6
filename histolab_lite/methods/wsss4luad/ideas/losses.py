"""Losses on masks that are partly wrong: easy pixels first, hard pixels first, and the Jaccard index itself.

Han et al., "WSSS4LUAD: Grand challenge on weakly-supervised tissue semantic segmentation for lung adenocarcinoma",
Sect. IV-B. Lin et al. (1st place, IV-B1): Lovász-softmax (Berman et al., CVPR 2018) beside cross-entropy, and online
hard negative mining (Shrivastava et al., CVPR 2016). Li et al. (IV-B4; Li, Yu, Zou et al., MICCAI 2022): online easy
example mining. The two minings want the opposite: one trusts the mask where the network errs, the other the network.
"""

import math

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.losses import LovaszLoss

from histolab_lite.data import IGNORE


def easy_weights(loss_map: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """softmax(-L) / mean(softmax(-L)) over the kept pixels of each image: (B, H, W), 0 elsewhere, without gradient.

    loss_map: L, float (B, H, W). kept: bool (B, H, W), the pixels that count. The weights of an image have mean 1
    over its kept pixels, whatever its losses; the lower a loss, the higher its weight.
    ValueError for unequal shapes.
    """
    _check_pair(loss_map, kept)
    out = ~kept.flatten(1)
    softmax = (-loss_map.detach()).flatten(1).masked_fill(out, -torch.inf).softmax(1).masked_fill(out, 0)
    # A softmax sums to 1, so its mean over n pixels is 1 / n.
    return (softmax * kept.flatten(1).sum(1, keepdim=True)).view_as(loss_map)


def hard_negative_loss(loss_map: torch.Tensor, kept: torch.Tensor, *, share: float) -> torch.Tensor:
    """Mean of the highest losses: of this share of the batch's kept pixels, one at least; 0 where none is kept.

    loss_map: float (B, H, W). kept: bool (B, H, W). ValueError for unequal shapes, or a share outside (0, 1].
    """
    _check_pair(loss_map, kept)
    if not 0 < share <= 1:
        raise ValueError(f"share is that of the pixels to learn from, in (0, 1], not {share}.")
    counted = loss_map[kept]
    if not counted.numel():
        return counted.sum()  # 0, and part of the graph
    return counted.topk(math.ceil(share * counted.numel() - 1e-9)).values.mean()


def segmentation_loss(
    logits: torch.Tensor, target: torch.Tensor, *, easy: bool = False, hard: float | None = None, lovasz: float = 0.0
) -> torch.Tensor:
    """Cross-entropy, mined or not, + λ · Lovász-softmax, over the pixels whose target is not 255: a scalar.

    logits: (B, K, H, W), of any precision; the loss is computed in float32 even under autocast. Float64
    logits keep their cross-entropy in float64, but not the library's Lovász.
    target: class ids below K, or 255, integer (B, H, W).
    easy: every pixel's loss times its ``easy_weights``, over the number of pixels. hard: the share of
    ``hard_negative_loss``. lovasz: λ; its mean goes over the classes that the batch's targets show, and its pixels are
    pooled over the batch. Where nothing counts, the loss is 0, and so are its gradients.

    Raises ValueError for shapes or ids that do not fit, both minings at once, or λ < 0.
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
        if lovasz and ids.numel():  # of no pixel the library's loss is an empty tensor
            value = value + lovasz * LovaszLoss("multiclass", ignore_index=IGNORE)(logits.float(), target)
    return value


def _check_pair(loss_map: torch.Tensor, kept: torch.Tensor) -> None:
    if loss_map.ndim != 3 or kept.shape != loss_map.shape or kept.dtype != torch.bool:
        raise ValueError(
            f"expected losses (B, H, W) and which of them count, bool; got {(*loss_map.shape,)} and "
            f"{kept.dtype} {(*kept.shape,)}."
        )
