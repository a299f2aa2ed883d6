"""How many pixels have to be decoded, held against tiles that are counted one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("gradio", reason="the demos need gradio: pip install 'histolab-lite[demos]'")

from demos.bundle import FOLDER  # noqa: E402
from demos.sic.decoding import Pyramid  # noqa: E402
from demos.sic.samples import SLIDE  # noqa: E402
from histolab_lite.data.slides import Slide  # noqa: E402


def test_the_pyramid_of_the_phantom():
    pyramid = Pyramid.of(FOLDER / SLIDE)
    assert pyramid.sizes[:2] == ((2816, 2816), (1408, 1408))
    assert set(pyramid.tiles) == {(256, 256)}
    assert [pyramid.whole(level) for level in range(5)] == [tiles * 256**2 for tiles in (121, 36, 9, 4, 1)]


@pytest.mark.parametrize("scale", [0.5, 1, 1.97, 2, 3.9, 4, 5, 8, 100])
def test_the_level_is_the_one_that_is_read(monkeypatch, scale):
    with Slide(FOLDER / SLIDE) as slide:
        read = []
        monkeypatch.setattr(slide, "_read", lambda *what: read.append(what[-1]))
        slide.read(0, 0, 8, scale * slide.mpp)
    assert read == [Pyramid.of(FOLDER / SLIDE).level(scale)]


@given(
    size=st.integers(300, 3000),
    tile=st.integers(64, 256),
    side=st.integers(8, 64),
    scale=st.floats(1, 16),
    stride=st.integers(20, 400),
    steps=st.lists(st.sampled_from([2.0, 4.0, 4.01]), max_size=2),
)
def test_as_many_as_tiles_counted_one_by_one(size, tile, side, scale, stride, steps):
    downsamples = tuple(float(one) for one in np.cumprod([1.0, *steps]))
    sizes = tuple((int(size / one), int(size / one)) for one in downsamples)
    pyramid = Pyramid(sizes, ((tile, tile),) * len(sizes), downsamples)
    xs = np.arange(0, max(1, size - side), stride)
    corners = np.array([(x, y) for y in xs for x in xs])
    level = pyramid.level(scale)
    zoom = scale / downsamples[level]
    margin, tiles = math.ceil(zoom) + 1, math.ceil(pyramid.sizes[level][0] / tile)
    decoded = set()
    for x, y in corners.tolist():
        columns, rows = (
            range(
                max(0, math.floor((at // downsamples[level] - margin) / tile)),
                min(tiles - 1, int(math.ceil(at / downsamples[level] + side * zoom) + margin - 1) // tile) + 1,
            )
            for at in (x, y)
        )
        decoded |= {(y, column, row) for column in columns for row in rows}
    assert pyramid.under(corners, side, scale) == len(decoded) * tile**2
