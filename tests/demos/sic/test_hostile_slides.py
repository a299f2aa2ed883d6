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
from tests.demos.sic.hostile_slides import (
    DEFLATE,
    JPEG,
    JPEG2000,
    LZW,
    NONE,
    PINK,
    START,
    ZSTD,
    Far,
    bigtiff,
    encoded,
    frame,
    jpeg2000_stream,
    jpeg_of_many_scans,
    level,
    segment,
    slide,
)

SECONDS, MEGABYTES = 20, 100  # of this thread on the processor, however busy the machine is
TILE = encoded(DEFLATE, 256)


def small(**tags) -> dict:
    """A good level of 1024 pixels but for these tags, such as ``t259=(3, [50000])``."""
    return level(1024, 256, DEFLATE, len(TILE)) | {int(tag[1:]): value for tag, value in tags.items()}


def one(**tags) -> bytes:
    return bigtiff([small(**tags)], TILE)


def many_directories() -> bytes:
    return bigtiff([small(), *[level(256, 256, DEFLATE, len(TILE), reduced=True)] * 10**4], TILE)


def shared_description() -> bytes:
    """10 MB, to be read for each of 60 directories."""
    long = {270: (2, Far(10_000_008, START + len(TILE)))}
    content = TILE + b"Aperio " + b"a=b|" * 2_500_000 + b"\0"
    return bigtiff([small() | long, *[small(t254=(4, [1])) | long] * 60], content)


def missing() -> bytes:
    """OpenSlide would make each tile of the smallest level from 4,096 of the largest."""
    smaller = [level(16_384 >> shift, 256, DEFLATE, 0, True) for shift in (2, 4, 6)]
    return bigtiff([level(16_384, 256, DEFLATE, len(TILE)), *smaller], TILE)


def strips_for_tiles() -> bytes:
    """libtiff reads them as tiles."""
    tags = small(t322=(4, [4096]), t323=(4, [4096]), t273=(16, [START]), t279=(16, [100]))
    return bigtiff([{tag: value for tag, value in tags.items() if tag not in (324, 325)}], TILE)


def two_widths() -> bytes:
    """The tag of the kind of level becomes a second one of the tiles' width."""
    kind, width = (tag.to_bytes(2, "little") + (4).to_bytes(2, "little") for tag in (254, 322))
    return one().replace(kind, width)


def tiled(compression: int, content: bytes = b"", side: int = 256) -> bytes:
    return slide(4 * side, side, compression, content=content)


def jpeg2000(**options) -> bytes:
    return tiled(JPEG2000, jpeg2000_stream(**options))


