"""The slides in the bundle are those that the generator draws today."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("gradio", reason="the demos need gradio: pip install 'histolab-lite[demos]'")

from demos.shared import phantoms  # noqa: E402
from histolab_lite.data.phantom import phantom_slide  # noqa: E402


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
    assert [tile.read_image().shape for tile in tiles] == [(64, 64, 3)] * 2
    assert [tile.read_mask().shape for tile in tiles] == [(64, 64)] * 2
