"""Triton: one program per block of rows; distances stay in registers, never as an (N, K) matrix in memory."""

import torch
import triton
import triton.language as tl


@triton.jit
def nearest_kernel(
    x_ptr,  # (N, D) float32, float16 or bfloat16, any strides
    prototype_ptr,  # (K, D) contiguous; its dtype is the one the products are made in
    scale_ptr,  # (K,) float32
    bias_ptr,  # (K,) float32
    index_ptr,  # (N,) int64, out
    score_ptr,  # (N,) in the dtype of x, out
    n,
    k,
    d,
    stride_n,
    stride_d,
    COSINE: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Write the closest prototype of every row, and its score."""
    rows = tl.program_id(0).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    in_rows = rows < n
    columns = tl.arange(0, BLOCK_D)
    x_rows = x_ptr + rows[:, None] * stride_n
    best = tl.full((BLOCK_N,), float("-inf"), tl.float32)
    index = tl.zeros((BLOCK_N,), tl.int32)
    squares = tl.zeros((BLOCK_N,), tl.float32)  # |x|² under cosine, |x - p|² under the Euclidean distance
    for first in range(0, k, BLOCK_K):
        clusters = first + tl.arange(0, BLOCK_K)
        in_clusters = clusters < k
        likeness = tl.zeros((BLOCK_N, BLOCK_K), tl.float32)
        squares = tl.zeros((BLOCK_N,), tl.float32)
        for start in range(0, d, BLOCK_D):
            dims = start + columns
            in_dims = dims < d
            x = tl.load(x_rows + dims[None, :] * stride_d, mask=in_rows[:, None] & in_dims[None, :], other=0.0)
            p = tl.load(
                prototype_ptr + clusters[None, :] * d + dims[:, None],
                mask=in_clusters[None, :] & in_dims[:, None],
                other=0.0,
            )  # (BLOCK_D, BLOCK_K)
            likeness = tl.dot(x.to(p.dtype), p, likeness, input_precision="ieee")
            if COSINE:
                wide = x.to(tl.float32)
                squares += tl.sum(wide * wide, axis=1)
        scale = tl.load(scale_ptr + clusters, mask=in_clusters, other=0.0)
        bias = tl.load(bias_ptr + clusters, mask=in_clusters, other=float("-inf"))
        likeness = likeness * scale[None, :] + bias[None, :]
        likeness = tl.where(likeness == likeness, likeness, float("-inf"))  # NaN wins nothing; it shows in the score
        value, where = tl.max(likeness, axis=1, return_indices=True, return_indices_tie_break_left=True)
        index = tl.where(value > best, first + where, index)  # strictly: the first of equals stays
        best = tl.maximum(value, best)
    if COSINE:
        score = best / tl.where(squares < 1e-24, 1e-12, tl.sqrt(squares))
        score = tl.where(score > 1, 1.0, tl.where(score < -1, -1.0, score))  # rounding; NaN stays NaN
    else:
        # The products would cancel where x lies on a prototype. This pass finds x in the cache.
        for start in range(0, d, BLOCK_D):
            dims = start + columns
            in_dims = dims < d
            x = tl.load(x_rows + dims[None, :] * stride_d, mask=in_rows[:, None] & in_dims[None, :], other=0.0)
            p = tl.load(prototype_ptr + index[:, None] * d + dims[None, :], mask=in_dims[None, :], other=0.0)
            difference = x.to(tl.float32) - p.to(tl.float32)
            squares += tl.sum(difference * difference, axis=1)
        score = tl.sqrt(squares)
    tl.store(index_ptr + rows, index.to(tl.int64), mask=in_rows)
    tl.store(score_ptr + rows, score.to(score_ptr.dtype.element_ty), mask=in_rows)


def nearest_prototype(x: torch.Tensor, prototypes: torch.Tensor, metric: str) -> tuple[torch.Tensor, torch.Tensor]:
    """As in reference.py, in float32."""
    if torch.float64 in (x.dtype, prototypes.dtype):
        raise ValueError("the Triton kernel computes in float32; pass float32 tensors or backend='reference'.")
    n, d = x.shape
    k = len(prototypes)
    # Products of two half-precision numbers of one dtype are exact in float32; all others are multiplied in float32.
    # So is everything in the interpreter: its tl.dot takes bfloat16 for integers.
    prototypes = prototypes.contiguous().to(x.dtype if x.dtype == prototypes.dtype and x.is_cuda else torch.float32)
    wide = prototypes.float()
    if metric == "cosine":
        scale = 1 / torch.linalg.vector_norm(wide, dim=1).clamp(min=1e-12)
        bias = torch.zeros_like(scale)
    else:
        scale = torch.ones(k, dtype=torch.float32, device=x.device)
        bias = -wide.square().sum(1) / 2  # argmin |x - p|² = argmax x·p - |p|² / 2
    index, score = x.new_empty(n, dtype=torch.int64), x.new_empty(n)
    block_n = 128
    block_k = min(max(triton.next_power_of_2(k), 16), 64)
    if n:
        with torch.cuda.device_of(x):
            nearest_kernel[(triton.cdiv(n, block_n),)](
                x, prototypes, scale, bias, index, score, n, k, d, *x.stride(),
                COSINE=metric == "cosine", BLOCK_N=block_n, BLOCK_K=block_k, BLOCK_D=32, num_warps=4,
            )  # fmt: skip
    return index, score
