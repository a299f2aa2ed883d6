"""NT-Xent, forward and backward, beside the two libraries that people train SimCLR with.

pytorch-metric-learning marks for every positive pair which of all negative pairs share its anchor, at least (2N)³
bytes: 550 GB at 2N = 8192. Both are therefore also measured at 2N = 512, the batch of 256 that Proto2Seg trains with.
"""

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.harness import Case, bare_matmul
from histolab_lite.kernels.nt_xent import nt_xent

TEMPERATURE = 0.5


def value_and_gradients(loss: Callable[..., torch.Tensor], z1: torch.Tensor, z2: torch.Tensor) -> Callable[[], Any]:
    def call() -> tuple[torch.Tensor, ...]:
        views = [z.detach().requires_grad_() for z in (z1, z2)]
        value = loss(*views)
        return value.detach(), *torch.autograd.grad(value, views)

    return call


def lightly(z1: torch.Tensor, z2: torch.Tensor) -> torch.Tensor:
    from lightly.loss import NTXentLoss

    return NTXentLoss(TEMPERATURE)(z1, z2)


def metric_learning(z1: torch.Tensor, z2: torch.Tensor) -> torch.Tensor:
    from pytorch_metric_learning.losses import NTXentLoss, SelfSupervisedLoss

    views = 2 * len(z1)
    mask = views * views * (views - 2)  # bytes, for each positive pair all the negative ones
    if mask > 64e9:  # some systems grant it and then stop
        raise MemoryError(f"its mask of positive × negative pairs takes {mask / 1e9:,.0f} GB")
    return SelfSupervisedLoss(NTXentLoss(TEMPERATURE))(z1, z2)


def check(ours: Any, peers: dict[str, Any]) -> str:
    worst = 0.0
    for name, theirs in peers.items():
        for mine, other in zip(ours, theirs, strict=True):
            gap = ((mine - other).abs().max() / other.abs().max()).item()
            assert gap < 1e-4, f"differs from {name} by {gap:.1e} of the largest number"
            worst = max(worst, gap)
    return f"loss and gradients within {worst:.1e} of the peers' largest number"


def cases() -> list[Case]:
    made = []
    for views, peers, at_least in (
        (8192, {"lightly": lightly, "pytorch-metric-learning": metric_learning}, 1.5),
        (512, {"lightly": lightly, "pytorch-metric-learning": metric_learning}, 1.5),
    ):
        z1, z2 = torch.randn(2, views // 2, 128, generator=torch.Generator().manual_seed(0))
        if torch.cuda.is_available():
            z1, z2 = z1.cuda(), z2.cuda()
        contenders = {name: value_and_gradients(peer, z1, z2) for name, peer in peers.items()}
        square = value_and_gradients(lambda a, b: nt_xent(a, b, TEMPERATURE, "reference"), z1, z2)
        made.append(
            Case(
                "NT-Xent",
                f"2N = {views}, D = 128, forward and backward",
                value_and_gradients(lambda a, b: nt_xent(a, b, TEMPERATURE), z1, z2),
                {**contenders, "reference.py": square},
                at_least={name: at_least for name in peers},
                memory_at_most={name: 1 / 8 for name in peers} if views > 512 else {},
                # Each similarity is needed in both passes, and each gives a gradient: by symmetry two products of this.
                bound=bare_matmul(views, 256, views, device=z1.device.type),
                check=check,
                device=z1.device.type,
            )
        )
    return made
