"""Random variations of patches, made in batches on the model's device; above all two views for contrastive learning.

The recipe of SimCLR (Chen et al., ICML 2020, Appendix A) with what histology changes. There is no up and down, so any
flip and quarter turn. Scale is known and means something, the size of nuclei above all, so a view is a window of the
patch as it is, unless `zoom` asks for more. Colour is the laboratory's, so it is varied per stain in optical density
(Tellez et al., Med. Image Anal. 2019) rather than in RGB, and gently: how much each takes up is also the tissue's.
"""

import torch
from kornia.augmentation import (
    AugmentationSequential,
    RandomCrop,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation90,
    RandomVerticalFlip,
)
from torch import nn

from histolab_lite.data.stain import from_optical_density, stain_matrix, to_optical_density


class StainJitter(nn.Module):
    """Vary each stain's amount, background and colour, one draw a patch.

    strength: standard deviation of the log-factor on the amounts; the noise on the stain vectors is a fifth of it.
    (B, 3, H, W) float in [0, 1] -> same.
    """

    stains: torch.Tensor

    def __init__(self, strength: float = 0.4) -> None:
        super().__init__()
        self.strength = strength
        self.register_buffer("stains", stain_matrix(), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b = len(x)
        noise = torch.randn(b, 3, 3, device=x.device) * self.strength / 5
        vectors = nn.functional.normalize(self.stains + noise, dim=2)
        vectors = vectors.maximum(self.stains.clamp(max=0))  # stains absorb: only the residual has a negative side
        gains = torch.exp(torch.randn(b, 3, 1, device=x.device) * self.strength)
        # Unmix with the standard vectors, re-mix with the patch's own: one 3×3 matrix a patch.
        remix = torch.linalg.inv(self.stains) @ (gains * vectors)  # (B, 3, 3)
        density = torch.einsum("bchw,bcd->bdhw", to_optical_density(x), remix)
        light = torch.randn(b, 1, 1, 1, device=x.device) * 0.02
        return from_optical_density(density + light)


def random_flips(x: torch.Tensor, *masks: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Each patch upside down or not, mirrored or not, and its masks likewise: (B, C, H, W), (B, H, W)… -> the same."""
    for axis in (1, 2):
        flipped = torch.rand(len(x), 1, 1, device=x.device) < 0.5
        x = torch.where(flipped[:, None], x.flip(axis + 1), x)
        masks = tuple(torch.where(flipped, mask.flip(axis), mask) for mask in masks)
    return x, *masks


def contrastive_views(
    size: int, stain_strength: float = 0.4, grey: float = 0.1, zoom: tuple[float, float] | None = None
) -> nn.Module:
    """A random view of each patch: (B, 3, P, P) float in [0, 1] -> (B, 3, size, size); call it twice for a pair.

    size: side of the window cut out of the patch, in pixels, at most P. grey: share of views without colour.
    zoom: the window's share of the patch's area, least and most; it is then brought to `size`, as SimCLR does.
    """
    crop = RandomResizedCrop((size, size), scale=zoom, ratio=(1.0, 1.0)) if zoom else RandomCrop((size, size))
    return nn.Sequential(
        AugmentationSequential(
            crop,
            RandomHorizontalFlip(),
            RandomVerticalFlip(),
            RandomRotation90((0, 3), p=1.0),
            data_keys=["input"],
        ),
        StainJitter(stain_strength),
        AugmentationSequential(
            RandomGrayscale(p=grey), RandomGaussianBlur((5, 5), (0.1, 1.5), p=0.3), data_keys=["input"]
        ),
    )
