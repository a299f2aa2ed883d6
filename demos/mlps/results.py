"""Pseudo masks and segmentations from a visitor's tags, compared with the truth of the phantom patches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demos.mlps.log import Log
from demos.mlps.patch_sets import PatchSet
from histolab_lite.methods.mlps import LAYERS, tags_of_masks
from histolab_lite.methods.mlps.pretrained import CLASSES, LEAST, TISSUES, Networks
from histolab_lite.metrics import SegmentationScores, segmentation_scores

LAYER = LAYERS[-1]  # whose pseudo masks are shown: the deepest, which has the largest weight in training (λ = 0.6)


@dataclass(frozen=True, eq=False)
class Answers:
    """Of a whole set, the same for every visitor. tags: of the truth, uint8 (N, 5). shares: of a patch's pixels that
    each tissue has in the truth, (N, 5). segmented: uint8 (N, P, P). pseudo_masks: from the true tags, uint8
    (N, P, P)."""

    patches: PatchSet
    tags: np.ndarray
    shares: np.ndarray
    segmented: np.ndarray
    pseudo_masks: np.ndarray


@dataclass(frozen=True, eq=False)
class Comparison:
    """patches: those that are done. tags: the visitor's, bool (n, 5). pseudo_masks: from these tags, uint8 (P, P), or
    None for a patch without tags. scores: by the mask that is scored, over the patches with tags; empty if there are
    none."""

    patches: list[int]
    tags: np.ndarray
    pseudo_masks: list[np.ndarray | None]
    scores: dict[str, SegmentationScores]


def answer(networks: Networks, patches: PatchSet) -> Answers:
    """Compute once what takes up to a second per patch. patches: with their truth."""
    assert patches.pixels is not None
    assert patches.truth is not None
    tags = tags_of_masks(patches.truth, len(TISSUES), LEAST)
    shares = np.stack([(patches.truth == k).mean((1, 2)) for k in range(len(TISSUES))], axis=1)
    pseudo_masks = networks.pseudo_masks(patches.pixels, tags, [LAYER])[LAYER]
    return Answers(patches, tags, shares, networks.segment(patches.pixels), pseudo_masks)


def compare(networks: Networks, answers: Answers, log: Log) -> Comparison:
    """Compare a visitor's tags with the truth. Their pseudo masks hold no tissue that was not tagged."""
    pixels, truth = answers.patches.pixels, answers.patches.truth
    assert pixels is not None
    assert truth is not None
    done = log.done
    tags = np.array([[bool(log.value(patch, name)) for name in TISSUES] for patch in done], dtype=bool)
    tags = tags.reshape(len(done), len(TISSUES))
    rows = np.flatnonzero(tags.any(1))
    chosen = [done[row] for row in rows]
    pseudo_masks: list[np.ndarray | None] = [None] * len(done)
    scores = {}
    if chosen:
        masks = networks.pseudo_masks(pixels[chosen], tags[rows].astype(np.uint8), [LAYER])[LAYER]
        for row, mask in zip(rows, masks, strict=True):
            pseudo_masks[row] = mask
        stages = {
            "Pseudo masks with your tags": masks,
            "Pseudo masks with the true tags": answers.pseudo_masks[chosen],
            "Segmentation, which sees no tags": answers.segmented[chosen],
        }
        scores = {name: segmentation_scores(found, truth[chosen], len(CLASSES)) for name, found in stages.items()}
    return Comparison(done, tags, pseudo_masks, scores)
