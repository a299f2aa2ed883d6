"""Contrast maps: where features resemble the points clicked inside the target more than those clicked outside it.

Zhang et al., "Weakly supervised segmentation with point annotations for histopathology images via contrast-based
variational model", CVPR 2023, eq. 4 and 5, and the mean z_p of eq. 6.
"""

from collections.abc import Sequence

import torch

from histolab_lite.kernels import check_finite, choose_backend

BACKENDS = ("reference", "cpu", "triton")
FLAT = 1e-6  # a map that spans no more than this holds only rounding errors of float32


def contrast_maps(
    features: torch.Tensor,
    inside: torch.Tensor | Sequence[Sequence[int]],
    outside: torch.Tensor | Sequence[Sequence[int]],
    eta: float = 0.6,
    backend: str | None = None,
) -> torch.Tensor:
    """Return for every in-target point p the mean over the out-of-target points q of the contrast maps C_pq.

    ::

        S_p(x) = cosine(feature at p, feature at x),    C_pq = N( ReLU(S_p - η S_q)² ),    z_p = mean_q C_pq

    N stretches a map to [0, 1] by its own minimum and maximum. A constant map (one that spans at most 1e-6) becomes 0.
    A zero feature vector has cosine 0 with everything. "cpu" and "triton" hold P + Q maps, never P·Q, and no copy of
    the features.

    Parameters
    ----------
    features
        (C, H, W) float.
    inside, outside
        (P, 2) and (Q, 2) integers, (row, col) on the feature grid; P, Q >= 1.
    eta
        η in [0, 1]: how much of the similarity to an out-of-target point is subtracted.
    backend
        "reference", "cpu", "triton", or None for the fastest.

    Returns
    -------
    z : (P, H, W) float32
        In [0, 1], without gradient: the paper trains towards its segmentation, never through it.

    Raises
    ------
    ValueError
        For wrong shapes, no point on either side, a point off the grid, eta outside [0, 1], NaN, or a backend that is
        not there.
    """
    if features.ndim != 3 or not features.is_floating_point():
        raise ValueError(f"features must be floating point (C, H, W); got {features.dtype} {(*features.shape,)}.")
    if features.numel() == 0:
        raise ValueError(f"the feature map is empty: {(*features.shape,)}.")
    if not 0 <= eta <= 1:
        raise ValueError(f"eta must lie in [0, 1], not {eta}.")
    points = {"inside": _points("inside", inside, features), "outside": _points("outside", outside, features)}
    check_finite("features", features)
    with torch.no_grad():
        return choose_backend(__name__, BACKENDS, backend, features.device).contrast_maps(features, **points, eta=eta)


def _points(name: str, points: torch.Tensor | Sequence[Sequence[int]], features: torch.Tensor) -> torch.Tensor:
    """Check points; return them as (N, 2) int64 on the features' device."""
    where = torch.as_tensor(points)
    if where.numel() == 0:
        raise ValueError(f"{name} holds no point; click at least one in the target and one out of it.")
    if where.ndim != 2 or where.shape[1] != 2 or where.is_floating_point() or where.dtype == torch.bool:
        raise ValueError(f"{name} must be (N, 2) whole numbers, (row, col); got {where.dtype} {(*where.shape,)}.")
    grid = torch.tensor(features.shape[1:], device=where.device)
    for row, column in where[((where < 0) | (where >= grid)).any(1)].tolist():
        raise ValueError(
            f"{name}: the point ({row}, {column}) lies off the feature grid of {(*grid.tolist(),)} (rows, columns); "
            "points are positions on that grid, not pixels of the image."
        )
    return where.to(features.device, torch.int64)
