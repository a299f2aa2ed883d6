"""Random variations of patches, made in batches on the model's device; above all two views for contrastive learning.

The recipe of SimCLR (Chen et al., ICML 2020, Appendix A), adapted to histology. Tissue has no up and down: all flips
and quarter turns are used. The scale is known and has a meaning, above all the size of nuclei: a view is a window of
the patch at its own scale, unless `zoom` asks for more. Colour depends on the laboratory: it is varied per stain in
optical density (Tellez et al., Med. Image Anal. 2019) rather than in RGB. It is varied only a little, because the
amount of each stain also depends on the tissue.
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
    """Vary each stain's amount and colour, and the background, with one draw per patch.

    Parameters
    ----------
    strength
        Standard deviation of the log-factor on the amounts; the noise on the stain vectors is a fifth of it.
    """

    stains: torch.Tensor

    def __init__(self, strength: float = 0.4) -> None:
        super().__init__()
        self.strength = strength
        self.register_buffer("stains", stain_matrix(), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Vary patches (B, 3, H, W) float in [0, 1]; same shape and range."""
        b = len(x)
        noise = torch.randn(b, 3, 3, device=x.device) * self.strength / 5
        vectors = nn.functional.normalize(self.stains + noise, dim=2)
        vectors = vectors.maximum(self.stains.clamp(max=0))  # stains absorb: only the residual may be negative
        gains = torch.exp(torch.randn(b, 3, 1, device=x.device) * self.strength)
        # Unmix with the standard vectors, mix again with the patch's own: one 3×3 matrix per patch.
        remix = torch.linalg.inv(self.stains) @ (gains * vectors)  # (B, 3, 3)
        density = torch.einsum("bchw,bcd->bdhw", to_optical_density(x), remix)
        light = torch.randn(b, 1, 1, 1, device=x.device) * 0.02
        return from_optical_density(density + light)


def random_flips(x: torch.Tensor, *masks: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Flip each patch (B, C, H, W) at random along either axis, and its masks, (B, H, W) each, in the same way."""
    for axis in (1, 2):
        flipped = torch.rand(len(x), 1, 1, device=x.device) < 0.5
        x = torch.where(flipped[:, None], x.flip(axis + 1), x)
        masks = tuple(torch.where(flipped, mask.flip(axis), mask) for mask in masks)
    return x, *masks


def contrastive_views(
    size: int, stain_strength: float = 0.4, grey: float = 0.1, zoom: tuple[float, float] | None = None
) -> nn.Module:
    """Build a module that makes a random view of each patch; call it twice for a pair.

    Parameters
    ----------
    size
        Side in pixels of the window that is cut out of a patch of P × P pixels; at most P.
    stain_strength
        As for `StainJitter`.
    grey
        Share of views without colour.
    zoom
        Smallest and largest share of the patch's area in the window, which is then resized to `size`, as in SimCLR.
        None: a window of `size` pixels.

    Returns
    -------
    views : nn.Module
        (B, 3, P, P) float in [0, 1] -> (B, 3, size, size).
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
