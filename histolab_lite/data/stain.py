"""Haematoxylin and eosin in optical density, where stains add up.

Beer–Lambert: I = I₀·10^(−OD), OD = concentrations · stain vectors. Ruifrok and Johnston, "Quantification of
histochemical staining by color deconvolution", Anal. Quant. Cytol. Histol. 2001.
"""

import torch

# Unit optical-density vectors (R, G, B) of haematoxylin and eosin; the third completes them to a basis.
HAEMATOXYLIN = (0.650, 0.704, 0.286)
EOSIN = (0.072, 0.990, 0.105)


def stain_matrix() -> torch.Tensor:
    """Return (3, 3): the unit vectors of haematoxylin, of eosin and of the residual, which is orthogonal to both."""
    h, e = (torch.nn.functional.normalize(torch.tensor(vector), dim=0) for vector in (HAEMATOXYLIN, EOSIN))
    return torch.stack([h, e, torch.nn.functional.normalize(torch.linalg.cross(h, e), dim=0)])


def to_optical_density(rgb: torch.Tensor) -> torch.Tensor:
    """Convert float RGB in [0, 1] to optical density ≥ 0 (white is 0); black is clipped at one grey level of 255."""
    return -rgb.clamp(1 / 255, 1).log10()


def from_optical_density(density: torch.Tensor) -> torch.Tensor:
    """Convert optical density to float RGB in [0, 1]."""
    return torch.pow(10.0, -density.clamp(min=0))


def concentrations(rgb: torch.Tensor) -> torch.Tensor:
    """Unmix float RGB (..., 3) in [0, 1] into amounts of haematoxylin, eosin and residual (..., 3)."""
    return to_optical_density(rgb) @ torch.linalg.inv(stain_matrix()).to(rgb)
