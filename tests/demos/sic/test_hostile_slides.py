"""Slides made to keep a server busy: each gets a sentence within seconds, before a pixel is decoded."""

from __future__ import annotations

import contextlib
import resource
import time
from functools import partial
from itertools import count

import numpy as np
import openslide
import pytest
import tifffile

pytest.importorskip("gradio", reason="the demos need gradio: pip install 'histolab-lite[demos]'")

from demos.bundle import FOLDER  # noqa: E402
from demos.shared.uploads import UploadError  # noqa: E402
from demos.sic import slides, tiff  # noqa: E402
from demos.sic.deadline import Deadline  # noqa: E402
from demos.sic.opening import LONGEST_SIDE, open_slide  # noqa: E402
from demos.sic.samples import SLIDE, finish  # noqa: E402
from demos.sic.slides import prepare  # noqa: E402
from tests.demos.sic.hostile_slides import (  # noqa: E402
    DEFLATE,
    JPEG,
    JPEG2000,
    LZW,
    NONE,
    SCALE,
    START,
    ZSTD,
    Far,
    bigtiff,
    deflated,
    flat,
    frame,
    jpeg,
    jpeg2000,
    jpeg2000_stream,
    jpeg_of_many_scans,
    level,
    lzw,
    segment,
    slide,
)

SECONDS, MEGABYTES = 5, 100  # of the processor, which others may use too


def small(**tags) -> dict:
    """One level of 1024 pixels, fit to be read but for these tags, such as ``t259=(3, [50000])``."""
    return level(1024, 256, DEFLATE, len(deflated(256))) | {int(tag[1:]): value for tag, value in tags.items()}


def one(**tags) -> bytes:
    return bigtiff([small(**tags)], deflated(256))


def many_directories() -> bytes:
    tags = level(256, 256, DEFLATE, len(deflated(256)), reduced=True)
    return bigtiff([small(), *[tags] * 10**5], deflated(256))


def shared_description() -> bytes:
    """10 MB, told of each of 60 directories."""
    content = deflated(256) + b"Aperio " + b"a=b|" * 2_500_000 + b"\0"
    long = {270: (2, Far(10_000_008, START + len(deflated(256))))}
    return bigtiff([small() | long, *[small(t254=(4, [1])) | long] * 60], content)


def missing(side: int = 16384) -> bytes:
    """OpenSlide would make each tile of the smallest level from 4,096 of the largest."""
    smaller = [level(side >> shift, 256, DEFLATE, 0, True) for shift in (2, 4, 6)]
    return bigtiff([level(side, 256, DEFLATE, len(deflated(256))), *smaller], deflated(256))


def strips_for_tiles() -> bytes:
    """Which libtiff reads as tiles."""
    tags = small(t322=(4, [4096]), t323=(4, [4096]), t273=(16, [START]), t279=(16, [100]))
    return bigtiff([{tag: value for tag, value in tags.items() if tag not in (324, 325)}], deflated(256))


def tiled(compression: int, content: bytes, side: int = 256) -> bytes:
    return slide(4 * side, side, compression, content)


