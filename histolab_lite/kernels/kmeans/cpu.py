"""CPU: settle seeds in a few leading directions, then exact Lloyd that skips distances which cannot matter.

Features have many dimensions, and most of them hold noise. So seeds are drawn and moved in the leading directions first
(Halko, Martinsson and Tropp, SIAM Review 2011: the range is sampled by one power step). Few iterations in all
dimensions are then left (see ``hamerly``).
"""

import math
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch

from histolab_lite.kernels.kmeans.hamerly import lloyd
from histolab_lite.kernels.nearest_prototype.cpu import products

DIRECTIONS = 32
SAMPLE = 32768  # at most so many points are used to settle the seeds
SPANNING = 2048  # about so many of them determine the directions
SETTLING = 20  # largest number of iterations; those in all dimensions do the rest


def leading_directions(x: torch.Tensor) -> torch.Tensor:
    """Return (D, R) orthonormal vectors that nearly span what varies most in centred x (N, D)."""
    rows = x[torch.linspace(0, len(x) - 1, DIRECTIONS).long()]
    some = x[:: max(1, len(x) // SPANNING)].contiguous()
    return torch.linalg.qr(some.T @ products(some, rows)).Q


def plus_plus(y: torch.Tensor, k_max: int, generator: torch.Generator | None) -> torch.Tensor:
    """Draw centres (B, K, R) from points (B, N, R) by greedy k-means++, as in reference.py."""
    b, n, _ = y.shape
    problem = torch.arange(b)[:, None]
    trials = 2 + int(math.log(k_max))
    squares = y.square().sum(2)[:, None, :]  # (B, 1, N)

    def distances(points: torch.Tensor) -> torch.Tensor:  # (B, T, R) -> (B, T, N)
        bias = squares + points.square().sum(2, keepdim=True)
        return torch.baddbmm(bias, points, y.transpose(1, 2), alpha=-2).clamp_(min=0)

    centers = y.new_empty(b, k_max, y.shape[2])
    centers[:, :1] = y[problem, torch.randint(n, (b, 1), generator=generator)]
    nearest = distances(centers[:, :1])[:, 0]  # (B, N)
    for i in range(1, k_max):
        cumulative = nearest.cumsum(1)
        draws = torch.rand(b, trials, generator=generator) * cumulative[:, -1:]
        candidates = torch.searchsorted(cumulative, draws, right=True).clamp_(max=n - 1)  # (B, T)
        after = torch.minimum(distances(y[problem, candidates]), nearest[:, None])
        best = after.sum(2).argmin(1)
        nearest = after[problem[:, 0], best]
        centers[:, i] = y[problem[:, 0], candidates[problem[:, 0], best]]
    return centers


def settle(y: torch.Tensor, centers: torch.Tensor, used: torch.Tensor) -> torch.Tensor:
    """Run a few Lloyd iterations on (B, N, R), all problems at once; an empty cluster stays where it is."""
    y = torch.cat([y, torch.ones_like(y[:, :, :1])], 2)  # the ones add |c|² to the products, and count the points
    distances = y.new_empty(*centers.shape[:2], y.shape[1])  # (B, K, N), without |y|²
    for _ in range(SETTLING):
        bias = centers.square().sum(2, keepdim=True).masked_fill(~used[:, :, None], float("inf"))
        torch.bmm(torch.cat([-2 * centers, bias], 2), y.transpose(1, 2), out=distances)
        nearest = distances.amin(1, keepdim=True)
        sums = torch.eq(distances, nearest, out=distances) @ y
        counts = sums[:, :, -1:]
        moved = torch.where(counts > 0, sums[:, :, :-1] / counts.clamp(min=1), centers)
        if torch.equal(moved, centers):
            break
        centers = moved
    return centers


def seeds(x: torch.Tensor, k: torch.Tensor, init: str, generator: torch.Generator | None) -> torch.Tensor:
    """Return starting centres (B, K, D), settled in the leading directions of a sample of x (B, N, D)."""
    b, n, d = x.shape
    k_max = int(k.max())
    size = min(n, max(SAMPLE, 100 * k_max))
    rows = torch.randperm(n, generator=generator)[:size] if size < n else slice(None)
    narrow = min(d, size) <= 2 * DIRECTIONS  # nothing to gain
    width = d if narrow else DIRECTIONS
    offsets, bases, y = x.new_empty(b, 1, d), x.new_empty(b, width, d), x.new_empty(b, size, width)
    points = x.new_empty(size, d)
    for i in range(b):
        sample = x[i, rows]
        offsets[i] = sample.mean(0)
        torch.sub(sample, offsets[i], out=points)
        bases[i] = torch.eye(d) if narrow else leading_directions(points).T
        y[i] = points if narrow else products(points, bases[i])
    if init == "k-means++":
        start = plus_plus(y, k_max, generator)
    else:
        order = torch.rand(b, size, generator=generator).argsort(1)[:, :k_max]
        start = y[torch.arange(b)[:, None], order]
    used = torch.arange(k_max) < k[:, None]
    return offsets + settle(y, start, used) @ bases


def kmeans(
    x: torch.Tensor,
    k: torch.Tensor,
    init: str | torch.Tensor,
    n_init: int,
    max_iter: int,
    tol: float,
    generator: torch.Generator | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """As in reference.py, with settled seeds and fewer distances."""
    b, n, d = x.shape
    labels, centers = x.new_zeros(b, n, dtype=torch.int64), x.new_zeros(b, int(k.max()), d)
    inertia, n_iter = x.new_full((b,), float("inf")), torch.zeros(b, dtype=torch.int64)
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(
        threads
    ) as pool:  # a batch: one problem per thread; one problem: a part of its points per thread
        for _ in range(1 if isinstance(init, torch.Tensor) else n_init):
            starts = init if isinstance(init, torch.Tensor) else seeds(x, k, init, generator)
            chosen = [start[:used] for start, used in zip(starts, k.tolist(), strict=True)]
            solve = partial(lloyd, max_iter=max_iter, tol=tol, threads=threads if b == 1 else 1)
            for i, found in enumerate(pool.map(solve, x, chosen)):
                if found[2] < inertia[i]:
                    labels[i], centers[i, : len(found[1])], inertia[i], n_iter[i] = found
    return labels, centers, inertia, n_iter
