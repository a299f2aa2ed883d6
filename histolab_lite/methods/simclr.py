"""SimCLR on tissue patches: an encoder learnt without labels.

Chen et al., "A simple framework for contrastive learning of visual representations", ICML 2020; as used by Proto2Seg
(Pan et al., IPMI 2023, Sect. 3.1): ResNet18, average pooling, a projection to 128 dimensions, temperature 0.5.
"""

from typing import Any, Unpack

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from histolab_lite.data.augment import contrastive_views
from histolab_lite.data.batches import check_patches, to_input
from histolab_lite.kernels.nt_xent import nt_xent
from histolab_lite.models.encoder import PatchEncoder
from histolab_lite.training import TrainOptions, fit, pick_device, with_defaults


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
    temperature: float = 0.5,
    view_size: int | None = None,
    stain_strength: float = 0.4,
    grey: float = 0.1,
    zoom: tuple[float, float] | None = None,
    **options: Unpack[TrainOptions],
) -> list[float]:
    """Train ``encoder`` in place to tell patches apart whatever their crop, orientation and stain.

    patches: uint8 (N, P, P, 3), N >= 2. view_size: side in pixels of the window a view shows, by default ¾ P.
    stain_strength, grey, zoom: as of `contrastive_views`. options: see `TrainOptions`; ``epochs`` has no default, the
    others are batches of 256 and a learning rate of 1e-3.
    Returns the mean NT-Xent loss of every epoch (log(2B - 1) is what a network that knows nothing reaches).
    """
    options = with_defaults(options, batch_size=256, lr=1e-3, seed=0, progress="SimCLR")
    check_patches(patches, least=2)
    size = patches.shape[1]
    view_size = view_size or max(3 * size // 4, 1)
    if view_size > size:
        raise ValueError(f"a view of {view_size} pixels cannot be cut from a patch of {size}; choose a smaller one.")
    options["batch_size"] = min(options["batch_size"], len(patches))
    device = pick_device(options.get("device"))
    torch.manual_seed(options["seed"])  # the head's initial weights
    model = SimCLR(encoder)
    views = contrastive_views(view_size, stain_strength, grey, zoom).to(device)

    def loss(model: nn.Module, indices: torch.Tensor) -> torch.Tensor:
        x = to_input(patches[indices.numpy()], device)
        with torch.autocast(device.type, enabled=False):
            pair = torch.cat([views(x), views(x)])
        z1, z2 = model(pair).float().chunk(2)
        return nt_xent(gather(z1), gather(z2), temperature)

    return fit(
        model,
        loss,
        len(patches),
        data=patches,
        settings={
            "temperature": temperature,
            "view_size": view_size,
            "stain_strength": stain_strength,
            "grey": grey,
            "zoom": zoom,
        },
        **options,
    )