HEAD = b"II+\0\x08\0\0\0"
BUILT_OTHERWISE, BROKEN, NOT_PLAIN = "not built as slides are", "damaged", "not the plain images"
HOSTILE = {
    "JPEG tiles of 4096": (lambda: slide(102_400, 4096, JPEG, jpeg(4096), 6400, 1600), "4,096 × 4,096"),
    "LZW tiles of 4096": (lambda: slide(102_400, 4096, LZW, lzw(4096), 6400, 1600), "4,096 × 4,096"),
    "deflated tiles of 4096": (lambda: slide(102_400, 4096, DEFLATE, deflated(4096), 6400, 1600), "4,096 × 4,096"),
    "JPEG 2000 tiles of 4096": (lambda: slide(102_400, 4096, JPEG2000, jpeg2000(4096), 6400), "4,096 × 4,096"),
    "JPEG 2000 tiles of 1024": (lambda: tiled(JPEG2000, jpeg2000(1024), 1024), "compressed in a way"),
    "tiny tiles": (lambda: tiled(DEFLATE, deflated(16), 16), "16 × 16"),
    "one tile is large": (lambda: bigtiff([small(), small(t322=(4, [8192]))], deflated(256)), "8,192 × 256"),
    "2^31 pixels wide": (lambda: one(t256=(4, [2**31 - 1]), t257=(4, [2**31 - 1])), "more than 250,000 tiles"),
    "a level of nothing": (lambda: one(t256=(4, [0])), BROKEN),
    "levels in a loop": (lambda: bigtiff([small()] * 3, deflated(256), last=0), BROKEN),
    "a level after itself": (lambda: bigtiff([small()], deflated(256), last=0), BROKEN),
    "100,000 levels": (many_directories, BUILT_OTHERWISE),
    "2^40 tags": (lambda: HEAD + START.to_bytes(8, "little") + (2**40).to_bytes(8, "little"), BUILT_OTHERWISE),
    "no directory there": (lambda: HEAD + (2**64 - 1).to_bytes(8, "little"), BROKEN),
    "cut off": (lambda: b"MM\0*\0", BROKEN),
    "2^32 offsets": (lambda: one(t324=(16, Far(2**32, START))), BROKEN),
    "2^63 offsets": (lambda: one(t324=(16, Far(2**63, START))), BROKEN),
    "65,536 widths": (lambda: one(t256=(4, Far(2**16, START))), BROKEN),
    "a description of 2^32": (lambda: one(t270=(2, Far(2**32, START))), BUILT_OTHERWISE),
    "a shared description": (shared_description, BUILT_OTHERWISE),
    "a profile of 10 MB": (lambda: one(t34675=(7, b"x" * 10**7)), BUILT_OTHERWISE),
    "an unknown tag of 2^40": (lambda: one(t50000=(16, Far(2**40, START))), BUILT_OTHERWISE),
    "strips beside tiles": (lambda: one(t273=(16, [START] * 16), t279=(16, [100] * 16)), BROKEN),
    "strips for tiles": (strips_for_tiles, BROKEN),
    "another compression": (lambda: one(t259=(3, [ZSTD])), "compressed in a way"),
    "two compressions": (lambda: one(t259=(3, [JPEG, JPEG2000])), BROKEN),
    "60,000 samples": (lambda: one(t277=(3, [60_000])), "does not hold colours"),
    "64 bits": (lambda: one(t258=(3, [64, 64, 64])), "does not hold colours"),
    "missing tiles": (missing, "are missing"),
    "long tiles": (lambda: bigtiff([level(1024, 256, DEFLATE, 10**6)], deflated(256)), NOT_PLAIN),
    "progressive JPEG": (lambda: tiled(JPEG, jpeg_of_many_scans(256, True)), NOT_PLAIN),
    "JPEG of many scans": (lambda: tiled(JPEG, jpeg_of_many_scans(256, False)), NOT_PLAIN),
    "a larger JPEG": (lambda: tiled(JPEG, jpeg(1024)), NOT_PLAIN),
    "no JPEG": (lambda: tiled(JPEG, b"\xff\xd8" + b"\xff\xe0\0\x02" * 1000), NOT_PLAIN),
    "a larger JPEG 2000": (lambda: tiled(JPEG2000, jpeg2000_stream(60_000)), NOT_PLAIN),
    "JPEG 2000 of 32,768 tiles": (lambda: tiled(JPEG2000, jpeg2000_stream(256, (1, 2))), NOT_PLAIN),
    "JPEG 2000 of 16,384 components": (lambda: tiled(JPEG2000, jpeg2000_stream(256, components=16384)), NOT_PLAIN),
    "JPEG 2000 in parts without number": (lambda: tiled(JPEG2000, jpeg2000_stream(256, parts=0)), NOT_PLAIN),
    "JPEG 2000 in two parts": (lambda: tiled(JPEG2000, jpeg2000_stream(256, parts=2)), NOT_PLAIN),
    "JPEG 2000 with precincts": (lambda: tiled(JPEG2000, jpeg2000_stream(256, precincts=True)), NOT_PLAIN),
    "JPEG 2000 with precincts of one component": (
        lambda: tiled(JPEG2000, jpeg2000_stream(256, more=segment(0x53, b"\0\1\5\2\2\0\1" + b"\x11" * 6))),
        NOT_PLAIN,
    ),
    "JPEG with another frame hidden in it": (
        lambda: tiled(JPEG, b"\xff\xd8\xff\x01\0\x15" + frame(0xC2, 256) + jpeg(256)[2:]),
        NOT_PLAIN,
    ),
    "JPEG 2000 with precincts hidden in it": (
        lambda: tiled(JPEG2000, jpeg2000_stream(256, more=segment(0x30, b"\xff\x52" + b"\0" * 40))),
        NOT_PLAIN,
    ),
    "levels too far apart": (
        lambda: slide(60_000, 256, DEFLATE, deflated(256), 3750, about=b"Aperio|MPP = 0.26\0"),
        "no smaller levels",
    ),
    "one large level": (
        lambda: slide(16_384, 1024, DEFLATE, deflated(1024)),
        "no smaller levels",
    ),
}


@pytest.fixture
def write(tmp_path):
    def written(content: bytes):
        (tmp_path / "upload.svs").write_bytes(content)
        return tmp_path / "upload.svs"

    return written


