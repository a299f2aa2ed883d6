"""Two tissues, pink and violet, for tests of what learns to tell them apart."""

import numpy as np
import torch
from torch import nn

PINK, VIOLET = [235, 160, 200], [120, 70, 170]


def painted(masks: np.ndarray) -> np.ndarray:
    """Noisy RGB, uint8 (N, H, W, 3), of masks (N, H, W): 0 is pink, 1 is violet."""
    colours = np.array([PINK, VIOLET])[masks]
    return (colours + np.random.default_rng(0).normal(0, 6, colours.shape)).clip(0, 255).astype(np.uint8)


def halves(n: int = 8, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Violet over pink, the border elsewhere in every patch: patches and masks."""
    borders = np.random.default_rng(0).integers(size // 4, 3 * size // 4, (n, 1, 1))
    masks = np.broadcast_to(np.arange(size)[:, None] < borders, (n, size, size)).astype(np.uint8)
    return painted(masks), masks


class PerPixel(nn.Module):
    """A network that sees one pixel at a time, so that every gradient comes from a pixel of its own."""

    n_classes = 2

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.network = nn.Conv2d(3, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x * 2 - 1)