HEAD = b"II+\0\x08\0\0\0"
HOSTILE = {
    "4,096 × 4,096": {
        "JPEG tiles of 4096": lambda: slide(102_400, 4096, JPEG, 6400, 1600),
        "LZW tiles of 4096": lambda: slide(102_400, 4096, LZW, 6400, 1600),
        "deflated tiles of 4096": lambda: slide(102_400, 4096, DEFLATE, 6400, 1600),
        "JPEG 2000 tiles of 4096": lambda: slide(102_400, 4096, JPEG2000, 6400),
    },
    "16 × 16": {"tiny tiles": lambda: tiled(DEFLATE, side=16)},
    "256 × 1,040": {"high tiles": lambda: one(t323=(4, [1040]))},
    "8,192 × 256": {"one tile is large": lambda: bigtiff([small(), small(t322=(4, [8192]))], TILE)},
    "more than 250,000 tiles": {
        "2^31 pixels wide": lambda: one(t256=(4, [2**31 - 1]), t257=(4, [2**31 - 1])),
        "on two levels": lambda: bigtiff([level(92_160, 256, DEFLATE, len(TILE))] * 2, TILE),
    },
    "damaged": {
        "a level of nothing": lambda: one(t256=(4, [0])),
        "levels in a loop": lambda: bigtiff([small()] * 3, TILE, last=0),
        "a level after itself": lambda: bigtiff([small()], TILE, last=0),
        "no directory there": lambda: HEAD + (2**64 - 1).to_bytes(8, "little"),
        "cut off": lambda: b"MM\0*\0",
        "2^32 offsets": lambda: one(t324=(16, Far(2**32, START))),
        "2^63 offsets": lambda: one(t324=(16, Far(2**63, START))),
        "too few lengths": lambda: one(t325=(16, [100] * 15)),
        "planes without tiles": lambda: one(t284=(3, [2])),
        "65,536 widths": lambda: one(t256=(4, Far(2**16, START))),
        "a signed width": lambda: one(t256=(9, Far(1, 1024))),
        "strips beside tiles": lambda: one(t273=(16, [START] * 16), t279=(16, [100] * 16)),
        "strips for tiles": strips_for_tiles,
        "two compressions": lambda: one(t259=(3, [JPEG, JPEG2000])),
        "two widths of tiles": two_widths,
    },
    "not structured like a slide": {
        "10,000 levels": many_directories,
        "2^40 tags": lambda: HEAD + START.to_bytes(8, "little") + (2**40).to_bytes(8, "little"),
        "a description of 2^32": lambda: one(t270=(2, Far(2**32, START))),
        "a shared description": shared_description,
        "a profile of 10 MB": lambda: one(t34675=(7, b"x" * 10**7)),
        "an unknown tag of 2^40": lambda: one(t50000=(16, Far(2**40, START))),
    },
    "compression that cannot be read": {
        "another compression": lambda: one(t259=(3, [ZSTD])),
        "JPEG 2000 tiles of 1024": lambda: tiled(JPEG2000, side=1024),
    },
    "not an RGB image": {
        "60,000 samples": lambda: one(t277=(3, [60_000])),
        "64 bits": lambda: one(t258=(3, [8, 64, 8])),
    },
    "are missing": {"missing tiles": missing},
    "not plain images": {
        "long tiles": lambda: bigtiff([level(1024, 256, DEFLATE, 10**6)], TILE),
        "progressive JPEG": lambda: tiled(JPEG, jpeg_of_many_scans(256, True)),
        "JPEG of many scans": lambda: tiled(JPEG, jpeg_of_many_scans(256, False)),
        "a larger JPEG": lambda: tiled(JPEG, encoded(JPEG, 1024)),
        "no JPEG": lambda: tiled(JPEG, b"\xff\xd8" + b"\xff\xe0\0\x02" * 1000),
        "JPEG with a hidden frame": lambda: tiled(
            JPEG, b"\xff\xd8\xff\x01\0\x15" + frame(0xC2, 256) + encoded(JPEG, 256)[2:]
        ),
        "a larger JPEG 2000": lambda: jpeg2000(side=60_000),
        "JPEG 2000 of 32,768 tiles": lambda: jpeg2000(tile=(1, 2)),
        "JPEG 2000 of 16,384 components": lambda: jpeg2000(components=16384),
        "JPEG 2000 in parts without number": lambda: jpeg2000(parts=0),
        "JPEG 2000 in two parts": lambda: jpeg2000(parts=2),
        "JPEG 2000 with precincts": lambda: jpeg2000(precincts=True),
        "JPEG 2000 with precincts of one component": lambda: jpeg2000(
            more=segment(0x53, b"\0\1\5\2\2\0\1" + b"\x11" * 6)
        ),
        "JPEG 2000 with hidden precincts": lambda: jpeg2000(more=segment(0x30, b"\xff\x52" + b"\0" * 40)),
    },
    "no smaller levels": {
        "levels too far apart": lambda: slide(60_000, 256, DEFLATE, 3750, mpp=0.26),
        "one large level": lambda: slide(16_384, 1024, DEFLATE),
    },
}
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


def test_the_attack_that_was_seen_is_small_and_claims_much(write):
    path = write(ROWS["JPEG tiles of 4096"][0]())
    assert path.stat().st_size < 10**6
    assert openslide.OpenSlide(path).dimensions == (102_400, 102_400)


