"""A slide with three kinds of patches, in three bands, and patience for other threads."""

import time
from collections.abc import Callable
from functools import cache

import numpy as np

from demos.sic.slides import SeedSlide
from histolab_lite.formats.embeddings import SlideEmbeddings

PITCH, COLUMNS = 64, 10  # level-0 pixels, patches


def kinds(rows: int = 9) -> np.ndarray:
    """The kind of every patch, row by row."""
    return np.repeat(np.arange(rows) * 3 // rows, COLUMNS)


@cache
def blobs(rows: int = 9) -> SeedSlide:
    y, x = (axis.ravel() for axis in np.mgrid[:rows, :COLUMNS])
    rng = np.random.default_rng(0)
    features = rng.normal(0, 0.1, (len(x), 16)).astype(np.float32)
    features[np.arange(len(x)), kinds(rows)] += 3
    corners = np.stack([64 + x * PITCH, 192 + y * PITCH], 1)
    scale = {"patch_size": 64, "patch_size_level0": 2 * PITCH, "mpp": 1.0, "overlap": 32, "slide_mpp": 0.5}
    table = SlideEmbeddings("blobs", features, corners, **scale, slide_size=(1024, 1280))
    plane = rng.random((len(x), 2)).astype(np.float32)
    colours = rng.integers(0, 255, (len(x), 3), dtype=np.uint8)
    return SeedSlide("blobs", "Blobs", table, float(PITCH), plane, colours, np.zeros((800, 640, 3), np.uint8))


def wait_until(true: Callable[[], object]) -> None:
    """However busy the machine is, but not for ever."""
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.001)
