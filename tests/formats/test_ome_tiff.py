"""Label images keep every id, at every level, through files that other readers open."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from histolab_lite.formats.ome_tiff import NAMESPACE, read_labels, write_labels

NAMES = ("background", "gland <µ> & co")
PALETTE = ((221, 221, 221), (213, 94, 0))
OPTIONS = {"mpp": 0.5, "class_names": NAMES, "palette": PALETTE, "tile": 32}


def mask(shape=(101, 77)):
    return np.random.default_rng(0).choice(np.array([0, 1, 255], np.uint8), shape)


@pytest.fixture
def written(tmp_path):
    return write_labels(tmp_path / "mask.ome.tif", [mask()], mask().shape, **OPTIONS)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 150), st.integers(1, 150), st.lists(st.integers(0, 150), max_size=4))
@example(32, 7, [])
@example(33, 7, [40])
def test_every_level_is_every_other_pixel(tmp_path, height, width, cuts):
    ids = mask((height, width))
    path = write_labels(tmp_path / "mask.ome.tif", np.split(ids, sorted(cuts)), ids.shape, **OPTIONS)
    shapes = read_labels(path).levels
    assert max(shapes[-1]) <= 32
    assert all(max(shape) > 32 for shape in shapes[:-1])
    for level, shape in enumerate(shapes):
        labels = read_labels(path, level)
        np.testing.assert_array_equal(labels.ids, ids[:: 2**level, :: 2**level])
        assert (labels.ids.shape, labels.mpp, labels.class_names) == (shape, 0.5 * 2**level, NAMES)
        np.testing.assert_array_equal(labels.palette, PALETTE)
    coarsest = read_labels(path, -1)
    assert coarsest.mpp == labels.mpp
    np.testing.assert_array_equal(coarsest.ids, labels.ids)


def test_the_file_is_a_pyramid_of_the_ome(written):
    """As in the specification: tiles, reduced images in SubIFDs, µm per pixel, all with the palette."""
    with tifffile.TiffFile(written) as tiff:
        assert tiff.is_ome
        assert not tiff.is_bigtiff
        assert len(tiff.pages) == 1  # the coarser levels are not pages of their own
        pages = [series.keyframe for series in tiff.series[0].levels]
        assert [(page.shape, page.subfiletype) for page in pages] == [((101, 77), 0), ((51, 39), 1), ((26, 20), 1)]
        full_scale = np.array([*PALETTE, (128, 128, 128)]).T * 257  # 255 is 65535
        for level, page in enumerate(pages):
            np.testing.assert_array_equal(page.colormap[:, :3], full_scale)
            assert (page.tile, page.photometric.name, page.compression.name) == ((32, 32), "PALETTE", "ADOBE_DEFLATE")
            assert page.tags["ResolutionUnit"].value == tifffile.RESUNIT.CENTIMETER
            assert page.resolution == pytest.approx((1e4 / (0.5 * 2**level),) * 2)
        root = ET.fromstring(tiff.ome_metadata)
    expected = {"Type": "uint8", "SizeX": "77", "SizeY": "101", "SizeC": "1"}
    expected |= {f"PhysicalSize{axis}{key}": value for axis in "XY" for key, value in (("", "0.5"), ("Unit", "µm"))}
    assert expected.items() <= root.find(".//{*}Pixels").attrib.items()
    assert [(entry.get("K"), entry.text) for entry in root.iterfind(".//{*}M")] == [("0", NAMES[0]), ("1", NAMES[1])]
    with Image.open(written) as image:  # and Pillow shows the colours
        np.testing.assert_array_equal(np.asarray(image), mask())
        colours = np.array([*PALETTE, (128, 128, 128)])[np.where(mask() == 255, 2, mask())]
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), colours)


@pytest.mark.parametrize(
    ("bands", "changed", "keyword"),
    [
        ([mask()], {"shape": (100, 77)}, "101 rows.*100"),
        ([mask()[:50]], {}, "50 rows.*101"),
        ([], {}, "0 rows"),
        ([mask()[:, :70]], {}, r"\(101, 70\)"),
        ([mask().astype(int)], {}, "int64"),
        ([mask(), np.full((1, 77), 2, np.uint8)], {"shape": (102, 77)}, "class 2"),
        ([mask()], {"palette": PALETTE[:1]}, "2 names"),
        ([mask()], {"palette": ((0, 0, 256), (0, 0, 0))}, "0 to 255"),
        ([mask()], {"class_names": (), "palette": ()}, "1 to 255 classes"),
        ([mask()], {"mpp": 0.0}, "mpp"),
        ([mask()], {"mpp": float("nan")}, "mpp"),
        ([mask()], {"tile": 20}, "multiple of 16"),
        ([mask()], {"tile": 0}, "multiple of 16"),
        ([mask()], {"shape": (0, 77)}, "1 pixel"),
        ([mask()], {"path": "mask.tif"}, r"\.ome\.tif"),
    ],
)
def test_bad_label_images_leave_the_old_file(written, bands, changed, keyword):
    before = written.read_bytes()
    options = {"path": written.name, "shape": (101, 77)} | OPTIONS | changed
    with pytest.raises(ValueError, match=keyword):
        write_labels(written.parent / options.pop("path"), iter(bands), options.pop("shape"), **options)
    assert written.read_bytes() == before
    assert list(written.parent.iterdir()) == [written]


def test_other_files_and_levels_are_refused(written):
    for level in (3, -4):
        with pytest.raises(ValueError, match=f"levels 0 to 2, not {level}"):
            read_labels(written, level)
    folder = written.parent
    (folder / "text").write_text("no image")
    named = {"PhysicalSizeX": 0.5, "MapAnnotation": {"Namespace": NAMESPACE, "0": "background"}}
    tifffile.imwrite(folder / "grey.ome.tif", mask(), metadata=named)
    tifffile.imwrite(folder / "plain", mask(), ome=False)
    for name, error, keyword in (
        ("none", FileNotFoundError, "no label image"),
        ("text", ValueError, "readable OME-TIFF"),
        ("grey.ome.tif", ValueError, "no label image"),
        ("plain", ValueError, "no label image"),
    ):
        with pytest.raises(error, match=keyword):
            read_labels(folder / name)


def test_damaged_files_are_named(written):
    content = written.read_bytes()
    for share in (0.01, 0.2, 0.5, 0.7, 0.9, 0.99):
        written.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(ValueError, match="mask.ome.tif"):
            read_labels(written, -1)  # the last in the file
    written.write_bytes(content)
    with tifffile.TiffFile(written) as tiff:
        offset, count = tiff.pages[0].dataoffsets[0], tiff.pages[0].databytecounts[0]
    written.write_bytes(content[:offset] + bytes(count) + content[offset + count :])
    with pytest.raises(ValueError, match="not a readable OME-TIFF"):
        read_labels(written)


def test_a_large_file_is_a_bigtiff(tmp_path, monkeypatch):
    monkeypatch.setattr("histolab_lite.formats.ome_tiff._CLASSIC", 1 << 20)
    path = write_labels(tmp_path / "mask.ome.tif", [mask()], mask().shape, **OPTIONS)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_bigtiff
    np.testing.assert_array_equal(read_labels(path).ids, mask())
