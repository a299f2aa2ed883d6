"""NT-Xent on a GPU: similarities stay in tiles on the chip, forward and backward; memory O(N·D).

The tiling and the saved log-sum are those of FlashAttention (Dao et al., NeurIPS 2022). Notation and gradient as in
``cpu.py``: M = 2N unit vectors z, s_ij = z_i·z_j/τ, L_i = log Σ_{k ≠ i} exp(s_ik), and
∂loss/∂z_i = 1/(Mτ) · ( Σ_{j ≠ i} (exp(s_ij - L_i) + exp(s_ij - L_j)) z_j - 2 z_i⁺ ). Each program writes its own
rows, and nothing is added atomically: every run gives the same result.
"""

import os
from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl

from histolab_lite.kernels import refuse_second_derivative

# A tile of similarities is ROWS × COLUMNS; DEPTH of the D numbers are summed at a time. Exact float32 products need
# their operands in registers: so these are small. The interpreter takes the first without measuring.
TILES = [
    triton.Config({"ROWS": rows, "COLUMNS": columns, "DEPTH": depth}, num_warps=warps)
    for rows, columns, depth, warps in ((64, 32, 16, 4), (32, 64, 16, 4), (64, 64, 32, 8), (128, 32, 16, 8))
]
TILES = TILES[:1] if os.environ.get("TRITON_INTERPRET") == "1" else TILES


@triton.jit
def _tile(z, row, column, m, d, scale, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr):
    """Return s (ROWS, COLUMNS) of z (M, D), -inf on the diagonal and past the last row and column."""
    s = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for first in range(0, d, DEPTH):
        k = first + tl.arange(0, DEPTH)
        a = tl.load(z + row[:, None] * d + k[None, :], mask=(row[:, None] < m) & (k[None, :] < d), other=0.0)
        b = tl.load(z + column[None, :] * d + k[:, None], mask=(column[None, :] < m) & (k[:, None] < d), other=0.0)
        s += tl.dot(a, b, input_precision="ieee")
    valid = (row[:, None] != column[None, :]) & (row[:, None] < m) & (column[None, :] < m)
    return tl.where(valid, s * scale, float("-inf"))


@triton.autotune(TILES, key=["m", "d"])
@triton.jit
def _forward(
    z,  # (M, D) float32, contiguous
    log_sums,  # (M,) float32, out: L
    m,
    d,
    scale,  # 1/τ
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    largest = tl.full((ROWS,), float("-inf"), dtype=tl.float32)
    total = tl.zeros((ROWS,), dtype=tl.float32)
    for first in range(0, m, COLUMNS):
        column = (first + tl.arange(0, COLUMNS)).to(tl.int64)
        s = _tile(z, row, column, m, d, scale, ROWS, COLUMNS, DEPTH)
        new = tl.maximum(largest, tl.max(s, 1))
        # All of a row's tile may be -inf.
        base = tl.where(new == float("-inf"), 0.0, new)
        total = total * tl.exp(largest - base) + tl.sum(tl.exp(s - base[:, None]), 1)
        largest = new
    total = tl.where(row < m, total, 1.0)
    tl.store(log_sums + row, largest + tl.log(total), mask=row < m)


@triton.autotune(TILES, key=["m", "d"])
@triton.jit
def _backward(
    z,  # (M, D) float32, contiguous
    log_sums,  # (M,) float32: L
    upstream,  # () float32: gradient of the loss
    gradient,  # (M, D) float32, out
    m,
    d,
    scale,  # 1/τ
    PART: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    part = tl.program_id(1) * PART + tl.arange(0, PART)  # the columns of D that this program writes
    inside = (row[:, None] < m) & (part[None, :] < d)
    own = tl.load(log_sums + row, mask=row < m, other=0.0)
    positive = tl.where(row < m // 2, row + m // 2, row - m // 2)
    g = -2 * tl.load(z + positive[:, None] * d + part[None, :], mask=inside, other=0.0)
    for first in range(0, m, COLUMNS):
        column = (first + tl.arange(0, COLUMNS)).to(tl.int64)
        s = _tile(z, row, column, m, d, scale, ROWS, COLUMNS, DEPTH)
        others = tl.load(log_sums + column, mask=column < m, other=0.0)
        w = tl.exp(s - own[:, None]) + tl.exp(s - others[None, :])
        inside_column = (column[:, None] < m) & (part[None, :] < d)
        v = tl.load(z + column[:, None] * d + part[None, :], mask=inside_column, other=0.0)
        g += tl.dot(w, v, input_precision="ieee")
    g *= tl.load(upstream) * scale / m
    tl.store(gradient + row[:, None] * d + part[None, :], g, mask=inside)


class _NTXent(torch.autograd.Function):
    """(2N, D) unit vectors, positives N apart -> scalar. Differentiable once."""

    @staticmethod
    def forward(ctx: Any, z: torch.Tensor, temperature: float) -> torch.Tensor:
        z = z.contiguous()
        m, d = z.shape
        log_sums = z.new_empty(m)
        _forward[lambda tile: (triton.cdiv(m, tile["ROWS"]),)](z, log_sums, m, d, 1 / temperature)
        ctx.save_for_backward(z, log_sums)
        ctx.temperature = temperature
        n = m // 2
        return log_sums.mean() - (z[:n] * z[n:]).sum() / (n * temperature)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, None]:
        refuse_second_derivative()
        z, log_sums = ctx.saved_tensors
        m, d = z.shape
        gradient = torch.empty_like(z)
        part = min(128, max(16, triton.next_power_of_2(d)))
        _backward[lambda tile: (triton.cdiv(m, tile["ROWS"]), triton.cdiv(d, part))](
            z, log_sums, upstream, gradient, m, d, 1 / ctx.temperature, part
        )
        return gradient, None


def nt_xent(z1: torch.Tensor, z2: torch.Tensor, temperature: float) -> torch.Tensor:
    """As in reference.py, differentiable once."""
    with torch.autocast(z1.device.type, enabled=False):  # which would round the similarities to bfloat16
        return _NTXent.apply(F.normalize(torch.cat([z1, z2]).float(), dim=1), temperature)
