"""Refinement: train a segmentation network on masks, true or pseudo, and apply it.

The last step of Proto2Seg (Pan et al., IPMI 2023, Sect. 3.3): coarse masks with zigzag edges are dense supervision
for a network trained from scratch, which smooths their errors. Training on true masks shows what is possible at best.
"""

from typing import Unpack

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from histolab_lite.data import IGNORE
from histolab_lite.data.augment import StainJitter
from histolab_lite.data.batches import to_input
from histolab_lite.models.segmenters import LinkNet
from histolab_lite.training import Schedule, TrainOptions, fit, pick_device, with_defaults


def train_segmenter(
    model: LinkNet,
    images: list[np.ndarray],
    masks: list[np.ndarray],
    *,
    crop: int = 256,
    crops_per_image: int = 4,
    stain_strength: float = 0.3,
    **options: Unpack[TrainOptions],
) -> list[float]:
    """Train a network in place with cross-entropy on random crops, flipped, turned and stain-jittered.

    Each crop is around a pixel of a class that is drawn uniformly from those in the mask, so that a rare tissue is
    seen as often as a common one.

    Parameters
    ----------
    images
        uint8 (H, W, 3) of any sizes.
    masks
        uint8 (H, W) class ids; 255 is left out of the loss.
    crop
        Side of a crop in pixels. A smaller image is padded with white, which is left out of the loss.
    crops_per_image
        Number of crops of every image per epoch.
    stain_strength
        As in `StainJitter`.
    options
        See `TrainOptions`. ``epochs`` has no default; the others are batches of 8 and a learning rate of 1e-2.

    Returns
    -------
    list of float
        The mean loss of every epoch.

    Raises
    ------
    ValueError
        Images and masks do not belong together, or a mask holds a class that the network does not have.
    """
    options = with_defaults(options, batch_size=8, lr=1e-2, progress="segmenter")
    if len(images) != len(masks) or not images:
        raise ValueError(f"expected one mask per image; got {len(images)} images and {len(masks)} masks.")
    for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
        if image.shape[:2] != mask.shape:
            raise ValueError(f"image {index} is {image.shape[:2]} but its mask is {mask.shape}.")
        ids = np.unique(mask[mask != IGNORE])
        if ids.size and ids[-1] >= model.n_classes:
            raise ValueError(f"mask {index} holds class {ids[-1]}, but the network has {model.n_classes} classes.")
    device = pick_device(options.get("device"))
    jitter = StainJitter(stain_strength).to(device)

    def loss(model: nn.Module, indices: torch.Tensor) -> torch.Tensor:
        crops = [_random_crop(images[i % len(images)], masks[i % len(images)], crop) for i in indices.tolist()]
        x = jitter(to_input(torch.stack([image for image, _ in crops]), device))
        y = torch.stack([mask for _, mask in crops]).to(device).long()
        kept = (y != IGNORE).sum().clamp(min=1)
        return F.cross_entropy(model(x).float(), y, ignore_index=IGNORE, reduction="sum") / kept

    return fit(
        model,
        loss,
        len(images) * crops_per_image,
        data=[*images, *masks],
        schedule=Schedule("poly"),
        settings={"crop": crop, "crops_per_image": crops_per_image, "stain_strength": stain_strength},
        **options,
    )


def _random_crop(image: np.ndarray, mask: np.ndarray, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut a square around a pixel of a random class, inside the image if it is large enough, and turn it at random."""
    rows, cols = (torch.randint(side, (500,)).numpy() for side in mask.shape)  # pixels to choose from
    ids = mask[rows, cols]
    classes = np.unique(ids[ids != IGNORE])
    chosen = np.argmax(ids == classes[int(torch.randint(len(classes), ()))]) if len(classes) else 0
    before = torch.randint(size, (2,)).tolist()  # how far the crop reaches up and left of that pixel
    top = min(max(rows[chosen] - before[0], 0), max(mask.shape[0] - size, 0))
    left = min(max(cols[chosen] - before[1], 0), max(mask.shape[1] - size, 0))
    window = (slice(top, top + size), slice(left, left + size))
    x = np.full((size, size, 3), 255, np.uint8)
    y = np.full((size, size), IGNORE, np.uint8)
    part = mask[window]
    x[: part.shape[0], : part.shape[1]] = image[window]
    y[: part.shape[0], : part.shape[1]] = part
    turns, mirrored = int(torch.randint(4, ())), bool(torch.randint(2, ()))
    x, y = np.rot90(x, turns), np.rot90(y, turns)
    if mirrored:
        x, y = x[:, ::-1], y[:, ::-1]
    return torch.from_numpy(x.copy()), torch.from_numpy(y.copy())


@torch.inference_mode()
def predict(model: LinkNet, image: np.ndarray) -> torch.Tensor:
    """Return class probabilities of one image: uint8 (H, W, 3) -> float32 (K, H, W) on the CPU."""
    model.eval()
    x = to_input(image[None], next(model.parameters()).device)
    return model(x)[0].float().softmax(0).cpu()
