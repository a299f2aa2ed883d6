"""From a dictionary to masks: direct query and cluster-then-query of one tile, and their scores."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from PIL import Image
from threadpoolctl import ThreadpoolController

from demos.proto2seg.samples import MPP, PATCH, STRIDE, Tile, jpeg
from demos.shared.uploads import Upload, UploadError
from histolab_lite.methods.proto2seg import (
    PrototypeDictionary,
    cluster_then_query,
    direct_query,
    encode,
    upsample,
)
from histolab_lite.metrics import SegmentationScores, segmentation_scores

LARGEST_SIDE = 1024  # pixels of a visitor's tile, at the encoder's scale
SEED = 0  # random seed of the groups, so that the same names give the same mask


@dataclass(frozen=True, eq=False)
class Answer:
    """direct, grouped: class ids on the grid, uint8 (h, w), by DQ and by CQ. scores: of both, if the truth is known and
    has the dictionary's classes."""

    direct: np.ndarray
    grouped: np.ndarray
    scores: tuple[SegmentationScores, SegmentationScores] | None


def query(tile: Tile, dictionary: PrototypeDictionary, gamma: int, class_names: tuple[str, ...]) -> Answer:
    """The fast half, some hundredths of a second. class_names: the truth's.

    It uses one thread: on a busy machine two threads that wait for each other take ten times as long for so small a
    problem, and with one thread sums are the same every time.
    """
    with _pools().limit(limits=1):
        return _query(tile, dictionary, gamma, class_names)


@cache
def _pools() -> ThreadpoolController:
    """OpenMP's thread pools, whose limit holds only for the thread that sets it. Called after PyTorch is loaded."""
    return ThreadpoolController().select(user_api="openmp")


def _query(tile: Tile, dictionary: PrototypeDictionary, gamma: int, class_names: tuple[str, ...]) -> Answer:
    generator = torch.Generator().manual_seed(SEED)
    features = tile.features.float()
    direct = direct_query(features, dictionary)
    grouped = cluster_then_query(features, dictionary, gamma, generator=generator)
    scores = None
    if tile.truth is not None and dictionary.class_names == class_names:
        upsampled = [upsample(direct, tile.size), upsample(grouped, tile.size)]
        by_direct, by_group = (segmentation_scores([ids], [tile.truth], len(class_names)) for ids in upsampled)
        scores = by_direct, by_group
    return Answer(direct.numpy().astype(np.uint8), grouped.numpy().astype(np.uint8), scores)


def own_tile(upload: Upload, mpp: float | None) -> Tile:
    """The slow half, some seconds: a visitor's image at the encoder's scale, or its middle if it is large.

    mpp: µm per pixel, if the visitor gave it. UploadError for an image that is too small at that scale.
    """
    mpp = mpp or upload.mpp
    rgb, notes = upload.rgb, [upload.note] if upload.note else []
    if mpp:
        factor = mpp / MPP
        height, width = (round(side * factor) for side in rgb.shape[:2])
    else:
        height, width = rgb.shape[:2]
        notes.append(f"Its scale is not known: one pixel counts as {MPP:g} µm. Enter the µm per pixel if you can.")
    if min(height, width) < PATCH:
        raise UploadError(
            f"This image has {height} × {width} pixels at the encoder's {MPP:g} µm per pixel; "
            f"it needs {PATCH} on each side."
        )
    rows, columns = min(height, LARGEST_SIDE), min(width, LARGEST_SIDE)
    if (rows, columns) != (height, width):
        unit = "µm" if mpp else "pixels"
        notes.append(f"The tile is large: only its middle, {columns} × {rows} {unit}, is used.")
    left, top = (width - columns) / 2, (height - rows) / 2
    scale = rgb.shape[1] / width, rgb.shape[0] / height
    box = left * scale[0], top * scale[1], (left + columns) * scale[0], (top + rows) * scale[1]
    kind = Image.Resampling.BOX if width <= rgb.shape[1] else Image.Resampling.BICUBIC
    pixels = np.asarray(Image.fromarray(rgb).resize((columns, rows), kind, box=box))
    features = encode(pixels, patch=PATCH, stride=STRIDE).half()
    return Tile(
        upload.digest, "Your tile", jpeg(pixels), (rows, columns), features, MPP if mpp else None, note=" ".join(notes)
    )