def test_too_many_pixels_under_the_patches_are_refused(write):
    path = write(slide(63_488, 1024, DEFLATE, 3968, mpp=0.0645))
    work, began = prepare(path, "k", "t"), time.thread_time()
    with pytest.raises(UploadError, match="too large to read so many patches"):
        finish(work)
    assert time.thread_time() - began < SECONDS  # a level of 3,968 pixels is decoded


@pytest.mark.parametrize("seed", range(20))
def test_a_file_with_changed_bytes_is_read_or_refused(write, seed):
    rng = np.random.default_rng(seed)
    content = bytearray(slide(1024, 256, JPEG, 256))
    for at in rng.integers(len(content) - 700, len(content), 10):  # where the directories are
        content[at] = rng.integers(256)
    with contextlib.suppress(UploadError), open_slide(write(bytes(content)), 0.5) as opened:
        assert max(opened.dimensions) <= LONGEST_SIDE


def test_a_label_and_a_thumbnail_are_never_decoded(write, no_umap, monkeypatch):
    tags = {tag: value for tag, value in level(60_000, 256, LZW, 0, True).items() if tag < 322}
    huge = tags | {273: (16, [START]), 278: (4, [60_000]), 279: (16, [10**6])}  # in strips, not tiles
    rgb = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    rgb[..., 1] //= 2
    path = write(bigtiff([level(1024, 256, NONE, rgb.nbytes), huge, huge], rgb.tobytes()))
    with openslide.OpenSlide(path) as opened:
        assert "thumbnail" in list(opened.associated_images)
    monkeypatch.setattr(openslide.lowlevel, "read_associated_image", None)
    assert len(finish(prepare(path, "k", "t"))) > 100


def test_time_is_up_between_two_patches_too(monkeypatch):
    ticks = count()
    monkeypatch.setattr(slides, "Deadline", partial(Deadline, clock=lambda: float(next(ticks))))
    monkeypatch.setattr(slides, "MOST_SECONDS", 40.0)
    work = prepare(FOLDER / SLIDE, "k", "t")
    assert [next(work).text, next(work).text] == ["Looking for tissue", "Embedding 1,558 patches"]
    with pytest.raises(UploadError, match="longest that is allowed"):
        next(work)


def test_tiles_with_the_same_bytes_are_checked_once(write, monkeypatch):
    checked = []
    monkeypatch.setattr(tiff, "is_plain_jpeg", lambda *given: checked.append(given) or True)
    tiff.check_tiff(write(slide(102_400, 256, JPEG, 6400, 1600)))
    assert len(checked) == 3  # once per level


@pytest.mark.parametrize(
    ("tile", "compression", "bigtiff", "byteorder"),
    [(64, None, False, "<"), (128, "lzw", True, ">"), (256, "jpeg", False, ">"), (512, "deflate", True, "<"),
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
    with open_slide(write(slide(1024, 256, compression, 256, content=content))) as opened:
        assert opened.mpp == 0.5
        if compression != 33003:  # in other colours
            assert np.abs(opened.read(100, 100, 64).astype(int) - PINK).max() < 12


def test_empty_tiles_and_some_missing_ones_do_no_harm(write):
    with open_slide(write(jpeg2000())) as opened:
        assert opened.read(0, 0, 64).shape == (64, 64, 3)
    open_slide(write(bigtiff([small(), level(256, 256, DEFLATE, 0, True)], TILE))).close()


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "mpp"), [("CMU-1-Small-Region.svs", None), ("tcga-cr-7395-01a-01-ts1.svs", 0.25)])
def test_a_real_slide_is_prepared(data_root, no_umap, name, mpp):
    path = data_root / "slides" / name
    if not path.exists():
        pytest.skip(f"{name} is needed under $HISTOLAB_DATA/slides")
    assert len(finish(prepare(path, "k", "t", mpp))) > 500
