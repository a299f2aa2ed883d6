"""Outlines are valid polygons that give the mask back, in what QuPath reads."""

import json
import uuid

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from histolab_lite.formats.qupath import polygons, read_geojson, to_geojson, write_geojson

NAMES, PALETTE = ["other", "gland", "tumour"], [(221, 221, 221), (0, 158, 115), (213, 94, 0)]
SHAPES = st.tuples(st.integers(1, 10), st.integers(1, 10))
MASKS = arrays(np.uint8, SHAPES, elements=st.sampled_from([0, 1, 2, 255]))

# A part that closes on itself at a corner (a hole that touches the outline), holes that touch each other at a corner,
# an island in a hole, two parts that touch at a corner, and everything at the border.
CORNERS = np.array(
    [
        [1, 1, 1, 1, 0, 1, 1, 1, 1, 1],
        [1, 0, 0, 1, 0, 1, 0, 1, 1, 1],
        [1, 0, 0, 1, 0, 1, 1, 0, 1, 1],
        [1, 1, 1, 0, 0, 1, 1, 1, 1, 1],
        [0, 0, 0, 0, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 1, 1, 0, 1, 1],
        [1, 0, 0, 0, 0, 0, 1, 0, 1, 1],
        [1, 0, 1, 1, 0, 0, 1, 1, 0, 0],
        [1, 0, 0, 0, 0, 0, 1, 0, 0, 1],
        [1, 1, 1, 1, 1, 1, 1, 0, 0, 1],
    ],
    bool,
)


def centres_within(polygon, shape):
    """The oracle of drawing: shapely on the centre of each pixel."""
    rows, columns = np.indices(shape)
    return shapely.contains_xy(polygon, columns + 0.5, rows + 0.5)


def check(region):
    found = polygons(region)
    parts, count = ndimage.label(region)
    assert len(found) == count
    assert all(shapely.is_valid(found))
    drawn = [centres_within(polygon, region.shape) for polygon in found]
    for part in range(1, count + 1):
        assert sum((one == (parts == part)).all() for one in drawn) == 1
    assert shapely.union_all(found).area == region.sum()


def test_corners_holes_and_islands():
    check(CORNERS)
    check(~CORNERS)
    check(CORNERS.T[::-1])


@given(arrays(bool, SHAPES))
def test_a_polygon_for_each_part_of_any_region(region):
    check(region)


@given(MASKS)
def test_drawn_again_the_outlines_are_the_mask(mask):
    collection = json.loads(json.dumps(to_geojson(mask, NAMES, PALETTE, background=0)))
    drawn = read_geojson(collection, mask.shape, NAMES)
    np.testing.assert_array_equal(drawn, np.where(mask == 255, 0, mask))


@given(MASKS, st.sampled_from([1.0, 4.0, 1.7, (2.0, 3.5)]), st.sampled_from([(0, 0), (1000, 20), (0.5, -3)]))
def test_outlines_lie_in_the_full_image(mask, downsample, origin):
    where = {"origin": origin, "downsample": downsample}
    collection = to_geojson(mask, NAMES, PALETTE, **where)
    np.testing.assert_array_equal(read_geojson(collection, mask.shape, NAMES, **where, background=255), mask)
    for feature in collection["features"]:
        geometry = shapely.geometry.shape(feature["geometry"])
        rows, columns = np.nonzero(mask == NAMES.index(feature["properties"]["name"]))
        low, high = np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()]) + 1
        bounds = np.concatenate([low * downsample + origin, high * downsample + origin])
        assert geometry.is_valid
        np.testing.assert_allclose(geometry.bounds, bounds)


