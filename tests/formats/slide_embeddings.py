"""The embeddings of one slide, as several tests store them."""

import numpy as np

from histolab_lite.data.slide_files import SlideFile
from histolab_lite.formats.embeddings import SlideEmbeddings


def embeddings(count=5, length=3, **changes):
    generator = np.random.default_rng(0)
    values = {
        "name": "slide-1",
        "features": generator.standard_normal((count, length)).astype(np.float32),
        "coords": np.stack([np.arange(count) * 100, np.arange(count) * 7], axis=1),
        "patch_size": 256,
        "patch_size_level0": 513,
        "mpp": 0.5,
        "overlap": 128,
        "slide_mpp": 0.2495,
        "slide_size": (4001, 2999),
        "encoder": "default",
        "encoder_revision": "0123456789ab",
        "min_tissue": 0.5,
        "slide_file": SlideFile(1234567, 1764352800123456789, "ab" * 32),
    }
    return SlideEmbeddings(**values | changes)
