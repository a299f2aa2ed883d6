"""Nearest prototype: which row of a dictionary is closest to each feature vector.

The query of Proto2Seg (Pan et al., IPMI 2023, Sect. 3.3), with the similarity its encoder is trained for (cosine,
Sect. 3.1) or the distance its clusters are made with (Euclidean).
"""

import torch

from histolab_lite.kernels import check_finite, choose_backend
from histolab_lite.kernels.nearest_prototype import reference

METRICS = ("cosine", "euclidean")


def nearest_prototype(
    x: torch.Tensor, prototypes: torch.Tensor, metric: str = "cosine", backend: str | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """For every vector the closest prototype and how close it is. Of equally close ones the first wins.

    x: (N, D) float, prototypes: (K, D) float on the same device, K >= 1.
    Returns index (N,) int64 and score (N,) in the dtype of ``x``: the cosine similarity in [-1, 1], or the
    Euclidean distance. A zero vector has similarity 0 to everything.

    Raises ValueError for wrong shapes, an unknown metric, NaN, or a backend that is not there.
    """
    if x.ndim != 2 or prototypes.ndim != 2 or x.shape[1] != prototypes.shape[1]:
        raise ValueError(f"x (N, D) and prototypes (K, D) must share D; got {(*x.shape,)} and {(*prototypes.shape,)}.")
    if len(prototypes) == 0:
        raise ValueError("there is no prototype to compare with: the dictionary is empty.")
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {METRICS}, not {metric!r}.")
    if not (x.is_floating_point() and prototypes.is_floating_point()):
        raise ValueError(f"x and prototypes must be floating point; got {x.dtype} and {prototypes.dtype}.")
    check_finite("x", x)
    check_finite("prototypes", prototypes)
    implementation = choose_backend({"reference": reference}, backend, x.device)
    return implementation.nearest_prototype(x, prototypes, metric)