def test_what_qupath_asks_for():
    mask = np.array([[1, 1, 0], [1, 1, 2], [2, 0, 255]])
    collection = to_geojson(mask, NAMES, PALETTE, background=0)
    gland, tumour = collection["features"]
    assert collection["type"] == "FeatureCollection"
    assert gland["type"] == "Feature"
    assert gland["geometry"]["type"] == "Polygon"
    assert tumour["geometry"]["type"] == "MultiPolygon"
    assert gland["properties"] == {
        "objectType": "annotation",
        "name": "gland",
        "classification": {"name": "gland", "color": [0, 158, 115]},
    }
    ring = gland["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1]
    assert {tuple(point) for point in ring} == {(0, 0), (2, 0), (2, 2), (0, 2)}  # no point in between
    assert "other" in [f["properties"]["name"] for f in to_geojson(mask, NAMES, PALETTE)["features"]]
    assert len(to_geojson(mask, NAMES, PALETTE, ignore=(255, 1), background=0)["features"]) == 1


def test_ids_stay_while_the_outline_stays():
    mask = np.zeros((5, 5), np.uint8)
    mask[1:3, 1:3], mask[4] = 1, 2
    ids = [feature["id"] for feature in to_geojson(mask, NAMES, PALETTE, background=0)["features"]]
    assert all(str(uuid.UUID(one)) == one for one in ids)
    mask[4, 0] = 0
    again = [feature["id"] for feature in to_geojson(mask, NAMES, PALETTE, background=0)["features"]]
    assert again[0] == ids[0]
    assert again[1] != ids[1]
    assert to_geojson(mask, ["other", "crypt", "tumour"], PALETTE, background=0)["features"][0]["id"] != ids[0]


def test_an_empty_mask_has_no_features():
    assert to_geojson(np.zeros((3, 4), np.uint8), NAMES, PALETTE, background=0)["features"] == []
    assert read_geojson({"type": "FeatureCollection", "features": []}, (3, 4), NAMES).tolist() == [[0] * 4] * 3


def test_a_file_of_qupaths_own_is_read(tmp_path):
    mask = np.kron(CORNERS, np.ones((3, 3))).astype(np.uint8) * 2
    path = write_geojson(tmp_path / "new" / "outlines.geojson", mask, NAMES, PALETTE, background=0)
    np.testing.assert_array_equal(read_geojson(path, mask.shape, NAMES), mask)
    assert [file.name for file in path.parent.iterdir()] == ["outlines.geojson"]
    features = json.loads(path.read_text())["features"]
    path.write_text(json.dumps(features))  # a bare list, as QuPath exports several objects
    np.testing.assert_array_equal(read_geojson(path, mask.shape, NAMES), mask)
    np.testing.assert_array_equal(read_geojson(features[0], mask.shape, NAMES), mask)


def test_a_disk_that_fills_up_leaves_the_old_file(tmp_path, fill_disk):
    path = write_geojson(tmp_path / "outlines.geojson", CORNERS, NAMES, PALETTE)
    before = path.read_text()

    fill_disk()
    with pytest.raises(OSError, match=r"outlines\.geojson was not written: the disk is full"):
        write_geojson(path, ~CORNERS, NAMES, PALETTE)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("scale", [1, 3])
def test_slanted_outlines_take_the_pixels_whose_centre_they_hold(scale):
    star = [[9, 1], [11, 7], [18, 7.2], [12, 11], [15, 18], [9, 14], [3, 17.5], [6, 11], [-4, 6], [7, 7], [9, 1]]
    star = (np.array(star) + [0.013, 0.029]).tolist()  # no centre on a side: either answer would be right
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [star]}}
    feature["properties"] = {"classification": {"name": "gland"}}
    drawn = read_geojson(feature, (16 * scale, 17 * scale), NAMES, downsample=1 / scale)
    oracle = centres_within(shapely.Polygon(np.array(star) * scale), drawn.shape)
    np.testing.assert_array_equal(drawn == 1, oracle)
    assert oracle.any()


def annotation(**changes):
    ring = [[0, 0], [2, 0], [2, 2], [0, 0]]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}}
    feature["properties"] = {"classification": {"name": "gland"}}
    return {"type": "FeatureCollection", "features": [feature | changes]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"type": "Topology"}, "no GeoJSON"),
        ([1, 2], "no GeoJSON"),
        (annotation(properties=None), "None"),
        (annotation(properties={"classification": "gland"}), "None"),
        (annotation(properties={"classification": {"name": "bone"}}), "'bone'.*other, gland, tumour"),
        (annotation(geometry=None), "None"),
        (annotation(geometry={"type": "Point", "coordinates": [0, 0]}), "Point"),
        (annotation(geometry={"type": "Polygon"}), "not rings"),
        (annotation(geometry={"type": "Polygon", "coordinates": [[["a", "b"]]]}), "not rings"),
        (annotation(geometry={"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}), "not closed"),
        (annotation(geometry={"type": "Polygon", "coordinates": [[[0, 0], [0, 0]]]}), "four or more"),
        (annotation(geometry={"type": "Polygon", "coordinates": [[[0], [1], [2], [0]]]}), "closed|rings"),
        (annotation(geometry={"type": "Polygon", "coordinates": [[[0, 0], [1, None], [1, 1], [0, 0]]]}), "ring"),
    ],
)
def test_what_is_no_outline_is_named(content, message, tmp_path):
    path = tmp_path / "outlines.geojson"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        read_geojson(path, (4, 4), NAMES)


def test_wrong_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match="class 3 has no name"):
        to_geojson(np.array([[3]]), NAMES, PALETTE)
    with pytest.raises(ValueError, match="class 2 has no name"):
        to_geojson(np.array([[2]]), NAMES, PALETTE[:2])
    for downsample in (0, -1, (1, 0), (1, 1, 1)):
        with pytest.raises(ValueError, match="downsample"):
            to_geojson(np.array([[1]]), NAMES, PALETTE, downsample=downsample)
        with pytest.raises(ValueError, match="downsample"):
            read_geojson(annotation(), (2, 2), NAMES, downsample=downsample)
    path = tmp_path / "broken.geojson"
    path.write_text("{")
    with pytest.raises(ValueError, match=r"broken.geojson is not JSON"):
        read_geojson(path, (2, 2), NAMES)
