"""A slide of three kinds of patches, in three bands, for tests of seeding."""

from __future__ import annotations

from functools import cache

import numpy as np

from demos.sic.slides import SeedSlide
from histolab_lite.formats.embeddings import SlideEmbeddings

SIDE, PITCH = 128, 64  # level-0 pixels
KINDS = 3


@cache
def blobs(rows: int = 9, columns: int = 10) -> SeedSlide:
    """Patch ``row * columns + column`` is of kind ``row * 3 // rows``."""
    y, x = (axis.ravel() for axis in np.mgrid[:rows, :columns])
    rng = np.random.default_rng(0)
    features = rng.normal(0, 0.1, (rows * columns, 16)).astype(np.float32)
    features[np.arange(rows * columns), y * KINDS // rows] += 3
    table = SlideEmbeddings(
        "blobs",
        features,
        np.stack([64 + x * PITCH, 192 + y * PITCH], 1),
        patch_size=64,
        patch_size_level0=SIDE,
        mpp=1.0,
        overlap=32,
        slide_mpp=0.5,
        slide_size=(1024, 1280),
    )
    plane = rng.random((rows * columns, 2)).astype(np.float32)
    colours = rng.integers(0, 255, (rows * columns, 3), dtype=np.uint8)
    return SeedSlide("blobs", "Blobs", table, float(PITCH), plane, colours, np.zeros((800, 640, 3), np.uint8))


def kinds(rows: int = 9, columns: int = 10) -> np.ndarray:
    return np.repeat(np.arange(rows) * KINDS // rows, columns)
