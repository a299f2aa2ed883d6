"""What a network is trained and scored on: from the challenge's folders, or from any tiles with masks.

Training patches have any size and are all stretched to one, as by Li et al. (Sect. IV-B4); pictures to be segmented
are brought to the same scale by the mean ``factor``.
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
    """Training patches uint8 (N, P, P, 3) and their tags uint8 (N, K); pictures and their masks to be scored by.

    truth: uint8 (N, P, P), the patches' own masks, for a ceiling; None where nobody drew them. images, masks: uint8
    (H, W, 3) and (H, W), class ids, 255 is not scored. factor: size of a patch over the size it was cut at. mpp: of the
    pictures.
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
    """From the challenge's folder, or a phantom of it. patch: P in pixels; 224 by Li et al.

    truth: masks (H, W) of the training patches in the order of their names, which only a phantom has.
    Raises as ``read_training`` and ``read_evaluation``; ValueError for truth that does not fit the patches.
    """
    training, pictures = read_training(root), read_evaluation(root, split)
    images = [found.image() for found in training]
    if truth is not None and [mask.shape for mask in truth] != [image.shape[:2] for image in images]:
        raise ValueError("the training patches and their masks differ in number or size.")
    return Task(
        CLASSES,
        np.array(PALETTE[: len(CLASSES)], np.uint8),
        resized(images, patch),
        np.array([found.tags for found in training], np.uint8),
        None if truth is None else resized_masks(truth, patch),
        [picture.image() for picture in pictures],
        [picture.mask() for picture in pictures],
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
    """From tiles with masks, split by slide or patient: n patches of ``side`` pixels at ``mpp``, tagged by their masks.

    patch: P, to which they are stretched. least: as in ``mlps.tagged_patches``. Raises as it and ``TileSet`` do.
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
    """Class ids (H, W) of any sizes, stretched to uint8 (N, size, size) by the nearest pixel."""
    pictures = (Image.fromarray(np.ascontiguousarray(mask, np.uint8)) for mask in masks)
    return np.stack([np.asarray(picture.resize((size, size), Image.Resampling.NEAREST)) for picture in pictures])
