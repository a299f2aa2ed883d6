"""NT-Xent, the contrastive loss of SimCLR (Chen et al., ICML 2020, eq. 1 and Algorithm 1).

Proto2Seg trains its encoder with it (Pan et al., IPMI 2023, Sect. 3.1), temperature 0.5.
"""

import torch

from histolab_lite.kernels import check_finite, choose_backend

BACKENDS = ("reference", "cpu", "triton")
SMALL = 512  # up to so many views, a CPU's cache holds all similarities: streaming them would be slower


def nt_xent(z1: torch.Tensor, z2: torch.Tensor, temperature: float = 0.5, backend: str | None = None) -> torch.Tensor:
    """Return the mean over all 2N views of -log( exp(sim⁺/τ) / Σ_{k ≠ self} exp(sim_k/τ) ), sim the cosine similarity.

    "cpu" and "triton" need memory O(N·D), "reference" O(N²).

    Parameters
    ----------
    z1, z2
        (N, D) float, the projections of two views of the same N patches; N >= 2, because one pair has no negative.
    temperature
        τ > 0.
    backend
        "reference", "cpu", "triton", or None for the fastest.

    Returns
    -------
    loss : float32 scalar
        With or without autocast; differentiable in z1 and z2, once ("reference": twice).

    Raises
    ------
    ValueError
        For wrong shapes, fewer than two pairs, NaN, a temperature that is not positive, or a backend that is not there.
    """
    if z1.ndim != 2 or z1.shape != z2.shape:
        raise ValueError(f"z1 and z2 must both be (N, D); got {(*z1.shape,)} and {(*z2.shape,)}.")
    if len(z1) < 2:
        raise ValueError("a contrastive loss needs at least two pairs: with one there are no negatives.")
    if z1.shape[1] == 0:
        raise ValueError("a projection needs at least one number; z1 and z2 have D = 0.")
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, not {temperature}.")
    check_finite("z1", z1)
    check_finite("z2", z2)
    if backend is None and z1.device.type == "cpu" and 2 * len(z1) <= SMALL:
        backend = "reference"
    return choose_backend(__name__, BACKENDS, backend, z1.device).nt_xent(z1, z2, temperature)
