"""NT-Xent, the contrastive loss of SimCLR (Chen et al., ICML 2020, eq. 1 and Algorithm 1).

Proto2Seg trains its encoder with it (Pan et al., IPMI 2023, Sect. 3.1), temperature 0.5.
"""

import torch

from histolab_lite.kernels import choose_backend
from histolab_lite.kernels.nt_xent import reference


def nt_xent(
    z1: torch.Tensor, z2: torch.Tensor, temperature: float = 0.5, backend: str | None = None
) -> torch.Tensor:
    """Mean over all 2N views of -log( exp(sim⁺/τ) / Σ_{k ≠ self} exp(sim_k/τ) ), sim the cosine similarity.

    z1, z2: (N, D) float, the projections of two views of the same N patches, N >= 2 (one pair has no negative).
    Returns a scalar; differentiable in both.

    Raises ValueError for wrong shapes, fewer than two pairs, or a temperature that is not positive.
    """
    if z1.ndim != 2 or z1.shape != z2.shape:
        raise ValueError(f"z1 and z2 must both be (N, D); got {(*z1.shape,)} and {(*z2.shape,)}.")
    if len(z1) < 2:
        raise ValueError("a contrastive loss needs at least two pairs: with one there are no negatives.")
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, not {temperature}.")
    return choose_backend({"reference": reference}, backend, z1.device).nt_xent(z1, z2, temperature)
