"""Dropout attention on a GPU: one kernel per pass over the C channels; what remains are maps of K channels.

The gradient is the one at the top of ``cpu.py``.
"""

from typing import Any

import torch
import triton
import triton.language as tl

from histolab_lite.kernels import refuse_second_derivative

CLASSES, CHANNELS, PIXELS = 16, 32, 64  # of a tile; 16 is the least that tl.dot takes


@triton.jit
def _activation_maps(
    m,  # (B, C, X) contiguous
    weights,  # (K, C) float32, contiguous
    cams,  # (B, K, X) float32, out
    n_classes,
    n_channels,
    n_pixels,
    CLASSES: tl.constexpr,
    CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr,
):
    """Evaluate equation 7 and the ReLU."""
    image = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    k = tl.program_id(2) * CLASSES + tl.arange(0, CLASSES)
    m += image * n_channels * n_pixels
    total = tl.zeros((CLASSES, PIXELS), dtype=tl.float32)
    for first in range(0, n_channels, CHANNELS):
        c = first + tl.arange(0, CHANNELS)
        in_weights = (k[:, None] < n_classes) & (c[None, :] < n_channels)
        a = tl.load(weights + k[:, None] * n_channels + c[None, :], mask=in_weights, other=0.0)
        in_m = (c[:, None] < n_channels) & (pixel[None, :] < n_pixels)
        b = tl.load(m + c[:, None].to(tl.int64) * n_pixels + pixel[None, :], mask=in_m, other=0.0)
        total += tl.dot(a, b.to(tl.float32), input_precision="ieee")
    inside = (k[:, None] < n_classes) & (pixel[None, :] < n_pixels)
    tl.store(cams + (image * n_classes + k[:, None]) * n_pixels + pixel[None, :], tl.maximum(total, 0.0), mask=inside)


@triton.jit
def _inner(
    g,  # (B, C, X) contiguous
    m,  # (B, C, X) contiguous
    out,  # (B, X) float32: Σ_c g_c m_c
    n_channels,
    n_pixels,
    CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr,
):
    image = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    total = tl.zeros((PIXELS,), dtype=tl.float32)
    for first in range(0, n_channels, CHANNELS):
        c = first + tl.arange(0, CHANNELS)
        inside = (c[:, None] < n_channels) & (pixel[None, :] < n_pixels)
        place = (image * n_channels + c[:, None]) * n_pixels + pixel[None, :]
        a = tl.load(g + place, mask=inside, other=0.0).to(tl.float32)
        total += tl.sum(a * tl.load(m + place, mask=inside, other=0.0).to(tl.float32), 0)
    tl.store(out + image * n_pixels + pixel, total, mask=pixel < n_pixels)


@triton.jit
def _weigh(
    x,  # (B, C, X) contiguous
    attention,  # (B, X) float32: A
    weights,  # (K, C) float32, contiguous
    maps,  # (B, K, X) float32: w
    out,  # (B, C, X), dtype of x
    n_classes,
    n_channels,
    n_pixels,
    BACKWARD: tl.constexpr,
    CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr,
):
    """Write A x forward, and A x + Σ_k ω_k w_k backward."""
    image = tl.program_id(2).to(tl.int64)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside = (c[:, None] < n_channels) & (pixel[None, :] < n_pixels)
    place = (image * n_channels + c[:, None]) * n_pixels + pixel[None, :]
    a = tl.load(attention + image * n_pixels + pixel, mask=pixel < n_pixels, other=0.0)
    result = tl.load(x + place, mask=inside, other=0.0).to(tl.float32) * a[None, :]
    if BACKWARD:
        for k in range(n_classes):  # few: their products cost less than padding them to a tile would
            omega = tl.load(weights + k * n_channels + c, mask=c < n_channels, other=0.0)
            w = tl.load(maps + (image * n_classes + k) * n_pixels + pixel, mask=pixel < n_pixels, other=0.0)
            result += omega[:, None] * w[None, :]
    tl.store(out + place, result.to(out.dtype.element_ty), mask=inside)


class _DropoutAttention(torch.autograd.Function):
    """m (B, C, X), ω (K, C) -> A·m (B, C, X). Differentiable once."""

    @staticmethod
    def forward(ctx: Any, m: torch.Tensor, weights: torch.Tensor, mu: float) -> torch.Tensor:
        m, weights = m.contiguous(), weights.contiguous()
        (b, c, x), k = m.shape, len(weights)
        cams = weights.new_empty(b, k, x)
        grid = (triton.cdiv(x, PIXELS), b, triton.cdiv(k, CLASSES))
        _activation_maps[grid](m, weights, cams, k, c, x, CLASSES, CHANNELS, PIXELS)
        left = cams.masked_fill_(cams > mu * cams.amax(2, keepdim=True), 0)
        ctx.save_for_backward(m, weights, left)
        return _weighed(m, weights, left, None)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        refuse_second_derivative()
        m, weights, left = ctx.saved_tensors
        (b, c, x), k = m.shape, len(weights)
        g = upstream.contiguous()
        inner = weights.new_empty(b, x)
        _inner[(triton.cdiv(x, PIXELS), b)](g, m, inner, c, x, CHANNELS, PIXELS)
        w = (left > 0) * (inner / k)[:, None]  # (B, K, X)
        weights_gradient = None
        if ctx.needs_input_grad[1]:
            weights_gradient = torch.bmm(w, m.float().transpose(1, 2)).sum(0)
        return _weighed(g, weights, left, w), weights_gradient, None


def _weighed(x: torch.Tensor, weights: torch.Tensor, left: torch.Tensor, w: torch.Tensor | None) -> torch.Tensor:
    (b, c, n), k = x.shape, len(weights)
    out, backward = torch.empty_like(x), w is not None
    grid = (triton.cdiv(n, PIXELS), triton.cdiv(c, CHANNELS), b)
    _weigh[grid](x, left.mean(1), weights, w if backward else left, out, k, c, n, backward, CHANNELS, PIXELS)
    return out


def dropout_attention(features: torch.Tensor, class_weights: torch.Tensor, mu: float) -> torch.Tensor:
    """As in reference.py, differentiable once."""
    if features.numel() == 0:  # an empty batch: there is no grid to launch
        return features * class_weights.sum().to(features.dtype)
    with torch.autocast(features.device.type, enabled=False):
        return _DropoutAttention.apply(features.flatten(2), class_weights.float(), mu).view_as(features)
