"""Label images keep every id, at every level, through files that other readers open."""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from histolab_lite.formats.ome_tiff import NAMESPACE, level_shapes, read_labels, regroup, write_labels

NAMES = ("background", "gland <µ> & co")
PALETTE = ((221, 221, 221), (213, 94, 0))
OPTIONS = {"mpp": 0.5, "class_names": NAMES, "palette": PALETTE, "tile": 32}


def mask(shape=(101, 77)):
    return np.random.default_rng(0).choice(np.array([0, 1, 255], np.uint8), shape)


@pytest.fixture
def written(tmp_path):
    return write_labels(tmp_path / "mask.ome.tif", [mask()], mask().shape, **OPTIONS)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 150), st.integers(1, 150), st.lists(st.integers(0, 150), max_size=4))
def test_every_level_is_every_other_pixel(tmp_path, height, width, cuts):
    ids = mask((height, width))
    path = write_labels(tmp_path / "mask.ome.tif", np.split(ids, sorted(cuts)), ids.shape, **OPTIONS)
    shapes = read_labels(path).levels
    assert shapes[0] == ids.shape
    assert max(shapes[-1]) <= 32
    assert all(max(shape) > 32 for shape in shapes[:-1])
    for level, shape in enumerate(shapes):
        labels = read_labels(path, level)
        np.testing.assert_array_equal(labels.ids, ids[:: 2**level, :: 2**level])
        assert labels.ids.shape == shape
        assert labels.mpp == pytest.approx(0.5 * 2**level)
        assert labels.class_names == NAMES
        np.testing.assert_array_equal(labels.palette, PALETTE)
    np.testing.assert_array_equal(read_labels(path, -1).ids, labels.ids)


def test_the_file_is_a_pyramid_of_the_ome(written):
    """As the specification has it: tiles, reduced images in SubIFDs, µm per pixel, all in the palette."""
    with tifffile.TiffFile(written) as tiff:
        assert tiff.is_ome
        assert len(tiff.pages) == 1  # the coarser levels are not pages of their own
        pages = [series.keyframe for series in tiff.series[0].levels]
        assert [page.shape for page in pages] == [(101, 77), (51, 39), (26, 20)]
        assert [page.subfiletype for page in pages] == [0, 1, 1]
        for level, page in enumerate(pages):
            assert page.tile == (32, 32)
            assert page.photometric == tifffile.PHOTOMETRIC.PALETTE
            assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
            assert page.tags["ResolutionUnit"].value == tifffile.RESUNIT.CENTIMETER
            assert page.resolution == pytest.approx((1e4 / (0.5 * 2**level),) * 2)
        root = ET.fromstring(tiff.ome_metadata)
    pixels = root.find(".//{*}Pixels")
    assert pixels is not None
    expected = {
        "Type": "uint8", "SizeX": "77", "SizeY": "101", "SizeC": "1",
        "PhysicalSizeX": "0.5", "PhysicalSizeXUnit": "µm", "PhysicalSizeY": "0.5", "PhysicalSizeYUnit": "µm",
    }  # fmt: skip
    assert {key: pixels.get(key) for key in expected} == expected
    assert [(entry.get("K"), entry.text) for entry in root.iterfind(".//{*}M")] == [("0", NAMES[0]), ("1", NAMES[1])]


def test_pillow_shows_the_colours(written):
    with Image.open(written) as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture), mask())
        colours = np.array([*PALETTE, (128, 128, 128)])[np.where(mask() == 255, 2, mask())]
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), colours)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=8), st.integers(1, 9))
def test_blocks_of_equal_height(heights, rows):
    whole = np.arange(sum(heights) * 3, dtype=np.uint8).reshape(-1, 3)
    blocks = list(regroup(np.split(whole, np.cumsum(heights)[:-1]), rows))
    assert [len(block) for block in blocks[:-1]] == [rows] * (len(blocks) - 1)
    assert all(0 < len(block) <= rows for block in blocks)
    np.testing.assert_array_equal(np.concatenate([whole[:0], *blocks]), whole)


