"""Data to train and score a network: from the challenge's folders, or from any tiles with masks.

Training patches of all sizes are stretched to a single size, as Li et al. do (Sect. IV-B4). Images to be segmented are
resized by the mean `factor` of the patches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from histolab_lite.data.tiles import TileSet
from histolab_lite.methods.mlps.tags import tagged_patches
from histolab_lite.methods.wsss4luad.challenge.files import (
    CLASSES,
    MPP,
    PALETTE,
    read_evaluation,
    read_training,
    resized,
)


@dataclass(frozen=True)
class Task:
    """Training patches with tags, and images with masks for the scores.

    Attributes
    ----------
    classes
        Names of the K classes.
    palette
        uint8 (K, 3), the RGB colour of each class.
    patches
        uint8 (N, P, P, 3).
    tags
        uint8 (N, K) of 0 and 1.
    truth
        uint8 (N, P, P), the true masks of the patches, for an upper bound; None if there are none.
    images
        uint8 (H, W, 3) each.
    masks
        uint8 (H, W) each: class ids; 255 is not scored.
    factor
        P over the mean side of the patches before they were stretched.
    mpp
        Micrometres per pixel of the images.
    """

    classes: tuple[str, ...]
    palette: np.ndarray
    patches: np.ndarray
    tags: np.ndarray
    truth: np.ndarray | None
    images: list[np.ndarray]
    masks: list[np.ndarray]
    factor: float
    mpp: float | None


def challenge_task(
    root: str | Path, patch: int, split: str = "testing", truth: Sequence[np.ndarray] | None = None
) -> Task:
    """Make a task of the challenge's folder, or of a phantom of it.

    Parameters
    ----------
    root
        Folder of the data set.
    patch
        P in pixels; 224 in Li et al.
    split
        "validation" or "testing".
    truth
        Masks (H, W) of the training patches in the order of their names; only a phantom has them.

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_training` and `read_evaluation`; also ValueError if the masks do not match the patches.
    """
    training, evaluation = read_training(root), read_evaluation(root, split)
    images = [found.image() for found in training]
    if truth is not None and [mask.shape for mask in truth] != [image.shape[:2] for image in images]:
        raise ValueError("the training patches and their masks differ in number or size.")
    return Task(
        CLASSES,
        np.array(PALETTE[: len(CLASSES)], np.uint8),
        resized(images, patch),
        np.array([found.tags for found in training], np.uint8),
        None if truth is None else resized_masks(truth, patch),
        [found.image() for found in evaluation],
        [found.mask() for found in evaluation],
        patch / float(np.mean([image.shape[:2] for image in images])),
        MPP,
    )


def tiles_task(
    tiles: TileSet,
    patch: int,
    *,
    side: int,
    mpp: float,
    n: int,
    least: float = 0.05,
    test_share: float = 1 / 3,
    seed: int = 0,
) -> Task:
    """Make a task of tiles with masks, split by slide or patient; the masks give the tags.

    Parameters
    ----------
    tiles
        Tiles with masks.
    patch
        P in pixels.
    side
        Side of a patch, in pixels at `mpp`, before it is stretched to P.
    mpp
        Micrometres per pixel.
    n
        Largest number of patches.
    least
        Smallest share of a class that is tagged, as in `mlps.tagged_patches`.
    test_share
        Share of the slides or patients for the scores.
    seed
        Random seed.

    Raises
    ------
    ValueError
        As `mlps.tagged_patches` and `TileSet`.
    """
    images, masks = tiles.read(mpp)
    train, test = tiles.split(test_share, seed)
    patches, truth, tags = tagged_patches(
        [images[i] for i in train], [masks[i] for i in train], side, len(tiles.class_names), n, least=least, seed=seed
    )
    return Task(
        tiles.class_names,
        tiles.palette,
        resized(list(patches), patch),
        tags,
        resized_masks(list(truth), patch),
        [images[i] for i in test],
        [masks[i] for i in test],
        patch / side,
        mpp,
    )


def resized_masks(masks: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Stretch masks (H, W) of any sizes to uint8 (N, size, size); each pixel takes the nearest class id."""
    images = (Image.fromarray(np.ascontiguousarray(mask, np.uint8)) for mask in masks)
    return np.stack([np.asarray(image.resize((size, size), Image.Resampling.NEAREST)) for image in images])
