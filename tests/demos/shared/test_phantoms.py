"""The slides in the bundle are those that the generator draws today."""

import numpy as np

from demos.shared import phantoms
from histolab_lite.data.phantom import phantom_slide


def test_the_bundle_is_what_the_generator_draws():
    tiles = phantoms.bundled()
    assert len(tiles) == phantoms.SLIDES
    drawn = phantom_slide(phantoms.SEED * 1000 + 5, size=phantoms.SIZE, mpp=phantoms.MPP)
    np.testing.assert_array_equal(tiles[5].read_mask(), drawn.mask)
    difference = np.abs(tiles[5].read_image().astype(int) - drawn.image)
    assert difference.mean() < 4  # of 255: JPEG


def test_what_is_made_is_what_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(phantoms, "SIZE", 64)
    monkeypatch.setattr(phantoms, "SLIDES", 2)
    phantoms.make(tmp_path)
    tiles = phantoms.bundled(tmp_path)
    assert [(tile.read_image().shape, tile.read_mask().shape) for tile in tiles] == [((64, 64, 3), (64, 64))] * 2
