"""The number of pixels to decode, compared with a count of the tiles one by one."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.bundle import FOLDER
from demos.sic.decoding import Pyramid
from demos.sic.samples import SLIDE
from histolab_lite.data.slides import Slide


def test_the_pyramid_of_the_phantom():
    pyramid = Pyramid.of(FOLDER / SLIDE)
    assert pyramid.sizes[:2] == ((2816, 2816), (1408, 1408))
    assert set(pyramid.tiles) == {(256, 256)}
    assert [pyramid.whole(level) for level in range(5)] == [tiles * 256**2 for tiles in (121, 36, 9, 4, 1)]


@pytest.mark.parametrize("scale", [0.5, 1, 1.97, 2, 3.9, 4, 5, 8, 100])
def test_the_level_is_the_one_that_the_reader_takes(monkeypatch, scale):
    read = []
    with Slide(FOLDER / SLIDE) as slide:
        monkeypatch.setattr(slide, "_read", lambda *what: read.append(what[-1]))
        slide.read(0, 0, 8, scale * slide.mpp)
    assert read == [Pyramid.of(FOLDER / SLIDE).level(scale)]


@settings(max_examples=50)
@given(
    size=st.integers(300, 3000),
    tile=st.integers(64, 256),
    side=st.integers(8, 64),
    scale=st.floats(1, 16),
    stride=st.integers(20, 400),
    steps=st.lists(st.sampled_from([2.0, 4.0, 4.01]), max_size=2),
)
def test_as_many_pixels_as_in_tiles_counted_one_by_one(size, tile, side, scale, stride, steps):
    downsamples = tuple(np.cumprod([1.0, *steps]).tolist())
    sizes = tuple((int(size / one), int(size / one)) for one in downsamples)
    pyramid = Pyramid(sizes, ((tile, tile),) * len(sizes), downsamples)
    places = np.arange(0, max(1, size - side), stride)
    corners = np.array([(x, y) for y in places for x in places])
    level = pyramid.level(scale)
    zoom, tiles = scale / downsamples[level], math.ceil(sizes[level][0] / tile)
    margin = math.ceil(zoom) + 1

    def touched(at: int) -> range:
        """The tiles along one side under a patch."""
        first = math.floor((at // downsamples[level] - margin) / tile)
        last = int(math.ceil(at / downsamples[level] + side * zoom) + margin - 1) // tile
        return range(max(0, first), min(tiles - 1, last) + 1)

    decoded = {(y, column, row) for x, y in corners.tolist() for column in touched(x) for row in touched(y)}
    assert pyramid.under(corners, side, scale) == len(decoded) * tile**2
