"""Plain PyTorch, batched over problems: the specification.

Per seed 2 + ⌊ln k⌋ candidates are tried, as in Arthur and Vassilvitskii's greedy variant.
"""

import math
from collections.abc import Callable

import torch


def squared_distances(x: torch.Tensor, centers: torch.Tensor) -> torch.Tensor:
    """Return squared distances (B, N, K), never negative, of points (B, N, D) to centres (B, K, D)."""
    norms = x.square().sum(2)[:, :, None] + centers.square().sum(2)[:, None, :]
    return torch.baddbmm(norms, x, centers.transpose(1, 2), alpha=-2).clamp_(min=0)


def plus_plus(x: torch.Tensor, k_max: int, generator: torch.Generator | None) -> torch.Tensor:
    """Draw centres (B, K, D) by greedy k-means++: each is the best of a few points drawn by squared distance."""
    b, n, d = x.shape
    problem = torch.arange(b, device=x.device)[:, None]
    trials = 2 + int(math.log(k_max))
    first = torch.randint(n, (b, 1), generator=generator, device=x.device)
    chosen = [x[problem, first]]  # each (B, 1, D)
    nearest = squared_distances(x, chosen[0])[:, :, 0]  # (B, N)
    for _ in range(1, k_max):
        # Where every point sits on a centre already, any point is as good as another.
        weights = torch.where(nearest.sum(1, keepdim=True) > 0, nearest, torch.ones_like(nearest))
        candidates = torch.multinomial(weights, trials, replacement=True, generator=generator)  # (B, T)
        distances = squared_distances(x, x[problem, candidates])  # (B, N, T)
        distances = torch.minimum(distances, nearest[:, :, None])
        best = distances.sum(1).argmin(1, keepdim=True)  # (B, 1)
        nearest = distances.gather(2, best[:, None, :].expand(b, n, 1))[:, :, 0]
        chosen.append(x[problem, candidates.gather(1, best)])
    return torch.cat(chosen, 1)


def assign(x: torch.Tensor, centers: torch.Tensor, used: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the nearest used centre of every point (B, N) and its squared distance (B, N)."""
    distances = squared_distances(x, centers).masked_fill(~used[:, None, :], float("inf"))
    nearest, labels = distances.min(2)
    return labels, nearest


def fill_empty_clusters(labels: torch.Tensor, nearest: torch.Tensor, used: torch.Tensor) -> None:
    """Give every empty cluster, in place, the point farthest from its centre, so that the inertia only falls."""
    counts = torch.zeros_like(used, dtype=torch.int64).scatter_add_(1, labels, torch.ones_like(labels))
    for problem, cluster in ((counts == 0) & used).nonzero().tolist():
        # A cluster of one gives nothing away: moving its point would empty it in turn.
        spare = nearest[problem].masked_fill(counts[problem][labels[problem]] < 2, 0)
        farthest = spare.argmax()
        if spare[farthest] > 0:
            counts[problem, labels[problem, farthest]] -= 1
            counts[problem, cluster] = 1
            labels[problem, farthest] = cluster
            nearest[problem, farthest] = 0


def lloyd(
    x: torch.Tensor, centers: torch.Tensor, used: torch.Tensor, max_iter: int, tol: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Iterate from the centres (B, K, D); return labels, centres, inertia and the number of iterations."""
    b, n, d = x.shape
    threshold = tol * x.var(1, correction=0).mean(1)  # (B,)
    n_iter = torch.zeros(b, dtype=torch.int64, device=x.device)
    running = torch.ones(b, dtype=torch.bool, device=x.device)
    for _ in range(max_iter):
        active, current, in_use = x[running], centers[running], used[running]
        labels, nearest = assign(active, current, in_use)
        fill_empty_clusters(labels, nearest, in_use)
        sums = torch.zeros_like(current).scatter_add_(1, labels[:, :, None].expand(-1, -1, d), active)
        counts = torch.zeros_like(sums[:, :, 0]).scatter_add_(1, labels, torch.ones_like(active[:, :, 0]))
        moved = torch.where(counts[:, :, None] > 0, sums / counts.clamp(min=1)[:, :, None], current)
        centers[running] = moved
        n_iter[running] += 1
        running[running.clone()] = (moved - current).square().sum((1, 2)) > threshold[running]
        if not running.any():
            break
    labels, distances = assign(x, centers, used)
    return labels, centers, distances.sum(1), n_iter


def kmeans(
    x: torch.Tensor,
    k: torch.Tensor,
    init: str | torch.Tensor,
    n_init: int,
    max_iter: int,
    tol: float,
    generator: torch.Generator | None,
    lloyd: Callable[..., tuple[torch.Tensor, ...]] = lloyd,
) -> tuple[torch.Tensor, ...]:
    """Keep per problem the best of ``n_init`` restarts; ``lloyd`` may be another implementation of this module's."""
    b, n, d = x.shape
    k_max = int(k.max()) if b else 0
    used = torch.arange(k_max, device=x.device)[None, :] < k[:, None]  # (B, K)
    offset = x.mean(1, keepdim=True)  # distances are taken around the mean, where float32 is finest
    x = x - offset
    best: tuple[torch.Tensor, ...] = ()
    for _ in range(1 if isinstance(init, torch.Tensor) else n_init):
        if isinstance(init, torch.Tensor):
            start = init - offset
        elif init == "k-means++":
            start = plus_plus(x, k_max, generator)
        else:
            order = torch.rand(b, n, generator=generator, device=x.device).argsort(1)[:, :k_max]
            start = x.gather(1, order[:, :, None].expand(-1, -1, d))
        result = lloyd(x, start.clone(), used, max_iter, tol)
        better = result[2] < best[2] if best else torch.ones_like(k, dtype=torch.bool)
        best = tuple(
            torch.where(better.view(-1, *[1] * (new.ndim - 1)), new, old)
            for new, old in zip(result, best or result, strict=True)
        )
    labels, centers, inertia, n_iter = best
    return labels, (centers + offset) * used[:, :, None], inertia, n_iter
