"""Convex Chan–Vese segmentation: two phases of a map, with a boundary that is short and prefers the map's edges.

Equation 6 of Zhang, Burrows, Meng et al., "Weakly supervised segmentation with point annotations for histopathology
images via contrast-based variational model", CVPR 2023; the convex form is of Chan, Esedoglu and Nikolova (2006), the
edge weight of Bresson et al. (2007), additive operator splitting (AOS) of Weickert, ter Haar Romeny and Viergever
(IEEE Trans. Image Process. 1998).
"""

import torch

from histolab_lite.kernels import check_finite, choose_backend

BACKENDS = ("reference", "cpu", "triton")


def chan_vese(
    z: torch.Tensor,
    lam: float = 10.0,
    epsilon: float = 0.01,
    edge: float = 1.0,
    tolerance: float = 1e-4,
    max_iter: int = 500,
    return_energy: bool = False,
    backend: str | None = None,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Find the u in [0, 1] that minimises a convex energy over the pixels of each map z (eq. 6).

    ::

        E(u) = Σ g(|∇z|) (√(|∇u|² + ε²) - ε)  +  λ Σ ((z - c1)² u + (z - c2)² (1 - u))

    c1 and c2 are the means of z weighted by u and by 1 - u, and g(s) = 1 / (1 + edge·s²). E is equation 6 plus
    λ Σ (z - c2)², which does not depend on u; with this term the paper's c1 and c2 have the least energy. The gradient
    of u is the forward difference to the next row and column, and 0 in the last ones. The gradient of z is the central
    difference; z is repeated past the border. Segment by u >= 0.5: phase 1 is the brighter one. E is convex in u, but
    not in u and the means together: the search starts from the two-means threshold of z.

    The first call on a CPU compiles for some seconds; numba keeps the result for later processes.

    Parameters
    ----------
    z
        (B, H, W) float in [0, 1], such as contrast maps.
    lam
        λ, per pixel. A disc of radius R pixels survives the smoothing if R is above about 2 / (λ (c1 - c2)²).
    epsilon
        ε, in units of u per pixel; rounds the corner of the total variation. A smaller ε gives a sharper u, but the
        solver is slower.
    edge
        1 for the paper's g; larger values draw the boundary to weaker edges of z, 0 ignores them.
    tolerance
        Stop a map when its last 20 iterations lowered its energy by no more than ``tolerance`` × the energy. At 1e-4
        the energy is then about 1e-4 of itself above the minimum.
    max_iter
        Largest number of iterations. Each covers 0.6 units of the descent's time; a step that would raise the energy is
        undone and made again with half the time.
    return_energy
        Also return the energy.
    backend
        "reference", "cpu", "triton", or None for the fastest.

    Returns
    -------
    u : (B, H, W) float32
        It carries no gradient, and none is taken through z.
    E : (T + 1, B)
        With ``return_energy``: at the start and after each of the T iterations. It never rises, and repeats its last
        value for a map that has stopped before the others.

    Raises
    ------
    ValueError
        For a wrong shape, values that are NaN or outside [0, 1], parameters out of range, or a backend that is not
        there.
    """
    if z.ndim != 3:
        raise ValueError(f"z must be maps (B, H, W); got {(*z.shape,)}. Give a single map as z[None].")
    if not z.is_floating_point():
        raise ValueError(f"z must be floating point in [0, 1], not {z.dtype}; divide it by its largest value.")
    check_finite("z", z)
    if z.numel() and not (z.min() >= 0 and z.max() <= 1):
        raise ValueError(f"z must lie in [0, 1]; it spans {z.min():.3g} to {z.max():.3g}. Rescale every map.")
    if not (lam > 0 and epsilon > 0 and edge >= 0 and tolerance >= 0 and max_iter >= 1):
        raise ValueError(
            "lam and epsilon must be positive, edge and tolerance at least 0, max_iter at least 1; "
            f"got {lam}, {epsilon}, {edge}, {tolerance} and {max_iter}."
        )
    implementation = choose_backend(__name__, BACKENDS, backend, z.device)
    z = z.detach().float().contiguous()
    if z.numel() == 0:
        return (z, z.new_zeros(1, z.shape[0])) if return_energy else z
    with torch.no_grad():
        u, trace = implementation.chan_vese(z, lam, epsilon, edge, tolerance, max_iter)
    return (u, trace) if return_energy else u
