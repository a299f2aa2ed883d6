"""Refinement: train a segmentation network on masks, true or pseudo, and apply it.

The last step of Proto2Seg (Pan et al., IPMI 2023, Sect. 3.3): coarse masks with zigzag edges are dense supervision
for a network trained from scratch, which smooths over their errors. Trained on true masks it is the ceiling.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from histolab_lite.data import IGNORE
from histolab_lite.data.augment import StainJitter
from histolab_lite.models.segmenters import LinkNet
from histolab_lite.training import Checkpoint, Schedule, fit, pick_device


def train_segmenter(
    model: LinkNet,
    images: list[np.ndarray],
    masks: list[np.ndarray],
    *,
    epochs: int,
    crop: int = 256,
    crops_per_image: int = 4,
    batch_size: int = 8,
    lr: float = 1e-2,
    stain_strength: float = 0.3,
    seed: int = 0,
    device: str | torch.device | None = None,
    checkpoint: Checkpoint | None = None,
    progress: str | None = "segmenter",
) -> list[float]:
    """Train ``model`` in place with cross-entropy on random crops, flipped, turned and stain-jittered.

    images: uint8 (H, W, 3) of any sizes; masks: uint8 (H, W) class ids, 255 is left out of the loss. An image smaller
    than ``crop`` is padded: white, ignored. An epoch draws ``crops_per_image`` crops of every image, each around a
    pixel of a class drawn uniformly from those in its mask, so that a rare tissue is seen as often as a common one.
    Returns the mean loss of every epoch. ValueError for images and masks that do not belong together.
    """
    if len(images) != len(masks) or not images:
        raise ValueError(f"expected one mask an image; got {len(images)} images and {len(masks)} masks.")
    for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
        if image.shape[:2] != mask.shape:
            raise ValueError(f"image {index} is {image.shape[:2]} but its mask is {mask.shape}.")
        ids = np.unique(mask[mask != IGNORE])
        if ids.size and ids[-1] >= model.n_classes:
            raise ValueError(f"mask {index} holds class {ids[-1]}, but the network has {model.n_classes} classes.")
    device = pick_device(device)
    jitter = StainJitter(stain_strength).to(device)

    def loss(model: nn.Module, indices: torch.Tensor) -> torch.Tensor:
        crops = [_random_crop(images[i % len(images)], masks[i % len(images)], crop) for i in indices.tolist()]
        x = torch.stack([image for image, _ in crops]).to(device).permute(0, 3, 1, 2).float() / 255
        y = torch.stack([mask for _, mask in crops]).to(device).long()
        with torch.no_grad():
            x = jitter(x)
        kept = (y != IGNORE).sum().clamp(min=1)
        return F.cross_entropy(model(x).float(), y, ignore_index=IGNORE, reduction="sum") / kept

    return fit(
        model,
        loss,
        len(images) * crops_per_image,
        data=[*images, *masks],
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        schedule=Schedule("poly"),
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        progress=progress,
        settings={"crop": crop, "crops_per_image": crops_per_image, "stain_strength": stain_strength},
    )


def _random_crop(image: np.ndarray, mask: np.ndarray, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One crop (size, size) around a pixel of a random class, in one of the eight orientations.

    By torch's global generator. The crop stays inside the image where that is large enough.
    """
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
    """Class probabilities (K, H, W) float32 on the CPU of one image, uint8 (H, W, 3)."""
    model.eval()
    x = torch.tensor(np.ascontiguousarray(image), device=next(model.parameters()).device)
    return model(x.permute(2, 0, 1)[None].float() / 255)[0].float().softmax(0).cpu()
