"""Dropout attention, image by image while it is in the cache; the gradient in closed form, without maps of C channels.

With g the gradient of the result, a = Σ_c g_c m_c and w_k = a/K where M̂_k > 0, else 0:

    ∂/∂m_c = A g_c + Σ_k ω_kc w_k,    ∂/∂ω_kc = Σ_x w_k m_c     (x runs over images and pixels)
"""

from typing import Any

import torch

from histolab_lite.kernels import refuse_second_derivative


class _DropoutAttention(torch.autograd.Function):
    """m (B, C, X), ω (K, C) -> A·m (B, C, X). Differentiable once."""

    @staticmethod
    def forward(ctx: Any, m: torch.Tensor, weights: torch.Tensor, mu: float) -> torch.Tensor:
        result = torch.empty_like(m)
        left = m.new_empty(len(m), len(weights), m.shape[2], dtype=weights.dtype)
        for image, maps, out in zip(m, left, result, strict=True):
            wide = image.to(weights.dtype)
            cams = torch.mm(weights, wide, out=maps).relu_()
            cams.masked_fill_(cams > mu * cams.amax(1, keepdim=True), 0)
            torch.mul(wide, cams.mean(0), out=out)
        ctx.save_for_backward(m, weights, left)
        return result

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        refuse_second_derivative()
        m, weights, left = ctx.saved_tensors
        gradient, weights_gradient = torch.empty_like(m), torch.zeros_like(weights)
        for image, maps, g, out in zip(m, left, upstream, gradient, strict=True):
            wide, g = image.to(weights.dtype), g.to(weights.dtype)
            w = (maps > 0) * (torch.linalg.vecdot(g, wide, dim=0) / len(weights))  # (K, X)
            target = out.to(weights.dtype)  # itself in full precision
            out.copy_(torch.mul(g, maps.mean(0), out=target).addmm_(weights.T, w))
            weights_gradient.addmm_(w, wide.T)
        return gradient, weights_gradient, None


def dropout_attention(features: torch.Tensor, class_weights: torch.Tensor, mu: float) -> torch.Tensor:
    """As in reference.py, differentiable once."""
    wide = torch.promote_types(features.dtype, torch.float32)
    with torch.autocast(features.device.type, enabled=False):
        return _DropoutAttention.apply(features.flatten(2), class_weights.to(wide), mu).view_as(features)
