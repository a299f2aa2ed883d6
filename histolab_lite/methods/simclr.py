"""SimCLR on tissue patches: an encoder learns without labels.

Chen et al., "A simple framework for contrastive learning of visual representations", ICML 2020; as used by Proto2Seg
(Pan et al., IPMI 2023, Sect. 3.1): ResNet18, average pooling, a projection to 128 dimensions, temperature 0.5.
"""

from typing import Unpack

import numpy as np
import torch
from torch import nn

from histolab_lite.data.augment import contrastive_views
from histolab_lite.data.batches import check_patches, to_input
from histolab_lite.kernels.nt_xent import nt_xent
from histolab_lite.models.encoder import PatchEncoder
from histolab_lite.processes import gather
from histolab_lite.training import TrainOptions, fit, pick_device, with_defaults


class SimCLR(nn.Module):
    """Encoder, average pooling and projection head: (B, 3, P, P) in [0, 1] -> (B, projection).

    Parameters
    ----------
    encoder
        The network to train, f in the paper.
    projection
        Dimensions of the projection, g in the paper.
    """

    def __init__(self, encoder: PatchEncoder, projection: int = 128) -> None:
        super().__init__()
        self.encoder = encoder
        c = encoder.channels
        self.head = nn.Sequential(
            nn.Linear(c, c, bias=False), nn.BatchNorm1d(c), nn.ReLU(inplace=True), nn.Linear(c, projection)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Project patches in [0, 1], (B, 3, P, P) -> (B, projection)."""
        return self.head(self.encoder(x).mean((2, 3)))


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
    """Train an encoder in place to tell patches apart whatever their crop, orientation and stain.

    Parameters
    ----------
    patches
        uint8 (N, P, P, 3), N >= 2.
    temperature
        τ of NT-Xent.
    view_size
        Side in pixels of the window that a view shows, by default ¾ P.
    stain_strength, grey, zoom
        As in `contrastive_views`.
    options
        See `TrainOptions`. ``epochs`` has no default; the others are batches of 256 and a learning rate of 1e-3.

    Returns
    -------
    list of float
        The mean NT-Xent loss of every epoch. A network that knows nothing reaches log(2B - 1).

    Raises
    ------
    ValueError
        These are no patches, fewer than two, or smaller than a view.
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
