"""Outlines are valid polygons that give the mask back, in the form that QuPath reads."""

import json
import uuid

import numpy as np
import pytest
import shapely
from hypothesis import example, given
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


@given(arrays(bool, SHAPES))
@example(CORNERS)
@example(~CORNERS)
@example(CORNERS.T[::-1])
def test_every_part_of_a_region_has_one_polygon(region):
    found = polygons(region)
    parts, count = ndimage.label(region)
    assert len(found) == count
    assert all(shapely.is_valid(found))
    drawn = [centres_within(polygon, region.shape) for polygon in found]
    for part in range(1, count + 1):
        assert sum((one == (parts == part)).all() for one in drawn) == 1
    assert shapely.union_all(found).area == region.sum()


@given(MASKS, st.sampled_from([1.0, 4.0, 1.7, (2.0, 3.5)]), st.sampled_from([(0, 0), (1000, 20), (0.5, -3)]))
def test_outlines_lie_in_the_full_image_and_give_the_mask_back(mask, downsample, origin):
    where = {"origin": origin, "downsample": downsample}
    collection = json.loads(json.dumps(to_geojson(mask, NAMES, PALETTE, **where)))
    np.testing.assert_array_equal(read_geojson(collection, mask.shape, NAMES, **where, background=255), mask)
    for feature in collection["features"]:
        geometry = shapely.geometry.shape(feature["geometry"])
        rows, columns = np.nonzero(mask == NAMES.index(feature["properties"]["name"]))
        low, high = np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()]) + 1
        assert geometry.is_valid
        np.testing.assert_allclose(
            geometry.bounds, np.concatenate([low * downsample + origin, high * downsample + origin])
        )


def test_an_annotation_has_what_qupath_reads():
    mask = np.array([[1, 1, 0], [1, 1, 2], [2, 0, 255]])
    collection = to_geojson(mask, NAMES, PALETTE, background=0)
    gland, tumour = collection["features"]
    assert (collection["type"], gland["type"]) == ("FeatureCollection", "Feature")
    assert (gland["geometry"]["type"], tumour["geometry"]["type"]) == ("Polygon", "MultiPolygon")
    assert gland["properties"] == {
        "objectType": "annotation",
        "name": "gland",
        "classification": {"name": "gland", "color": [0, 158, 115]},
    }
    ring = gland["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1]
    assert {tuple(point) for point in ring} == {(0, 0), (2, 0), (2, 2), (0, 2)}  # no point in between
    assert len(to_geojson(mask, NAMES, PALETTE)["features"]) == 3
    assert len(to_geojson(mask, NAMES, PALETTE, ignore=(255, 1), background=0)["features"]) == 1
    empty = to_geojson(np.zeros((3, 4), np.uint8), NAMES, PALETTE, background=0)
    assert empty["features"] == []
    assert read_geojson(empty, (3, 4), NAMES, background=2).tolist() == [[2] * 4] * 3


def test_an_id_changes_with_the_outline_or_the_name_only():
    mask = np.zeros((5, 5), np.uint8)
    mask[1:3, 1:3], mask[4] = 1, 2

    def ids(names=NAMES):
        return [feature["id"] for feature in to_geojson(mask, names, PALETTE, background=0)["features"]]

    gland, tumour = ids()
    assert str(uuid.UUID(gland)) == gland
    mask[4, 0] = 0
    assert ids()[0] == gland
    assert ids()[1] != tumour
    assert ids(["other", "crypt", "tumour"])[0] != gland


def test_a_collection_a_list_and_one_feature_are_read(tmp_path):
    mask = np.kron(CORNERS, np.ones((3, 3))).astype(np.uint8) * 2
    path = write_geojson(tmp_path / "outlines.geojson", mask, NAMES, PALETTE, background=0)
    features = json.loads(path.read_text())["features"]
    exported = tmp_path / "list.geojson"
    exported.write_text(json.dumps(features))  # as QuPath exports several objects
    for source in (path, exported, features[0]):
        np.testing.assert_array_equal(read_geojson(source, mask.shape, NAMES), mask)


def annotation(**changes):
    ring = [[0, 0], [2, 0], [2, 2], [0, 0]]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}}
    return feature | {"properties": {"classification": {"name": "gland"}}} | changes


def ring(*points):
    return annotation(geometry={"type": "Polygon", "coordinates": [list(points)]})


@pytest.mark.parametrize("scale", [1, 3])
def test_slanted_outlines_take_the_pixels_whose_centre_they_hold(scale):
    star = [[9, 1], [11, 7], [18, 7.2], [12, 11], [15, 18], [9, 14], [3, 17.5], [6, 11], [-4, 6], [7, 7], [9, 1]]
    star = (np.array(star) + [0.013, 0.029]).tolist()  # no centre on a side: either answer would be right
    drawn = read_geojson(ring(*star), (16 * scale, 17 * scale), NAMES, downsample=1 / scale)
    oracle = centres_within(shapely.Polygon(np.array(star) * scale), drawn.shape)
    assert oracle.any()
    np.testing.assert_array_equal(drawn == 1, oracle)


def test_of_several_annotations_the_last_one_counts():
    gland, tumour = annotation(), annotation(properties={"classification": {"name": "tumour"}})
    assert read_geojson({"features": [gland, tumour]}, (2, 2), NAMES).max() == 2
    assert read_geojson({"features": [tumour, gland]}, (2, 2), NAMES).max() == 1


@pytest.mark.parametrize(
    ("content", "keyword"),
    [
        ({"type": "Topology"}, "no GeoJSON"),
        ([1, 2], "no GeoJSON"),
        (annotation(properties=None), "None"),
        (annotation(properties={"classification": "gland"}), "None"),
        (annotation(properties={"classification": {"name": "bone"}}), "'bone'.*other, gland, tumour"),
        (annotation(geometry=None), "None"),
        (annotation(geometry={"type": "Point", "coordinates": [0, 0]}), "Point"),
        (annotation(geometry={"type": "Polygon"}), "not rings"),
        (ring(["a", "b"]), "not rings"),
        (ring([0, 0], [1, 0], [1, 1], [0, 1]), "not closed"),
        (ring([0, 0], [0, 0]), "four or more"),
        (ring([0], [1], [2], [0]), "closed|rings"),
        (ring([0, 0], [1, None], [1, 1], [0, 0]), "ring"),
    ],
)
def test_bad_annotations_are_refused(content, keyword, tmp_path):
    path = tmp_path / "outlines.geojson"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=keyword):
        read_geojson(path, (4, 4), NAMES)


def test_bad_arguments_are_refused():
    for class_id, palette in ((3, PALETTE), (2, PALETTE[:2])):
        with pytest.raises(ValueError, match=f"class {class_id} has no name"):
            to_geojson(np.array([[class_id]]), NAMES, palette)
    for downsample in (0, -1, (1, 0), (1, 1, 1)):
        with pytest.raises(ValueError, match="downsample"):
            to_geojson(np.array([[1]]), NAMES, PALETTE, downsample=downsample)
        with pytest.raises(ValueError, match="downsample"):
            read_geojson(annotation(), (2, 2), NAMES, downsample=downsample)
