"""From stain to light: each slide's own stain vectors, the microscope and the camera.

Beer-Lambert absorption along the haematoxylin and eosin vectors of Ruifrok & Johnston, "Quantification of
histochemical staining by color deconvolution", Anal Quant Cytol Histol 2001. The vectors vary, as laboratories and
scanners do; section thickness, illumination, blur and noise follow.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .fields import smooth_noise

BLUE, PURPLE = (
    np.array([0.80, 0.57, 0.18]),
    np.array([0.56, 0.75, 0.34]),
)  # haematoxylins around (0.65, 0.70, 0.29)
MAGENTA, CORAL = (
    np.array([0.22, 0.93, 0.26]),
    np.array([0.05, 0.84, 0.54]),
)  # eosins around (0.07, 0.99, 0.11)


def develop(haem: np.ndarray, eosin: np.ndarray, mpp: float, rng: np.random.Generator) -> np.ndarray:
    """Photograph stain concentrations (H, W): uint8 RGB (H, W, 3)."""
    shape = haem.shape
    mix = rng.random(2)
    vectors = np.stack([BLUE + (PURPLE - BLUE) * mix[0], MAGENTA + (CORAL - MAGENTA) * mix[1]])
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    strength = np.exp(np.clip(rng.normal(0.1, 0.26, 2), -0.4, 0.5)) * [1.1, 1.1]
    thickness = 0.16 * smooth_noise(rng, shape, 220 / mpp) + 0.08 * smooth_noise(rng, shape, 60 / mpp)
    balance = 0.18 * smooth_noise(rng, shape, 180 / mpp)
    haem = haem * (strength[0] * np.exp(thickness + balance))
    eosin = eosin * (strength[1] * np.exp(thickness - balance))

    focus = rng.uniform(0.2, 0.55) / mpp
    if focus > 0.25:
        haem, eosin = ndimage.gaussian_filter(haem, focus), ndimage.gaussian_filter(eosin, focus)
    glass = rng.uniform(236, 250) + rng.normal(0, 2.0, 3)
    light = 1.0 + 0.012 * smooth_noise(rng, shape, 500 / mpp)
    gamma, noise = rng.uniform(0.85, 1.15), rng.uniform(0.8, 3.0)
    image = np.empty((*shape, 3), np.uint8)
    for k in range(3):
        absorbed = np.exp(-gamma * (haem * vectors[0, k] + eosin * vectors[1, k]))
        grain = rng.standard_normal(shape, dtype=np.float32)
        image[..., k] = np.clip(np.rint(glass[k] * light * absorbed + noise * grain), 0, 255)
    return image
