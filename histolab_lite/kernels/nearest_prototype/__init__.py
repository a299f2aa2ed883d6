"""Nearest prototype: which row of a dictionary is closest to each feature vector.

The query of Proto2Seg (Pan et al., IPMI 2023, Sect. 3.3), with the similarity its encoder is trained for (cosine,
Sect. 3.1) or the distance its clusters are made with (Euclidean).
"""

import torch

from histolab_lite.kernels import check_finite, choose_backend

BACKENDS = ("reference", "cpu", "triton")
METRICS = ("cosine", "euclidean")


@torch.no_grad()
def nearest_prototype(
    x: torch.Tensor, prototypes: torch.Tensor, metric: str = "cosine", backend: str | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Find for every vector the closest prototype and how close it is.

    Of equally close prototypes the first wins. The fast backends compare by products, exact to rounding: of prototypes
    whose squared distances differ by less than about 1e-6 of the squared lengths either may win. The score is that of
    the winner.

    Parameters
    ----------
    x
        (N, D) float.
    prototypes
        (K, D) float on the same device, K >= 1.
    metric
        "cosine" or "euclidean".
    backend
        "reference", "cpu", "triton", or None for the fastest.

    Returns
    -------
    index : (N,) int64
        The closest prototype.
    score : (N,), in the dtype of ``x``
        The cosine similarity in [-1, 1], 0 for a zero vector; or the Euclidean distance. Carries no gradient.

    Raises
    ------
    ValueError
        For wrong shapes, an unknown metric, NaN, scores that overflow, or a backend that is not there.
    """
    if x.ndim != 2 or prototypes.ndim != 2 or x.shape[1] != prototypes.shape[1]:
        raise ValueError(f"x (N, D) and prototypes (K, D) must share D; got {(*x.shape,)} and {(*prototypes.shape,)}.")
    if len(prototypes) == 0:
        raise ValueError("there is no prototype to compare with: the dictionary is empty.")
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {METRICS}, not {metric!r}.")
    if not (x.is_floating_point() and prototypes.is_floating_point()):
        raise ValueError(f"x and prototypes must be floating point; got {x.dtype} and {prototypes.dtype}.")
    if x.device != prototypes.device:
        raise ValueError(f"x and prototypes must be on one device; got {x.device} and {prototypes.device}.")
    check_finite("prototypes", prototypes)
    implementation = choose_backend(__name__, BACKENDS, backend, x.device)
    index, score = implementation.nearest_prototype(x, prototypes, metric)
    # A value of x that is not finite spreads into its score: looking there saves a pass over x.
    if not torch.isfinite(score).all():
        check_finite("x", x)
        raise ValueError(f"scores overflow {score.dtype}; scale x and prototypes down or pass them as float32.")
    return index, score
