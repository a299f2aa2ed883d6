"""Dropout attention, forward and backward, at the size that its authors train at: 4096 channels of 28 × 28."""

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.harness import Case, moved_bytes
from histolab_lite.kernels.dropout_attention import dropout_attention

MU = 0.7


def check(ours: Any, peers: dict[str, Any]) -> str:
    worst = 0.0
    for theirs in peers.values():
        for mine, other in zip(ours, theirs, strict=True):
            worst = max(worst, ((mine - other).abs().max() / other.abs().max()).item())
    assert worst < 1e-5, f"differs by {worst:.1e} of the largest number"
    return f"result and gradients within {worst:.1e} of the largest number"


def cases() -> list[Case]:
    generator = torch.Generator().manual_seed(0)
    b, c, side, k = 8, 4096, 28, 4
    device = "cuda" if torch.cuda.is_available() else "cpu"
    features = torch.randn(b, c, side, side, generator=generator).relu().to(device)
    weights = (0.02 * torch.randn(k, c, generator=generator)).to(device)
    upstream = torch.randn(features.shape, generator=generator).to(device)

    def trained(backend: str | None) -> Callable[[], Any]:
        def call() -> tuple[torch.Tensor, ...]:
            m, omega = (t.detach().requires_grad_() for t in (features, weights))
            result = dropout_attention(m, omega, MU, backend)
            return result.detach(), *torch.autograd.grad(result, (m, omega), upstream)

        return call

    return [
        Case(
            "dropout attention",
            f"{b} × {c} × {side} × {side}, K = {k}, forward and backward",
            trained(None),
            {"reference.py": trained("reference")},
            # Forward reads the features and writes the result, backward reads features and gradient and writes one.
            bound=moved_bytes(5 * 4 * features.numel(), device),
            check=check,
            device=device,
        )
    ]