def test_sides_are_halved_until_a_tile_holds_them():
    assert level_shapes((512, 512)) == ((512, 512),)
    assert level_shapes((513, 3)) == ((513, 3), (257, 2))
    assert level_shapes((5, 40), 16) == ((5, 40), (3, 20), (2, 10))


@pytest.mark.parametrize(
    ("bands", "changed", "message"),
    [
        ([mask()], {"shape": (100, 77)}, "101 rows.*100"),
        ([mask()[:50]], {}, "50 rows.*101"),
        ([], {}, "0 rows"),
        ([mask()[:, :70]], {}, r"\(101, 70\)"),
        ([mask().astype(int)], {}, "int64"),
        ([mask(), np.full((1, 77), 2, np.uint8)], {"shape": (102, 77)}, "class 2 has no name"),
        ([mask()], {"palette": PALETTE[:1]}, "2 names"),
        ([mask()], {"palette": ((0, 0, 256), (0, 0, 0))}, "0 to 255"),
        ([mask()], {"class_names": (), "palette": ()}, "1 to 255 classes"),
        ([mask()], {"mpp": 0.0}, "mpp"),
        ([mask()], {"mpp": float("nan")}, "mpp"),
        ([mask()], {"tile": 20}, "multiple of 16"),
        ([mask()], {"shape": (0, 77)}, "1 pixel"),
        ([mask()], {"path": "mask.tif"}, r"\.ome\.tif"),
    ],
)
def test_what_is_no_label_image_leaves_the_old_file(written, bands, changed, message):
    before = written.read_bytes()
    options = {"path": written.name, "shape": (101, 77)} | OPTIONS | changed
    with pytest.raises(ValueError, match=message):
        write_labels(written.parent / options.pop("path"), iter(bands), options.pop("shape"), **options)
    assert written.read_bytes() == before
    assert list(written.parent.iterdir()) == [written]


def test_reading_names_what_is_no_label_image(written, tmp_path):
    with pytest.raises(ValueError, match="levels 0 to 2, not 3"):
        read_labels(written, 3)
    with pytest.raises(ValueError, match="levels 0 to 2, not -4"):
        read_labels(written, -4)
    with pytest.raises(FileNotFoundError, match="no label image"):
        read_labels(tmp_path / "none.ome.tif")
    text, grey, plain = (tmp_path / f"{name}.ome.tif" for name in ("text", "grey", "plain"))
    text.write_text("not a picture")
    with pytest.raises(ValueError, match="not a readable OME-TIFF"):
        read_labels(text)
    named = {"PhysicalSizeX": 0.5, "MapAnnotation": {"Namespace": NAMESPACE, "0": "background"}}
    tifffile.imwrite(grey, mask(), metadata=named)
    tifffile.imwrite(plain, mask(), ome=False)
    for path in (grey, plain):
        with pytest.raises(ValueError, match="no label image"):
            read_labels(path)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.7, 0.9, 0.99])
def test_a_file_cut_short_is_named(written, share):
    content = written.read_bytes()
    written.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match="mask.ome.tif"):
        read_labels(written, -1)  # the last in the file


def test_damaged_pixels_are_named(written: Path):
    with tifffile.TiffFile(written) as tiff:
        offset, count = tiff.pages[0].dataoffsets[0], tiff.pages[0].databytecounts[0]
    content = bytearray(written.read_bytes())
    content[offset : offset + count] = bytes(count)
    written.write_bytes(content)
    with pytest.raises(ValueError, match="not a readable OME-TIFF"):
        read_labels(written)


def test_a_large_file_is_a_bigtiff(tmp_path, monkeypatch):
    monkeypatch.setattr("histolab_lite.formats.ome_tiff._CLASSIC", 1 << 20)
    path = write_labels(tmp_path / "mask.ome.tif", [mask()], mask().shape, **OPTIONS)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_bigtiff
    np.testing.assert_array_equal(read_labels(path).ids, mask())
