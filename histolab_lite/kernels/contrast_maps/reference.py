"""Plain PyTorch: the specification. Builds all P·Q maps."""

import torch
import torch.nn.functional as F

from histolab_lite.kernels.contrast_maps import FLAT


def contrast_maps(features: torch.Tensor, inside: torch.Tensor, outside: torch.Tensor, eta: float) -> torch.Tensor:
    """Follow equations 4 to 6 term by term."""
    unit = F.normalize(features.float(), dim=0)  # (C, H, W)

    def correlations(points: torch.Tensor) -> torch.Tensor:  # eq. 4, (N, H, W)
        return torch.einsum("cn,chw->nhw", unit[:, points[:, 0], points[:, 1]], unit)

    contrast = (correlations(inside)[:, None] - eta * correlations(outside)[None]).relu().square()  # (P, Q, H, W)
    low, high = contrast.amin((2, 3), keepdim=True), contrast.amax((2, 3), keepdim=True)
    flat = high - low <= FLAT
    return ((contrast - low) / (high - low).masked_fill(flat, 1)).masked_fill(flat, 0).mean(1)  # eq. 5 and z_p of eq. 6
