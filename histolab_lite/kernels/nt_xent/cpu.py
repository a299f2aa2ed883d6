"""NT-Xent streamed over strips of rows: memory O(N·D), forward and backward.

With M = 2N unit vectors z, s_ij = z_i·z_j/τ and L_i = log Σ_{k ≠ i} exp(s_ik), the loss is the mean of L_i - s_i⁺ and

    ∂loss/∂z_i = 1/(Mτ) · ( Σ_{j ≠ i} w_ij z_j - 2 z_i⁺ ),   w_ij = exp(s_ij - L_i) + exp(s_ij - L_j).

The forward pass keeps z and L; the backward pass computes the similarities again. Both s and w are symmetric: a strip
spans only the columns from its own rows on, and its transpose serves the rows below it.
"""

from typing import Any

import torch
import torch.nn.functional as F

from histolab_lite.kernels import refuse_second_derivative

ROWS = 128  # per strip: it stays in the cache, and the matrix product runs at full speed


class _NTXent(torch.autograd.Function):
    """(2N, D) unit vectors, positives N apart -> scalar. Differentiable once."""

    @staticmethod
    def forward(ctx: Any, z: torch.Tensor, temperature: float) -> torch.Tensor:
        log_sums = _log_sums(z, temperature)
        ctx.save_for_backward(z, log_sums)
        ctx.temperature = temperature
        n = len(z) // 2
        return log_sums.mean() - (z[:n] * z[n:]).sum() / (n * temperature)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, None]:
        refuse_second_derivative()
        z, log_sums = ctx.saved_tensors
        m, temperature = len(z), ctx.temperature
        gradient = z.roll(m // 2, 0).mul_(-2)
        similarities, weights = z.new_empty(2, min(ROWS, m) * m)
        for start in range(0, m, ROWS):
            rows, right = slice(start, min(start + ROWS, m)), slice(start, m)
            s = _strip(similarities, z[rows], z[right], temperature)  # (rows, from start on)
            w = torch.sub(s, log_sums[right], out=weights[: s.numel()].view_as(s)).exp_()
            w += s.sub_(log_sums[rows, None]).exp_()
            w.fill_diagonal_(0)  # no vector is its own negative
            gradient[rows].addmm_(w, z[right])
            below = slice(rows.stop, m)
            gradient[below].addmm_(w[:, rows.stop - start :].T, z[rows])
        return gradient.mul_(upstream / (m * temperature)), None


def _strip(buffer: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, temperature: float) -> torch.Tensor:
    """Write similarities (rows, columns) over τ into the buffer."""
    out = buffer[: len(rows) * len(columns)].view(len(rows), len(columns))
    return torch.mm(rows / temperature, columns.T, out=out)


def _log_sums(z: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return L (M,)."""
    m = len(z)
    buffer = z.new_empty(min(ROWS, m) * m)
    if 2 / temperature > 80:  # then exp((cos - 1)/τ) may underflow in float32, and every row needs its own maximum
        logs = z.new_empty(m)
        for start in range(0, m, ROWS):
            s = _strip(buffer, z[start : start + ROWS], z, temperature)
            s.diagonal(start).fill_(float("-inf"))
            logs[start : start + ROWS] = s.logsumexp(1)
        return logs
    sums = z.new_zeros(m)
    for start in range(0, m, ROWS):
        stop = min(start + ROWS, m)
        e = _strip(buffer, z[start:stop], z[start:], temperature).sub_(1 / temperature).exp_()
        e.fill_diagonal_(0)
        sums[start:stop] += e.sum(1)
        sums[stop:] += e[:, stop - start :].sum(0)
    return sums.log_().add_(1 / temperature)


def nt_xent(z1: torch.Tensor, z2: torch.Tensor, temperature: float) -> torch.Tensor:
    """As in reference.py, differentiable once."""
    with torch.autocast(z1.device.type, enabled=False):  # which would round the similarities to bfloat16
        return _NTXent.apply(F.normalize(torch.cat([z1, z2]).float(), dim=1), temperature)
