"""Plain PyTorch: the specification."""

import torch
import torch.nn.functional as F


def nearest_prototype(x: torch.Tensor, prototypes: torch.Tensor, metric: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Compare all pairs (N, K)."""
    dtype = x.dtype
    # Half precision is too coarse for the comparison, and its squares overflow.
    wide = torch.promote_types(torch.promote_types(dtype, prototypes.dtype), torch.float32)
    x, prototypes = x.to(wide), prototypes.to(wide)
    if metric == "cosine":
        similarity = F.normalize(x, dim=1) @ F.normalize(prototypes, dim=1).T  # (N, K)
        score, index = similarity.max(dim=1)
        score = score.clamp(-1, 1)  # rounding
    else:
        # Not through the matrix product: |x|² - 2 x·p + |p|² cancels when x lies on a prototype.
        distance = torch.cdist(x, prototypes, compute_mode="donot_use_mm_for_euclid_dist")  # (N, K)
        score, index = distance.min(dim=1)
    return index, score.to(dtype)
