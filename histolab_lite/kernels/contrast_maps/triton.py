"""Contrast maps on a GPU: the features are read once, and the map of a pair never leaves the chip.

Three kernels: the P + Q correlation maps; the extremes of every pair's map, block by block; the sum of stretched maps.
"""

import torch
import torch.nn.functional as F
import triton
import triton.language as tl

from histolab_lite.kernels.contrast_maps import FLAT

POINTS, CHANNELS, PIXELS = 16, 32, 128  # of a tile of correlations; 16 is the least that tl.dot takes
BLOCK = 1024  # pixels of a block of the maps


@triton.jit
def _correlate(
    features,  # (C, H·W), any strides, float32, float16 or bfloat16
    vectors,  # (K, C) float32, contiguous, unit length
    maps,  # (K, H·W) float32, out
    n_points,
    n_channels,
    n_pixels,
    channel_stride,
    pixel_stride,
    POINTS: tl.constexpr,
    CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr,
):
    pixel = tl.program_id(0).to(tl.int64) * PIXELS + tl.arange(0, PIXELS)
    point = tl.program_id(1).to(tl.int64) * POINTS + tl.arange(0, POINTS)
    products = tl.zeros((POINTS, PIXELS), dtype=tl.float32)
    squares = tl.zeros((PIXELS,), dtype=tl.float32)
    for first in range(0, n_channels, CHANNELS):
        channel = (first + tl.arange(0, CHANNELS)).to(tl.int64)
        a = tl.load(
            vectors + point[:, None] * n_channels + channel[None, :],
            mask=(point[:, None] < n_points) & (channel[None, :] < n_channels),
            other=0.0,
        )
        b = tl.load(
            features + channel[:, None] * channel_stride + pixel[None, :] * pixel_stride,
            mask=(channel[:, None] < n_channels) & (pixel[None, :] < n_pixels),
            other=0.0,
        ).to(tl.float32)
        products += tl.dot(a, b, input_precision="ieee")
        squares += tl.sum(b * b, 0)
    norms = tl.maximum(tl.sqrt(squares), 1e-12)
    inside = (point[:, None] < n_points) & (pixel[None, :] < n_pixels)
    tl.store(maps + point[:, None] * n_pixels + pixel[None, :], products / norms[None, :], mask=inside)


@triton.jit
def _contrast(maps, p, q, pixel, n_pixels, eta):
    """ReLU(S_p - η S_q)² of a block of pixels. maps: (K, H·W)."""
    inside = pixel < n_pixels
    s_p = tl.load(maps + p * n_pixels + pixel, mask=inside, other=0.0)
    s_q = tl.load(maps + q * n_pixels + pixel, mask=inside, other=0.0)
    difference = tl.maximum(s_p - eta * s_q, 0.0)
    return difference * difference


@triton.jit
def _extremes(
    maps,  # (P + Q, H·W) float32
    low,  # (P, Q, blocks) float32, out
    high,  # (P, Q, blocks) float32, out
    n_inside,
    n_outside,
    n_pixels,
    eta,
    BLOCK: tl.constexpr,
):
    block, p = tl.program_id(0), tl.program_id(1).to(tl.int64)
    pixel = block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    for q in range(n_outside):
        c = _contrast(maps, p, n_inside + q, pixel, n_pixels, eta)
        place = (p * n_outside + q) * tl.num_programs(0) + block
        tl.store(low + place, tl.min(tl.where(pixel < n_pixels, c, float("inf")), 0))
        tl.store(high + place, tl.max(c, 0))  # a pixel past the end counts as 0, and no map lies below 0


@triton.jit
def _mean(
    maps,  # (P + Q, H·W) float32
    low,  # (P, Q) float32
    gain,  # (P, Q) float32
    z,  # (P, H·W) float32, out
    n_inside,
    n_outside,
    n_pixels,
    eta,
    BLOCK: tl.constexpr,
):
    p = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for q in range(n_outside):
        c = _contrast(maps, p, n_inside + q, pixel, n_pixels, eta)
        total += (c - tl.load(low + p * n_outside + q)) * tl.load(gain + p * n_outside + q)
    tl.store(z + p * n_pixels + pixel, tl.minimum(total, 1.0), mask=pixel < n_pixels)


def contrast_maps(features: torch.Tensor, inside: torch.Tensor, outside: torch.Tensor, eta: float) -> torch.Tensor:
    """As in reference.py, without the P·Q maps."""
    n_inside, n_outside = len(inside), len(outside)
    points = torch.cat([inside, outside])
    vectors = F.normalize(features[:, points[:, 0], points[:, 1]].float(), dim=0).T.contiguous()
    flat = features.flatten(1)
    channels, pixels = flat.shape
    maps = vectors.new_empty(len(points), pixels)
    grid = (triton.cdiv(pixels, PIXELS), triton.cdiv(len(points), POINTS))
    sizes = (len(points), channels, pixels)
    _correlate[grid](flat, vectors, maps, *sizes, *flat.stride(), POINTS, CHANNELS, PIXELS)

    blocks = triton.cdiv(pixels, BLOCK)
    lows, highs = maps.new_empty(2, n_inside, n_outside, blocks)
    _extremes[(blocks, n_inside)](maps, lows, highs, n_inside, n_outside, pixels, eta, BLOCK)
    low = lows.amin(2)
    span = highs.amax(2) - low
    gain = torch.where(span > FLAT, 1 / (n_outside * span), 0.0)

    z = maps.new_empty(n_inside, pixels)
    _mean[(blocks, n_inside)](maps, low, gain, z, n_inside, n_outside, pixels, eta, BLOCK)
    return z.view(n_inside, *features.shape[1:])
