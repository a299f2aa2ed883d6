"""From a dictionary to masks: direct query and cluster-then-query of one tile, and how near the truth they come."""

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
SEED = 0  # of the groups: the same names give the same mask


@dataclass(frozen=True, eq=False)
class Answer:
    """direct, grouped: class ids on the grid, uint8 (h, w), by DQ and by CQ. scores: of both, where the truth is known
    and has the dictionary's classes."""

    direct: np.ndarray
    grouped: np.ndarray
    scores: tuple[SegmentationScores, SegmentationScores] | None


def query(tile: Tile, dictionary: PrototypeDictionary, gamma: int, class_names: tuple[str, ...]) -> Answer:
    """The fast half, some hundredths of a second. class_names: the truth's.

    On one thread: so small a problem takes ten times as long where two threads wait for each other on a busy machine,
    and sums come out the same every time.
    """
    with _pools().limit(limits=1):
        return _query(tile, dictionary, gamma, class_names)


@cache
def _pools() -> ThreadpoolController:
    """OpenMP's, whose limit holds for the thread that sets it alone; found once PyTorch has loaded its libraries."""
    return ThreadpoolController().select(user_api="openmp")


def _query(tile: Tile, dictionary: PrototypeDictionary, gamma: int, class_names: tuple[str, ...]) -> Answer:
    generator = torch.Generator().manual_seed(SEED)
    features = tile.features.float()
    direct = direct_query(features, dictionary)
    grouped = cluster_then_query(features, dictionary, gamma, generator=generator)
    scores = None
    if tile.truth is not None and dictionary.class_names == class_names:
        number = len(class_names)
        scores = tuple(
            segmentation_scores([upsample(ids, tile.size)], [tile.truth], number) for ids in (direct, grouped)
        )
    return Answer(direct.numpy().astype(np.uint8), grouped.numpy().astype(np.uint8), scores)


def own_tile(upload: Upload, mpp: float | None) -> Tile:
    """The slow half, some seconds: a visitor's image at the encoder's scale, its middle if it is larger.

    mpp: µm per pixel, if the visitor gave it. UploadError for an image that is too small there.
    """
    mpp = mpp or upload.mpp
    rgb, notes = upload.rgb, [upload.note] if upload.note else []
    if mpp:
        factor = mpp / MPP
        height, width = (round(side * factor) for side in rgb.shape[:2])
    else:
        height, width = rgb.shape[:2]
        notes.append(f"Its scale is not known, so a pixel is taken for {MPP:g} µm. Give the µm per pixel if you can.")
    if min(height, width) < PATCH:
        raise UploadError(
            f"This image has {height} × {width} pixels at the encoder's {MPP:g} µm per pixel; "
            f"it needs {PATCH} on each side."
        )
    rows, columns = min(height, LARGEST_SIDE), min(width, LARGEST_SIDE)
    if (rows, columns) != (height, width):
        notes.append(f"It is large: its middle, {columns} × {rows} µm, is used." if mpp
                     else f"It is large: its middle, {columns} × {rows} pixels, is used.")  # fmt: skip
    left, top = (width - columns) / 2, (height - rows) / 2
    scale = rgb.shape[1] / width, rgb.shape[0] / height
    box = left * scale[0], top * scale[1], (left + columns) * scale[0], (top + rows) * scale[1]
    kind = Image.Resampling.BOX if width <= rgb.shape[1] else Image.Resampling.BICUBIC
    pixels = np.asarray(Image.fromarray(rgb).resize((columns, rows), kind, box=box))
    features = encode(pixels, patch=PATCH, stride=STRIDE).half()
    return Tile(
        upload.digest, "Your tile", jpeg(pixels), (rows, columns), features, MPP if mpp else None, note=" ".join(notes)
    )
