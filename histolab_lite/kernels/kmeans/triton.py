"""Triton: reference.py with an assignment that never stores distances, and centre sums without atomics.

Sums are taken in a fixed order, one segment of points per program, so that every run gives the same result.
"""

import functools

import torch
import triton
import triton.language as tl

from histolab_lite.kernels.kmeans import reference

SEGMENT = 2048  # largest number of points that one program of sum_kernel adds up


@triton.jit
def assign_kernel(
    x_ptr,  # (B, N, D) float32, contiguous
    center_ptr,  # (B, K, D) float32, contiguous
    square_ptr,  # (B, K) float32: |center|²
    k_ptr,  # (B,) int64: clusters in use
    running_ptr,  # (B,) bool: problems to do
    label_ptr,  # (B, N) int64, out
    nearest_ptr,  # (B, N) float32, out: squared distance
    n,
    k_max,
    d,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Write the nearest used centre of every point, and its squared distance."""
    problem = tl.program_id(1).to(tl.int64)
    if tl.load(running_ptr + problem) == 0:
        return
    k = tl.load(k_ptr + problem).to(tl.int32)
    rows = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    in_rows = rows < n
    columns = tl.arange(0, BLOCK_D)
    x_rows = x_ptr + (problem * n + rows)[:, None] * d
    best = tl.full((BLOCK_N,), float("inf"), tl.float32)
    label = tl.zeros((BLOCK_N,), tl.int32)
    squares = tl.zeros((BLOCK_N,), tl.float32)  # |x|²
    for first in range(0, k, BLOCK_K):
        clusters = first + tl.arange(0, BLOCK_K)
        in_clusters = clusters < k
        centers = center_ptr + (problem * k_max + clusters)[None, :] * d
        products = tl.zeros((BLOCK_N, BLOCK_K), tl.float32)
        squares = tl.zeros((BLOCK_N,), tl.float32)
        for start in range(0, d, BLOCK_D):
            dims = start + columns
            in_dims = dims < d
            x = tl.load(x_rows + dims[None, :], mask=in_rows[:, None] & in_dims[None, :], other=0.0)
            c = tl.load(centers + dims[:, None], mask=in_clusters[None, :] & in_dims[:, None], other=0.0)
            products = tl.dot(x, c, products, input_precision="ieee")  # (BLOCK_N, BLOCK_K)
            squares += tl.sum(x * x, axis=1)
        bias = tl.load(square_ptr + problem * k_max + clusters, mask=in_clusters, other=float("inf"))
        distance = bias[None, :] - 2.0 * products
        value, where = tl.min(distance, axis=1, return_indices=True, return_indices_tie_break_left=True)
        label = tl.where(value < best, first + where, label)  # strictly: the first of equals stays
        best = tl.minimum(value, best)
    out = problem * n + rows
    tl.store(label_ptr + out, label.to(tl.int64), mask=in_rows)
    tl.store(nearest_ptr + out, tl.maximum(best + squares, 0.0), mask=in_rows)


@triton.jit
def sum_kernel(
    x_ptr,  # (B, N, D) float32, contiguous
    label_ptr,  # (B, N) int64
    running_ptr,  # (B,) bool: problems to do
    sum_ptr,  # (B, S, K, D) float32, out: sums over each of S segments
    n,
    k_max,
    d,
    segments,
    SEGMENT: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Write the sums of the points of every cluster, over each segment."""
    problem = tl.program_id(2).to(tl.int64)
    if tl.load(running_ptr + problem) == 0:
        return
    segment = tl.program_id(1)
    dims = tl.program_id(0) * BLOCK_D + tl.arange(0, BLOCK_D)
    in_dims = dims < d
    for first in range(0, k_max, BLOCK_K):
        clusters = first + tl.arange(0, BLOCK_K)
        sums = tl.zeros((BLOCK_K, BLOCK_D), tl.float32)
        for start in range(0, SEGMENT, BLOCK_N):
            rows = segment * SEGMENT + start + tl.arange(0, BLOCK_N)
            in_rows = rows < n
            points = problem * n + rows
            label = tl.load(label_ptr + points, mask=in_rows, other=-1)
            inside = in_rows[:, None] & in_dims[None, :]
            x = tl.load(x_ptr + points[:, None] * d + dims[None, :], mask=inside, other=0.0)
            chosen = (clusters[:, None] == label[None, :]).to(tl.float32)  # (BLOCK_K, BLOCK_N)
            sums = tl.dot(chosen, x, sums, input_precision="ieee")
        out = ((problem * segments + segment) * k_max + clusters)[:, None] * d + dims[None, :]
        tl.store(sum_ptr + out, sums, mask=(clusters < k_max)[:, None] & in_dims[None, :])


def assign(
    x: torch.Tensor,
    centers: torch.Tensor,
    k: torch.Tensor,
    running: torch.Tensor,
    labels: torch.Tensor,
    nearest: torch.Tensor,
) -> None:
    """Write label and squared distance of every point of the running problems into (B, N), (B, N)."""
    b, n, d = x.shape
    squares = centers.square().sum(2)
    block_k = min(max(triton.next_power_of_2(centers.shape[1]), 16), 64)
    assign_kernel[(triton.cdiv(n, 128), b)](
        x, centers.contiguous(), squares, k, running, labels, nearest, n, centers.shape[1], d,
        BLOCK_N=128, BLOCK_K=block_k, BLOCK_D=32, num_warps=4,
    )  # fmt: skip


def cluster_sums(x: torch.Tensor, labels: torch.Tensor, k_max: int, running: torch.Tensor) -> torch.Tensor:
    """Return the sums of each cluster's points (B, K, D); those of a problem that is not running are undefined."""
    b, n, d = x.shape
    segment = min(SEGMENT, max(64, triton.next_power_of_2(n)))  # few points are not padded to thousands
    segments = triton.cdiv(n, segment)
    partial = x.new_empty(b, segments, k_max, d)
    block_k = min(max(triton.next_power_of_2(k_max), 16), 64)
    sum_kernel[(triton.cdiv(d, 64), segments, b)](
        x, labels, running, partial, n, k_max, d, segments,
        SEGMENT=segment, BLOCK_N=64, BLOCK_K=block_k, BLOCK_D=64, num_warps=4,
    )  # fmt: skip
    return partial.sum(1)


def lloyd(
    x: torch.Tensor, centers: torch.Tensor, used: torch.Tensor, max_iter: int, tol: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """As in reference.py, without stored distances."""
    b, n, _ = x.shape
    x, k = x.contiguous(), used.sum(1)
    threshold = tol * x.var(1, correction=0).mean(1)  # (B,)
    n_iter = torch.zeros(b, dtype=torch.int64, device=x.device)
    everyone = torch.ones(b, dtype=torch.bool, device=x.device)
    running = everyone
    labels = torch.zeros(b, n, dtype=torch.int64, device=x.device)
    nearest = x.new_zeros(b, n)
    with torch.cuda.device_of(x):
        for _ in range(max_iter):
            assign(x, centers, k, running, labels, nearest)
            reference.fill_empty_clusters(labels, nearest, used & running[:, None])
            sums = cluster_sums(x, labels, centers.shape[1], running)
            counts = torch.zeros_like(used, dtype=torch.int64).scatter_add_(1, labels, torch.ones_like(labels))
            change = (counts > 0) & running[:, None]
            moved = torch.where(change[:, :, None], sums / counts.clamp(min=1)[:, :, None], centers)
            n_iter += running
            running = running & ((moved - centers).square().sum((1, 2)) > threshold)
            centers = moved
            if not running.any():
                break
        assign(x, centers, k, everyone, labels, nearest)
    return labels, centers, nearest.sum(1), n_iter


kmeans = functools.partial(reference.kmeans, lloyd=lloyd)
