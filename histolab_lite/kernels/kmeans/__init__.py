"""k-means: Lloyd's algorithm from greedy k-means++ seeds, one problem or a batch of independent ones.

Lloyd, IEEE Trans. Inf. Theory 1982; Arthur and Vassilvitskii, "k-means++", SODA 2007. The prototypes of Proto2Seg
are its centres, and cluster-then-query runs it once per feature map (Pan et al., IPMI 2023, Sect. 3.2 and 3.3).
"""

from typing import NamedTuple

import torch

from histolab_lite.kernels import check_finite, choose_backend

BACKENDS = ("reference", "cpu", "triton")
INITS = ("k-means++", "random")


class KMeansResult(NamedTuple):
    """The clusters of one problem; for a batch each field gains a leading B.

    Attributes
    ----------
    labels : (N,) int64
        The cluster of each point.
    centers : (K, D) float32
        In a batch, rows past a problem's own k are zero.
    inertia : float32 scalar
        Sum of squared distances to the nearest centres.
    n_iter : int64 scalar
        Iterations until convergence.
    """

    labels: torch.Tensor
    centers: torch.Tensor
    inertia: torch.Tensor
    n_iter: torch.Tensor


@torch.no_grad()
def kmeans(
    x: torch.Tensor,
    n_clusters: int | torch.Tensor,
    init: str | torch.Tensor = "k-means++",
    n_init: int = 1,
    max_iter: int = 100,
    tol: float = 1e-4,
    generator: torch.Generator | None = None,
    backend: str | None = None,
) -> KMeansResult:
    """Cluster vectors so that the sum of squared Euclidean distances to the cluster means is (locally) least.

    An empty cluster takes over the point farthest from its centre, so that the inertia never rises. No gradient passes
    through.

    From given centres every backend computes the same. Seeds are drawn by each backend in its own way: a generator
    gives one result per backend. The CPU first settles its seeds in the leading directions of the data; ``n_iter`` does
    not count these iterations.

    Parameters
    ----------
    x
        (N, D) float, or (B, N, D) for B independent problems.
    n_clusters
        k, or (B,) int, one k per problem.
    init
        "k-means++", "random" (k distinct points), or the starting centres (K, D) or (B, K, D).
    n_init
        Number of restarts; per problem the one with the least inertia is kept.
    max_iter
        Largest number of iterations per restart.
    tol
        Stop when the centres' summed squared movement is at most ``tol`` × the mean variance of ``x``.
    generator
        Makes the result reproducible; None for torch's global generator.
    backend
        "reference", "cpu", "triton", or None for the fastest.

    Raises
    ------
    ValueError
        For wrong shapes, NaN, k outside 1…N, or a backend that is not there.
    """
    batched = x.ndim == 3
    if x.ndim not in (2, 3):
        raise ValueError(f"x must be (N, D) or (B, N, D); got {(*x.shape,)}.")
    check_finite("x", x)
    points = (x if batched else x[None]).float()
    b, n, d = points.shape
    if b == 0:
        raise ValueError("the batch is empty: there is no problem to solve.")
    k = torch.as_tensor(n_clusters, device=x.device)
    if k.ndim > 1 or k.numel() not in (1, b):
        raise ValueError(f"n_clusters must be one number or one per problem ({b}); got {k.tolist()}.")
    k = k.expand(b)
    if int(k.min()) < 1 or int(k.max()) > n:
        raise ValueError(f"n_clusters must lie between 1 and the number of points ({n}); got {k.tolist()}.")
    start: str | torch.Tensor
    if isinstance(init, torch.Tensor):
        check_finite("init", init)
        start = (init if init.ndim == 3 else init[None]).to(points)
        if start.ndim != 3 or start.shape[2] != d or start.shape[0] not in (1, b) or start.shape[1] < int(k.max()):
            raise ValueError(f"starting centres must be (K, {d}) or ({b}, K, {d}); got {(*init.shape,)}.")
        start = start[:, : int(k.max())].expand(b, -1, -1)
    elif init in INITS:
        start = init
    else:
        raise ValueError(f"init must be one of {INITS} or a tensor of centres, not {init!r}.")
    if n_init < 1 or max_iter < 1:
        raise ValueError(f"n_init and max_iter must be at least 1; got {n_init} and {max_iter}.")
    implementation = choose_backend(__name__, BACKENDS, backend, x.device)
    result = KMeansResult(*implementation.kmeans(points, k, start, n_init, max_iter, tol, generator))
    return result if batched else KMeansResult(*(field[0] for field in result))
