"""Contrast maps with the features read once, in slices of channels that stay in cache, and one pair's map at a time."""

import torch
import torch.nn.functional as F

from histolab_lite.kernels.contrast_maps import FLAT

SLICE = 2**20  # numbers per slice of channels


def correlations(features: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Evaluate equation 4 for all points at once: features (C, H, W), points (N, 2) -> (N, H·W) float32."""
    vectors = F.normalize(features[:, points[:, 0], points[:, 1]].float(), dim=0).T  # (N, C)
    flat = features.flatten(1)  # (C, H·W)
    channels, pixels = flat.shape
    products = torch.zeros(len(points), pixels)
    squares = torch.zeros(pixels)
    step = max(1, SLICE // pixels)
    for start in range(0, channels, step):
        block = flat[start : start + step].float()
        products.addmm_(vectors[:, start : start + step], block)
        squares += block.square().sum(0)
    return products.div_(squares.sqrt_().clamp_(min=1e-12))


def contrast_maps(features: torch.Tensor, inside: torch.Tensor, outside: torch.Tensor, eta: float) -> torch.Tensor:
    """As in reference.py, without the P·Q maps."""
    n_inside, n_outside = len(inside), len(outside)
    maps = correlations(features, torch.cat([inside, outside]))
    pair = torch.empty_like(maps[0])
    z = maps.new_zeros(n_inside, len(pair))
    for p in range(n_inside):
        for q in range(n_inside, n_inside + n_outside):
            torch.sub(maps[p], maps[q], alpha=eta, out=pair).clamp_(min=0).square_()
            low, high = (extreme.item() for extreme in pair.aminmax())
            if high - low > FLAT:
                z[p].add_(pair.sub_(low), alpha=1 / (n_outside * (high - low)))
    return z.clamp_(max=1).view(n_inside, *features.shape[1:])
