"""CPU: Lloyd's iterations, each in one pass over the points; it looks only at those that may change their cluster.

Reading the points takes most of the time. So one pass computes distances, labels and the changes of the sums. Hamerly's
two bounds per point (SDM 2010) tell which points need no distance: those that are nearer to their own centre than they
can be to any other. Differences are taken before squares: data far from the origin need no centring, and no copy.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numba import njit

from histolab_lite.kernels.kmeans.reference import fill_empty_clusters

Array = np.ndarray
compiled = njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")


@compiled
def visit(
    x: Array,  # (N, D) float32
    centers: Array,  # (K, D) float32
    own: Array,  # (N,) float32: a point's distance to its own centre is at most this
    other: Array,  # (N,) float32: its distance to any other centre is at least this
    labels: Array,  # (N,) int64
    shift: Array,  # (K,) float32: how far each centre has moved since
    farthest: Array,  # (K,) float32: how far any other centre has moved at most
    everyone: bool,
    sums: Array,  # (K, D) float64: what the changed points add to the sums
    counts: Array,  # (K,) int64: what they add to the sizes
) -> None:
    """Assign the points that may have changed. Writes ``own``, ``other``, ``labels``, ``sums`` and ``counts``."""
    n, d = x.shape
    for i in range(n):
        before = labels[i]
        if not everyone:
            own[i] += shift[before]
            other[i] -= farthest[before]
            if own[i] < other[i]:
                continue
        first, second, nearest = np.float32(np.inf), np.float32(np.inf), 0
        for k in range(len(centers)):
            square = np.float32(0)
            for j in range(d):
                difference = x[i, j] - centers[k, j]
                square += difference * difference
            if square < first:
                first, second, nearest = square, first, k
            elif square < second:
                second = square
        own[i], other[i] = np.sqrt(first), np.sqrt(second)
        if nearest != before:
            labels[i] = nearest
            counts[nearest] += 1
            for j in range(d):
                sums[nearest, j] += x[i, j]
            if before >= 0:
                counts[before] -= 1
                for j in range(d):
                    sums[before, j] -= x[i, j]


def lloyd(
    x: torch.Tensor, centers: torch.Tensor, max_iter: int, tol: float, threads: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
    """Solve one problem: x (N, D), centers (K, D) -> labels (N,), centers, inertia, number of iterations."""
    points, (k, d) = x.detach().contiguous().numpy(), centers.shape
    now = centers.detach().contiguous().numpy()
    own, other = np.empty((2, len(points)), np.float32)
    labels = np.full(len(points), -1)
    sums, counts = np.zeros((k, d)), np.zeros(k, np.int64)
    shift = np.zeros(k, np.float32)
    edges = np.linspace(0, len(points), threads + 1).astype(int)

    # Not numba's threads: they crash when two callers start them at once, as two visitors of a demo do.
    with ThreadPoolExecutor(threads) as pool:

        def assign(everyone: bool) -> None:
            farthest = np.array([np.delete(shift, i).max(initial=0) for i in range(k)], np.float32)

            def part(start: int, end: int) -> tuple[Array, Array]:
                rows, change = slice(start, end), (np.zeros((k, d)), np.zeros(k, np.int64))
                visit(points[rows], now, own[rows], other[rows], labels[rows], shift, farthest, everyone, *change)
                return change

            for summed, counted in pool.map(part, edges[:-1], edges[1:]):
                np.add(sums, summed, out=sums)
                np.add(counts, counted, out=counts)

        n_iter, moved, threshold = 0, np.inf, 0.0
        while n_iter < max_iter and moved > threshold:
            n_iter += 1
            assign(everyone=n_iter == 1)
            if not counts.all():
                assign(everyone=True)  # so that the bounds are distances
                before = labels.copy()
                refilled = torch.from_numpy(labels)[None], torch.from_numpy(own)[None]
                fill_empty_clusters(*refilled, torch.ones(1, k, dtype=torch.bool))
                for i in np.flatnonzero(labels != before):
                    other[i] = 0
                    np.add.at(counts, [labels[i], before[i]], [1, -1])
                    np.add.at(sums, [labels[i], before[i]], np.stack([points[i], -points[i]]))
            means = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], now).astype(np.float32)
            if n_iter == 1:  # the variance, from the distances to the centres (Steiner's theorem)
                nearer = np.square(means - sums.sum(0) / len(points)) - np.square(means - now)
                threshold = tol * (np.square(own, dtype=float).sum() + counts @ nearer.sum(1)) / points.size
            shift = np.linalg.norm(means - now, axis=1)
            now, moved = means, float(np.square(shift, dtype=float).sum())
        assign(everyone=True)
    inertia = torch.tensor(np.square(own, dtype=float).sum(), dtype=torch.float32)
    return torch.from_numpy(labels), torch.from_numpy(now), inertia, n_iter
