"""The bundle of the page of clusters is complete and small, and its clusters can be named and queried."""

import io

import numpy as np
import torch
from PIL import Image

from demos.bundle import FOLDER
from demos.proto2seg.query import query
from demos.proto2seg.samples import FILE, PATCH, SHOWN, STRIDE, TILE, ZOOM, K, load
from histolab_lite.methods.proto2seg import build_dictionary, name_clusters

SAMPLES = load()
CLUSTERS = SAMPLES.clusters


def test_the_bundle_is_small_and_whole():
    assert (FOLDER / FILE).stat().st_size < 3e6
    assert len(CLUSTERS) == len(CLUSTERS.sheets) == len(CLUSTERS.fractions) == K
    assert CLUSTERS.points.shape == (len(CLUSTERS.labels), 2)
    assert 0 <= CLUSTERS.points.min() < CLUSTERS.points.max() <= 1
    sizes = np.bincount(CLUSTERS.labels, minlength=K)
    assert sizes.min() >= SHOWN
    assert (np.diff(sizes) <= 0).all()
    np.testing.assert_allclose(CLUSTERS.fractions.sum(1), 1, atol=1e-3)
    sizes = {Image.open(io.BytesIO(sheet)).size for sheet in CLUSTERS.sheets}
    assert sizes == {(SHOWN * PATCH * ZOOM, PATCH * ZOOM)}
    for tile in SAMPLES.tiles.values():
        assert tile.truth.shape == tile.size == Image.open(io.BytesIO(tile.jpeg)).size[::-1]
        assert tile.features.shape == (CLUSTERS.centers.shape[1], TILE // STRIDE, TILE // STRIDE)
        assert len(np.unique(tile.truth)) == len(CLUSTERS.class_names)


def test_every_class_can_be_named_and_true_names_find_the_tissue():
    """As the paper's simulated pathologist names clusters."""
    names = name_clusters(CLUSTERS.fractions, list(torch.arange(K)[:, None]))
    dictionary = build_dictionary(CLUSTERS.centers, names, CLUSTERS.class_names)
    assert set(dictionary.labels.tolist()) == set(range(len(CLUSTERS.class_names)))
    for tile in SAMPLES.tiles.values():
        for scores in query(tile, dictionary, 5, CLUSTERS.class_names).scores:
            assert scores.macro_dice > 0.7
