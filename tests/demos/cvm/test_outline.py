"""An outline's lines, numbers and files agree with each other and with the mask."""

import dataclasses
import io
import json
import re

import numpy as np
import pytest
import shapely
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from demos.cvm import exports, views
from demos.cvm.images import Prepared, make_image
from demos.cvm.outline import outline, shares
from demos.shared.colours import PALETTE
from histolab_lite.formats.qupath import read_geojson
from tests.demos.saved import unpack

NAMES = ["outside", "inside", "tissue 2", "tissue 3"]


def scene(classes: int, view=None):
    """An image of blobs, features that tell them apart under noise, three points per class, (row, column) of pixels."""
    rng = np.random.default_rng(3)
    truth = gaussian_filter(rng.standard_normal((classes, 30, 40)), (0, 4, 4)).argmax(0)
    features = torch.from_numpy(np.eye(6)[truth].transpose(2, 0, 1) + 0.1 * rng.standard_normal((6, 30, 40))).float()
    rgb = np.kron(np.array(PALETTE, np.uint8)[truth] // 2, np.ones((4, 4, 1), np.uint8))
    if view:
        rgb = np.array(Image.fromarray(rgb).resize(view[::-1]))
    image = dataclasses.replace(make_image(rgb, "key", "Blobs", mpp=0.5), size=(120, 160))
    tissue = np.ones(image.view.shape[:2], bool)
    tissue[: len(tissue) // 4] = False
    points = {
        name: [(4 * r + 1, 4 * c + 2) for r, c in np.argwhere(gaussian_filter(1.0 * (truth == name), 2) > 0.9)[:60:20]]
        for name in range(classes)
    }
    return image, Prepared(features, tissue), points


@pytest.fixture(scope="module", params=[(2, None), (2, (60, 80)), (3, None)], ids=["two", "shrunk", "three"])
def found(request):
    image, prepared, points = scene(*request.param)
    return image, prepared, points, outline(image, prepared, points, 0.6, 10, 0.5, shown=1)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def test_lines_are_the_border_of_the_mask_and_points_keep_their_class(found):
    image, _, points, shown = found
    rows, columns = np.indices(shown.ids.shape)
    x, y = (columns + 0.5) * image.downsample[0], (rows + 0.5) * image.downsample[1]
    for name, lines in shown.regions.items():
        inside = np.zeros(shown.ids.shape, bool)
        for line in lines:
            assert (line >= 0).all()
            assert (line <= image.size[::-1]).all()
            inside ^= shapely.contains_xy(shapely.Polygon(line).buffer(0), x, y)
        assert overlap(inside, shown.ids == name) > 0.97
        for row, column in points[name]:
            assert shown.ids[int(row / image.downsample[1]), int(column / image.downsample[0])] in (name, 255)


def test_numbers_are_those_of_the_mask(found):
    image, prepared, _, shown = found
    table = shares(shown.ids, prepared.tissue)
    np.testing.assert_allclose(np.sum(list(table.values()), axis=0), 1)
    assert table[1] == pytest.approx(((shown.ids == 1).mean(), (shown.ids == 1)[prepared.tissue].mean()))
    html = views.numbers(image, [(1, 0, 0)], table, NAMES, pending=False)
    assert f'data-class="1" data-share="{table[1][1]:.6f}"' in html
    area = table[1][0] * image.size[0] * image.size[1] * 0.5**2 / 1e6
    assert f"{area:.4f} mm²" in html
    unknown = dataclasses.replace(image, mpp=None)
    assert "mm²" not in views.numbers(unknown, [(1, 0, 0)], table, NAMES, pending=False)


def test_files_agree_with_the_mask(found):
    image, _, _, shown = found
    mask = np.asarray(Image.open(io.BytesIO(unpack(exports.mask(image, shown))[1])))
    assert mask.shape == image.size
    drawn = read_geojson(json.loads(unpack(exports.qupath(image, shown, NAMES))[1]), image.size, NAMES)
    for tissue in shown.regions.keys() - {0}:
        assert overlap(drawn == tissue, mask == tissue) >= 0.98
    if image.view.shape[:2] == image.size:
        np.testing.assert_array_equal(mask, shown.ids)
        np.testing.assert_array_equal(drawn, np.where(mask == 255, 0, mask))
    figure = np.asarray(Image.open(io.BytesIO(unpack(exports.figure(image, shown, 0.0))[1])))
    changed = (figure != image.view).any(-1)
    assert not changed[(shown.ids == 0) | (shown.ids == 255)].any()  # outlines lie on the tissue's side
    assert changed.any()


def test_the_page_shows_points_by_shape_and_what_they_are(found):
    image, _, points, shown = found
    clicked = [(name, *place) for name, places in points.items() for place in places]
    svg = views.main_view(image, clicked, shown, NAMES)
    assert f'viewBox="0 0 {image.size[1]} {image.size[0]}"' in svg
    assert len(re.findall("data-point", svg)) == len(clicked)
    assert len(re.findall("<circle", svg)) == 3
    assert "3 points inside" in svg
    bar = float(re.search(r'width="([\d.]+)" height="[\d.]+" fill="#fff"', svg)[1])
    length = float(re.search(r">([\d.]+) µm</text>", svg)[1])
    assert bar * 0.5 == pytest.approx(length, abs=0.06)
    assert image.size[1] / 10 < bar <= image.size[1] / 5


def test_names_are_text_and_nothing_else(found):
    image, prepared, _, shown = found
    evil = ["outside", '"><script>alert(1)</script>', *NAMES[2:]]
    for html in (
        views.main_view(image, [(1, 2, 3)], shown, evil),
        views.contrast_view(image, shown, evil[1]),
        views.segmentation_view(image, shown, evil),
        views.numbers(image, [], shares(shown.ids, prepared.tissue), evil, pending=False),
    ):
        assert "<script" not in html
        assert "&lt;script" in html
    assert 'class="heat"' in views.contrast_view(image, shown, "inside")
    assert "url(#hatch)" in views.segmentation_view(image, shown, NAMES)


def test_before_there_is_an_outline_the_page_says_what_to_do(found):
    image = found[0]
    for points, text in (([], "inside"), ([(1, 0, 0)], "✕ outside"), ([(0, 0, 0)], "● inside")):
        assert text in views.numbers(image, points, None, NAMES, pending=False)
    assert 'data-state="reading"' in views.numbers(image, [], None, NAMES, pending=True)
    assert "<path" not in views.segmentation_view(image, None, NAMES)
