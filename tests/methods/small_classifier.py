"""A narrow classifier and images for it, for tests of what is made of its maps."""

import numpy as np
import torch
import torch.nn.functional as F

from histolab_lite.methods.mlps import Classifier

CLASSES = 3


def classifier(classes: int = CLASSES, width: float = 1 / 64) -> Classifier:
    """Untrained."""
    torch.manual_seed(0)
    model = Classifier(classes, width).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # so that maps differ from place to place, and in sign
            module.running_mean.normal_(0, 0.1)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.3)
    return model


def patches(n: int = 5, height: int = 24, width: int = 32, seed: int = 0) -> np.ndarray:
    noise = torch.rand(n, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(seed))
    smooth = F.interpolate(noise, (height, width), mode="bilinear")
    return (smooth * 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def random_images(*args: int) -> torch.Tensor:
    return torch.from_numpy(patches(*args)).permute(0, 3, 1, 2) / 255