def peak() -> float:
    """MB that this process had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


@pytest.mark.parametrize("what", HOSTILE)
def test_what_would_keep_a_server_busy_is_refused_at_once(write, what):
    make, match = HOSTILE[what]
    path = write(make())
    before, began = peak(), time.process_time()
    with pytest.raises(UploadError, match=match) as error:
        finish(prepare(path, "k", "t"))
    assert time.process_time() - began < SECONDS
    assert peak() - before < MEGABYTES
    assert str(error.value).endswith(".")
    assert str(path) not in str(error.value)


def test_the_attack_that_was_seen_is_small_and_claims_much(write):
    path = write(HOSTILE["JPEG tiles of 4096"][0]())
    assert path.stat().st_size < 10**6
    assert openslide.OpenSlide(path).dimensions == (102_400, 102_400)


def test_a_second_tag_of_the_same_kind_is_refused(write):
    content = bytearray(one())
    at = content.rindex((323).to_bytes(2, "little") + (4).to_bytes(2, "little"))
    content[at : at + 2] = (322).to_bytes(2, "little")
    with pytest.raises(UploadError, match=BROKEN):
        open_slide(write(bytes(content)))


@pytest.mark.parametrize("seed", range(20))
def test_a_file_with_bytes_changed_is_read_or_refused(write, seed):
    rng = np.random.default_rng(seed)
    content = bytearray(slide(1024, 256, JPEG, jpeg(256), 256))
    start = len(content) - 700  # where the directories are
    for at in rng.integers(start, len(content), 10):
        content[at] = rng.integers(256)
    with contextlib.suppress(UploadError), open_slide(write(bytes(content)), 0.5) as opened:
        assert max(opened.dimensions) <= LONGEST_SIDE


def test_more_pixels_under_patches_than_can_be_decoded_are_refused(write):
    path = write(slide(63_488, 1024, DEFLATE, deflated(1024), 3968, about=b"Aperio|MPP = 0.0645\0"))
    work, began = prepare(path, "k", "t"), time.process_time()
    with pytest.raises(UploadError, match="too large to read so many patches"):
        finish(work)
    assert time.process_time() - began < 4 * SECONDS  # a level of 4,096 pixels is looked at


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
    with pytest.raises(UploadError, match="longer than can be spent on it"):
        next(work)


def test_an_empty_tile_of_jpeg2000_is_read(write):
    with open_slide(write(tiled(JPEG2000, jpeg2000_stream(256)))) as opened:
        assert opened.read(0, 0, 64).shape == (64, 64, 3)


@pytest.mark.parametrize("tile", [128, 256, 512, 1024])
@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "jpeg", "packbits"])
@pytest.mark.parametrize(("bigtiff", "byteorder"), [(False, "<"), (True, ">")])
def test_what_converters_write_is_read(tmp_path, tile, compression, bigtiff, byteorder):
    path = tmp_path / "slide.tif"
    options = {"tile": (tile, tile), "compression": compression, "photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(path, bigtiff=bigtiff, byteorder=byteorder) as file:
        for side in (2048, 1024):
            file.write(flat(side), subfiletype=int(side < 2048), **options)
    with open_slide(path, 0.5) as opened:
        assert opened.dimensions == (2048, 2048)
        assert np.abs(opened.read(500, 500, 64).astype(int) - flat(64)).max() < 12


@pytest.mark.parametrize(("compression", "encode"), [(JPEG2000, jpeg2000), (JPEG, jpeg), (LZW, lzw)])
def test_what_scanners_write_is_read(write, compression, encode):
    with open_slide(write(slide(1024, 256, compression, encode(256), 256, about=SCALE))) as opened:
        assert opened.mpp == 0.5
        assert np.abs(opened.read(100, 100, 64).astype(int) - flat(64)).max() < 12


def test_some_missing_tiles_of_smaller_levels_are_no_harm(write):
    tags = level(256, 256, DEFLATE, 0, True)
    path = write(bigtiff([small(), tags], deflated(256)))
    open_slide(path).close()


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "mpp"), [("CMU-1-Small-Region.svs", None), ("tcga-cr-7395-01a-01-ts1.svs", 0.25)]
)
def test_real_slides_are_still_prepared(data_root, no_umap, name, mpp):
    path = data_root / "slides" / name
    if not path.exists():
        pytest.skip(f"{name} is needed under $HISTOLAB_DATA/slides")
    assert len(finish(prepare(path, "k", "t", mpp))) > 500


def test_checking_a_slide_of_many_tiles_takes_a_moment(write):
    path = write(slide(102_400, 256, JPEG, jpeg(256), 6400, 1600))
    began = time.process_time()
    tiff.check_tiff(path)
    assert time.process_time() - began < SECONDS
