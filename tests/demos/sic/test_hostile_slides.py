"""Slides made to keep a server busy: each gets a sentence within seconds, before a pixel is decoded."""

import contextlib
import resource
import time
from functools import partial
from itertools import count

import numpy as np
import openslide
import pytest
import tifffile

from demos.bundle import FOLDER
from demos.shared.uploads import UploadError
from demos.sic import slides, tiff
from demos.sic.deadline import Deadline
from demos.sic.opening import LONGEST_SIDE, open_slide
from demos.sic.samples import SLIDE, finish
from demos.sic.slides import prepare
from tests.demos.sic import hostile_slides as hostile
from tests.demos.sic.hostile_slides import DEFLATE, HOSTILE, JPEG, JPEG2000, LZW, PINK, START, bigtiff, encoded, level

SECONDS, MEGABYTES = 20, 100  # of this thread on the processor, however busy the machine is
ROWS = {what: (make, message) for message, rows in HOSTILE.items() for what, make in rows.items()}


@pytest.fixture
def write(tmp_path):
    def written(content: bytes):
        (tmp_path / "upload.svs").write_bytes(content)
        return tmp_path / "upload.svs"

    return written


def peak() -> float:
    """The most megabytes that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


@pytest.mark.parametrize("what", ROWS)
def test_a_slide_that_would_keep_a_server_busy_is_refused_at_once(write, what, monkeypatch):
    make, message = ROWS[what]
    path = write(make())
    monkeypatch.setattr(openslide.lowlevel, "read_region", None)  # no pixel is decoded
    before, began = peak(), time.thread_time()
    with pytest.raises(UploadError, match=message) as error:
        finish(prepare(path, "k", "t"))
    assert time.thread_time() - began < SECONDS
    assert peak() - before < MEGABYTES
    assert str(error.value).endswith(".")
    assert str(path) not in str(error.value)


def test_too_many_pixels_under_the_patches_are_refused(write):
    path = write(hostile.slide(63_488, 1024, DEFLATE, 3968, mpp=0.0645))
    work, began = prepare(path, "k", "t"), time.thread_time()
    with pytest.raises(UploadError, match="too large to read so many patches"):
        finish(work)
    assert time.thread_time() - began < SECONDS  # a level of 3,968 pixels is decoded


@pytest.mark.parametrize("seed", range(20))
def test_a_file_with_changed_bytes_is_read_or_refused(write, seed):
    rng = np.random.default_rng(seed)
    content = bytearray(hostile.slide(1024, 256, JPEG, 256))
    for at in rng.integers(len(content) - 700, len(content), 10):  # where the directories are
        content[at] = rng.integers(256)
    with contextlib.suppress(UploadError), open_slide(write(bytes(content)), 0.5) as opened:
        assert max(opened.dimensions) <= LONGEST_SIDE


def test_a_label_and_a_thumbnail_are_never_decoded(write, no_umap, monkeypatch):
    tags = {tag: value for tag, value in level(60_000, 256, LZW, 0, True).items() if tag < 322}
    huge = tags | {273: (16, [START]), 278: (4, [60_000]), 279: (16, [10**6])}  # in strips, not tiles
    rgb = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    rgb[..., 1] //= 2
    path = write(bigtiff([level(1024, 256, hostile.NONE, rgb.nbytes), huge, huge], rgb.tobytes()))
    with openslide.OpenSlide(path) as opened:
        assert "thumbnail" in list(opened.associated_images)
    monkeypatch.setattr(openslide.lowlevel, "read_associated_image", None)
    assert len(finish(prepare(path, "k", "t"))) > 100


def test_time_is_up_between_two_patches_too(monkeypatch):
    seconds = count()
    monkeypatch.setattr(slides, "Deadline", partial(Deadline, clock=lambda: float(next(seconds))))
    monkeypatch.setattr(slides, "MOST_SECONDS", 40.0)
    work = prepare(FOLDER / SLIDE, "k", "t")
    assert [next(work).text, next(work).text] == ["Looking for tissue", "Embedding 1,558 patches"]
    with pytest.raises(UploadError, match="longest that is allowed"):
        next(work)


def test_tiles_with_the_same_bytes_are_checked_once(write, monkeypatch):
    checked = []
    monkeypatch.setattr(tiff, "is_plain_jpeg", lambda *given: checked.append(given) or True)
    tiff.check_tiff(write(hostile.slide(102_400, 256, JPEG, 6400, 1600)))
    assert len(checked) == 3  # once per level


@pytest.mark.parametrize(
    ("tile", "compression", "bigtiff", "byteorder"),
    [(64, None, False, "<"), (128, "lzw", True, ">"), (256, "jpeg", False, "<"), (512, "deflate", True, ">"),
     (1024, "packbits", False, "<"), (1024, "jpeg", True, ">")],
)  # fmt: skip
def test_a_slide_from_a_converter_is_read(tmp_path, tile, compression, bigtiff, byteorder):
    path = tmp_path / "slide.tif"
    options = {"tile": (tile, tile), "compression": compression, "photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(path, bigtiff=bigtiff, byteorder=byteorder) as file:
        for side in (2048, 1024):
            file.write(np.full((side, side, 3), PINK, np.uint8), subfiletype=int(side < 2048), **options)
    with open_slide(path, 0.5) as opened:
        assert opened.dimensions == (2048, 2048)
        assert np.abs(opened.read(500, 500, 64).astype(int) - PINK).max() < 12


@pytest.mark.parametrize("compression", [JPEG2000, 33003, JPEG, LZW])
def test_a_slide_from_a_scanner_is_read(write, compression):
    content = encoded(JPEG2000 if compression == 33003 else compression, 256)
    with open_slide(write(hostile.slide(1024, 256, compression, 256, content=content))) as opened:
        assert opened.mpp == 0.5
        if compression != 33003:  # in other colours
            assert np.abs(opened.read(100, 100, 64).astype(int) - PINK).max() < 12


def test_empty_tiles_and_some_missing_ones_do_no_harm(write):
    with open_slide(write(hostile.tiled(JPEG2000, hostile.jpeg2000()))) as opened:
        assert opened.read(0, 0, 64).shape == (64, 64, 3)
    tags = [hostile.small(), level(256, 256, DEFLATE, 0, True)]
    open_slide(write(bigtiff(tags, hostile.TILE))).close()


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "mpp"), [("CMU-1-Small-Region.svs", None), ("tcga-cr-7395-01a-01-ts1.svs", 0.25)])
def test_a_real_slide_is_prepared(data_root, no_umap, name, mpp):
    path = data_root / "slides" / name
    if not path.exists():
        pytest.skip(f"{name} is needed under $HISTOLAB_DATA/slides")
    assert len(finish(prepare(path, "k", "t", mpp))) > 500
