"""What a click shows: lines, numbers and files that agree with each other and with the mask."""

from __future__ import annotations

import base64
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

NAMES = ["outside", "inside", "tissue 2", "tissue 3"]


def scene(size=(120, 160), view=None, classes=2, mpp=None):
    """An image of blobs, features that tell them apart under noise, three points a class, (row, column) of pixels."""
    rng = np.random.default_rng(3)
    height, width = size
    grid = height // 4, width // 4
    fields = gaussian_filter(rng.standard_normal((classes, *grid)), (0, 4, 4))
    truth = fields.argmax(0)
    features = torch.from_numpy(np.eye(6)[truth].transpose(2, 0, 1) + 0.1 * rng.standard_normal((6, *grid))).float()
    rgb = np.kron(np.array(PALETTE, np.uint8)[truth] // 2, np.ones((4, 4, 1), np.uint8))
    image = make_image(rgb, "key", "Blobs", mpp=mpp)
    if view:
        image = make_image(np.array(Image.fromarray(rgb).resize(view[::-1])), "key", "Blobs", mpp=mpp)
        object.__setattr__(image, "size", size)
    tissue = np.ones(image.view.shape[:2], bool)
    tissue[: len(tissue) // 4] = False
    points = {
        name: [(4 * r + 1, 4 * c + 2) for r, c in np.argwhere(gaussian_filter(1.0 * (truth == name), 2) > 0.9)[:60:20]]
        for name in range(classes)
    }
    return image, Prepared(features, tissue), points


@pytest.fixture(scope="module", params=[(2, None), (2, (60, 80)), (3, None)], ids=["two", "shrunk", "three"])
def found(request):
    classes, view = request.param
    image, prepared, points = scene(classes=classes, view=view, mpp=0.5)
    return image, prepared, points, outline(image, prepared, points, 0.6, 10, 0.5, shown=1)


def unpack(packed: str) -> tuple[str, bytes]:
    content = json.loads(packed)
    return content["name"], base64.b64decode(content["content"])


def test_lines_are_the_border_of_the_mask(found):
    image, _, _, shown = found
    height, width = shown.ids.shape
    rows, columns = np.indices(shown.ids.shape)
    x, y = (columns + 0.5) * image.downsample[0], (rows + 0.5) * image.downsample[1]
    for name, lines in shown.regions.items():
        inside = np.zeros(shown.ids.shape, bool)
        for line in lines:
            assert (line >= 0).all()
            assert (line <= (image.size[1], image.size[0])).all()
            inside ^= shapely.contains_xy(shapely.Polygon(line).buffer(0), x, y)
        region = shown.ids == name
        assert region.any()
        assert (inside & region).sum() / (inside | region).sum() > 0.97


def test_numbers_are_those_of_the_mask(found):
    image, prepared, points, shown = found
    table = shares(shown.ids, prepared.tissue)
    assert sum(of_image for of_image, _ in table.values()) == pytest.approx(1)
    assert sum(of_tissue for _, of_tissue in table.values()) == pytest.approx(1)
    assert table[1][0] == pytest.approx((shown.ids == 1).mean())
    assert table[1][1] == pytest.approx((shown.ids == 1)[prepared.tissue].mean())
    html = views.numbers(image, [(1, 0, 0)], table, NAMES, pending=False)
    assert f'data-class="1" data-share="{table[1][1]:.6f}"' in html
    area = table[1][0] * image.size[0] * image.size[1] * 0.5**2 / 1e6
    assert f"{area:.4f} mm²" in html
    unknown = make_image(image.view, "key", "Blobs")
    assert "mm²" not in views.numbers(unknown, [(1, 0, 0)], table, NAMES, pending=False)


def test_clicked_points_keep_their_class(found):
    image, _, points, shown = found
    for name, clicked in points.items():
        for row, column in clicked:
            at = shown.ids[int(row / image.downsample[1]), int(column / image.downsample[0])]
            assert at in (name, 255)


def test_files_agree_with_the_mask(found):
    image, _, _, shown = found
    name, content = unpack(exports.mask(image, shown))
    mask = np.asarray(Image.open(io.BytesIO(content)))
    assert (name, mask.shape) == ("mask.png", image.size)
    name, content = unpack(exports.qupath(image, shown, NAMES))
    drawn = read_geojson(json.loads(content), image.size, NAMES)
    for tissue in shown.regions.keys() - {0}:
        assert ((drawn == tissue) & (mask == tissue)).sum() / ((drawn == tissue) | (mask == tissue)).sum() >= 0.98
    if image.view.shape[:2] == image.size:
        np.testing.assert_array_equal(drawn, np.where(mask == 255, 0, mask))
    name, content = unpack(exports.figure(image, shown, 0.0))
    figure = np.asarray(Image.open(io.BytesIO(content)))
    changed = (figure != image.view).any(-1)
    assert figure.shape == image.view.shape
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
    assert "µm</text>" in svg
    bar = float(re.search(r'width="([\d.]+)" height="[\d.]+" fill="#fff"', svg)[1])
    length = float(re.search(r">([\d.]+) µm<", svg)[1])
    assert bar * 0.5 == pytest.approx(length, abs=0.06)
    assert image.size[1] / 10 < bar <= image.size[1] / 5
    assert 'class="heat"' in views.contrast_view(image, shown, "inside")
    assert "url(#hatch)" in views.segmentation_view(image, shown, NAMES)


def test_names_are_text_and_nothing_else():
    image, prepared, points = scene(mpp=0.5)
    shown = outline(image, prepared, points, 0.6, 10, 0.1, shown=1)
    evil = ["outside", '"><script>alert(1)</script>', "", ""]
    table = shares(shown.ids, prepared.tissue)
    for html in (
        views.main_view(image, [(1, 2, 3)], shown, evil),
        views.contrast_view(image, shown, evil[1]),
        views.segmentation_view(image, shown, evil),
        views.numbers(image, [], table, evil, pending=False),
    ):
        assert "<script" not in html
        assert "&lt;script" in html


def test_before_there_is_an_outline_the_page_says_what_to_do():
    image, _, _ = scene()
    texts = [views.numbers(image, points, None, NAMES, pending=False) for points in ([], [(1, 0, 0)], [(0, 0, 0)])]
    assert "inside" in texts[0]
    assert "✕ outside" in texts[1]
    assert "● inside" in texts[2]
    assert 'data-state="reading"' in views.numbers(image, [], None, NAMES, pending=True)
    assert "<path" not in views.segmentation_view(image, None, NAMES)
