"""Contrast maps beside what one writes first: equation 4 by broadcasting, equation 5 for all pairs at once.

"broadcast" calls PyTorch's cosine similarity of all points' vectors with the whole feature map, once for the points
inside and once for those outside, then builds the (P, Q, H, W) maps. "reference.py" normalises the features and
takes one product with all points instead, which is the better way to write it. Nothing is asked of ours against it.
"""

from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.harness import Case, moved_bytes
from histolab_lite.kernels.contrast_maps import contrast_maps

ETA = 0.6


def broadcast(features: torch.Tensor, inside: torch.Tensor, outside: torch.Tensor) -> torch.Tensor:
    def correlations(points: torch.Tensor) -> torch.Tensor:  # (N, H, W)
        vectors = features[:, points[:, 0], points[:, 1]].T  # (N, C)
        return F.cosine_similarity(vectors[:, :, None, None], features[None], dim=1)

    contrast = (correlations(inside)[:, None] - ETA * correlations(outside)[None]).relu() ** 2  # (P, Q, H, W)
    low, high = contrast.amin((2, 3), keepdim=True), contrast.amax((2, 3), keepdim=True)
    return ((contrast - low) / (high - low)).mean(1)


def check(ours: torch.Tensor, peers: dict[str, Any]) -> str:
    gap = max((ours - theirs).abs().max().item() for theirs in peers.values())
    assert gap < 1e-5, f"differs from the others by {gap:.1e}"
    return f"maps within {gap:.1e} of the others, in [0, 1]"


def cases() -> list[Case]:
    generator = torch.Generator().manual_seed(0)
    c, h, w, n = 256, 256, 256, 5
    features = torch.randn(c, h, w, generator=generator)
    inside, outside = (torch.randint(h, (n, 2), generator=generator) for _ in range(2))
    if torch.cuda.is_available():
        features = features.cuda()
    device = features.device.type
    return [
        Case(
            "contrast maps",
            f"{c} × {h} × {w}, {n} + {n} points",
            lambda: contrast_maps(features, inside, outside, ETA),
            {
                "broadcast": lambda: broadcast(features, inside, outside),
                "reference.py": lambda: contrast_maps(features, inside, outside, ETA, "reference"),
            },
            at_least={"broadcast": 3.0},
            memory_at_most={"broadcast": 1 / 5},
            bound=moved_bytes(4 * features.numel(), device),  # the features, read once
            check=check,
            device=device,
        )
    ]
