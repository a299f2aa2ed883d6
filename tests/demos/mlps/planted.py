"""Patches to tag, a log of tags, and networks with simple answers, for the tests of the page."""

import numpy as np

from demos.mlps.log import Header, Log
from demos.mlps.patch_sets import PatchSet
from histolab_lite.methods.mlps.pretrained import TISSUES


def patches(key: str = "phantom", number: int = 3) -> PatchSet:
    """The truth: stroma beside tumour in the first patch, beside lymphocytes in the second, and so on."""
    truth = np.zeros((number, 16, 16), np.uint8)
    truth[..., 8:] = np.arange(1, number + 1)[:, None, None]
    header = Header(key, "Phantom patches", TISSUES, number, 32)
    corners = ((0, 0), (0, 32), (32, 0))[:number]
    return PatchSet(header, (b"jpeg",) * number, corners, 0.5, "", np.zeros((number, 16, 16, 3), np.uint8), truth)


HEADER = patches().header


def logged(*changes: tuple[int, str | None, bool | None], header: Header = HEADER) -> Log:
    """A log of (patch, class, value) with one second per change."""
    log = Log(header)
    for patch, name, value in changes:
        log = log.set(patch, name, value, 1.0)
    return log


class Networks:
    """Pseudo masks: the first tagged tissue on the left half, the last on the right. Segmentation: only stroma."""

    def pseudo_masks(self, patches, tags, layers):
        masks = np.zeros(patches.shape[:3], np.uint8)
        for mask, row in zip(masks, tags, strict=True):
            present = np.flatnonzero(row)
            mask[:, :8], mask[:, 8:] = present[0], present[-1]
        return {layer: masks for layer in layers}

    def segment(self, patches):
        return np.zeros(patches.shape[:3], np.uint8)
