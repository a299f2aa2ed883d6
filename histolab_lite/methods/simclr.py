"""SimCLR on tissue patches: an encoder learnt without labels.

Chen et al., "A simple framework for contrastive learning of visual representations", ICML 2020; as used by Proto2Seg
(Pan et al., IPMI 2023, Sect. 3.1): ResNet18, average pooling, a projection to 128 dimensions, temperature 0.5.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from histolab_lite.data.augment import contrastive_views
from histolab_lite.kernels.nt_xent import nt_xent
from histolab_lite.models.encoder import PatchEncoder
from histolab_lite.training import Checkpoint, fit, pick_device


class SimCLR(nn.Module):
    """Encoder f, average pooling, projection head g: (B, 3, P, P) in [0, 1] -> z (B, projection)."""

    def __init__(self, encoder: PatchEncoder, projection: int = 128) -> None:
        super().__init__()
        self.encoder = encoder
        c = encoder.channels
        self.head = nn.Sequential(
            nn.Linear(c, c, bias=False), nn.BatchNorm1d(c), nn.ReLU(inplace=True), nn.Linear(c, projection)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(x).mean((2, 3)))


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(z) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, z)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)  # this process's z is in every process's loss
        return total.chunk(dist.get_world_size())[dist.get_rank()]


def gather(z: torch.Tensor) -> torch.Tensor:
    """(b, D) of this process -> (B, D) of all, differentiable: every process then has the whole batch's negatives."""
    if dist.is_available() and dist.is_initialized():
        return _Gather.apply(z.contiguous())
    return z


def pretrain(
    encoder: PatchEncoder,
    patches: np.ndarray,
    *,
    epochs: int,
    batch_size: int = 256,
    lr: float = 1e-3,
    weight_decay: float = 1e-4,
    temperature: float = 0.5,
    view_size: int | None = None,
    stain_strength: float = 0.4,
    grey: float = 0.1,
    zoom: tuple[float, float] | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    checkpoint: Checkpoint | None = None,
    progress: str | None = "SimCLR",
    after_epoch: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train ``encoder`` in place to tell patches apart whatever their crop, orientation and stain.

    patches: uint8 (N, P, P, 3), N >= 2. view_size: side in pixels of the window a view shows, by default ¾ P.
    stain_strength, grey, zoom: as of `contrastive_views`.
    Returns the mean NT-Xent loss of every epoch (log(2B - 1) is what a network that knows nothing reaches).
    """
    if patches.ndim != 4 or patches.shape[3] != 3 or patches.dtype != np.uint8 or len(patches) < 2:
        raise ValueError(f"expected at least two patches, uint8 (N, P, P, 3); got {patches.dtype} {patches.shape}.")
    size = patches.shape[1]
    view_size = view_size or max(3 * size // 4, 1)
    if view_size > size:
        raise ValueError(f"a view of {view_size} pixels cannot be cut from a patch of {size}; choose a smaller one.")
    device = pick_device(device)
    torch.manual_seed(seed)  # the head's initial weights
    model = SimCLR(encoder)
    views = contrastive_views(view_size, stain_strength, grey, zoom).to(device)

    def loss(model: nn.Module, indices: torch.Tensor) -> torch.Tensor:
        batch = torch.from_numpy(patches[indices.numpy()]).to(device)
        x = batch.permute(0, 3, 1, 2).float() / 255
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            pair = torch.cat([views(x), views(x)])
        z1, z2 = model(pair).float().chunk(2)
        return nt_xent(gather(z1), gather(z2), temperature)

    return fit(
        model,
        loss,
        len(patches),
        data=patches,
        epochs=epochs,
        batch_size=min(batch_size, len(patches)),
        lr=lr,
        weight_decay=weight_decay,
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        progress=progress,
        after_epoch=after_epoch,
        settings={
            "temperature": temperature,
            "view_size": view_size,
            "stain_strength": stain_strength,
            "grey": grey,
            "zoom": zoom,
        },
    )
