"""Plain PyTorch: the specification."""

import torch


def dropout_attention(features: torch.Tensor, class_weights: torch.Tensor, mu: float) -> torch.Tensor:
    """Follow equations 7 to 10 and 4 term by term."""
    dtype = features.dtype
    wide = torch.promote_types(dtype, torch.float32)
    m, weights = features.to(wide), class_weights.to(wide)
    with torch.autocast(features.device.type, enabled=False):
        cams = torch.einsum("kc,bchw->bkhw", weights, m).relu()  # eq. 7
    beta = mu * cams.amax((2, 3), keepdim=True)  # eq. 9
    left = cams.masked_fill(cams > beta, 0)  # eq. 8
    attention = left.mean(1, keepdim=True)  # eq. 10, (B, 1, H, W)
    return (attention * m).to(dtype)  # eq. 4
