"""Batches of images as a network takes them."""

import numpy as np
import torch


def check_patches(patches: np.ndarray, least: int = 0) -> None:
    """Refuse what is not a stack of RGB patches.

    Parameters
    ----------
    patches
        uint8 (N, H, W, 3).
    least
        The smallest N that is enough.

    Raises
    ------
    ValueError
        Another type or shape, or fewer patches.
    """
    if patches.ndim != 4 or patches.shape[3] != 3 or patches.dtype != np.uint8 or len(patches) < least:
        number = f"{least} or more " if least else ""
        raise ValueError(f"expected {number}patches, uint8 (N, H, W, 3); got {patches.dtype} {patches.shape}.")


def to_input(images: np.ndarray | torch.Tensor, device: torch.device) -> torch.Tensor:
    """Scale RGB images to [0, 1] on a device: uint8 (N, H, W, 3) -> float32 (N, 3, H, W)."""
    pixels = torch.tensor(np.ascontiguousarray(images)) if isinstance(images, np.ndarray) else images
    return pixels.to(device).permute(0, 3, 1, 2).float() / 255
