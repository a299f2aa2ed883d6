"""Patches that are read ahead are those of a loop, in its order, whatever goes wrong on the way."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from histolab_lite.data.slides import Slide, SlideError, patch_grid, read_patches
from histolab_lite.embed.reading import AHEAD, PIECE, PatchStream
from histolab_lite.embed.settings import Settings

READ = "histolab_lite.embed.reading.read_patches"


def corners(size, slide_mpp, settings):
    """Level-0 corners row by row: all patches lie inside and share `overlap` of their side."""
    pixels = settings.mpp / slide_mpp
    stride = round((1 - settings.overlap) * settings.patch)
    columns, rows = (
        [round(i * stride * pixels) for i in range(side) if (i * stride + settings.patch) * pixels <= side]
        for side in size
    )
    return [[x, y] for y in rows for x in columns]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from("abc"),
    patch=st.integers(17, 148),  # the narrowest slide holds no larger one at the coarsest scale
    overlap=st.sampled_from([0.0, 0.1, 1 / 3, 0.5, 0.75]),
    mpp=st.sampled_from([0.3125, 0.5, 0.75, 1.0, 1.125]),  # exact as floats, so that a patch that just fits is one
)
def test_coordinates_are_those_of_a_loop(slides, name, patch, overlap, mpp):
    chosen = Settings(mpp=mpp, patch=patch, overlap=overlap, min_tissue=0)
    with ThreadPoolExecutor(1) as pool, PatchStream(slides[name], chosen, pool) as stream:
        assert stream.coords.tolist() == corners(stream.slide.dimensions, stream.slide.mpp, chosen)


@pytest.mark.parametrize("batch_size", [1, PIECE - 1, 16, 1000])
def test_batches_are_the_patches_of_a_loop_in_order(slides, quick, batch_size):
    chosen = replace(quick, batch_size=batch_size)
    with ThreadPoolExecutor(3) as pool, PatchStream(slides["a"], chosen, pool) as stream:
        batches = list(stream)
        assert list(stream) == []
    with Slide(slides["a"]) as slide:
        coords = patch_grid(slide, 48, 0.7, 36, 0.3)
        np.testing.assert_array_equal(np.concatenate(batches), read_patches(slide, coords, 48, 0.7))
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert len(coords) > 2 * 16


def test_no_more_than_a_few_batches_are_read_ahead(slides, quick, monkeypatch):
    read = []  # appending is atomic

    def counting(slide, coords, patch, mpp):
        read.extend(coords)
        return read_patches(slide, coords, patch, mpp)

    monkeypatch.setattr(READ, counting)
    pool = ThreadPoolExecutor(2)
    with PatchStream(slides["c"], quick, pool) as stream:
        next(iter(stream))
        pool.shutdown(wait=True)  # whatever was asked for is read by now
        assert len(read) == (AHEAD + 1) * quick.batch_size


def test_closing_waits_for_the_readers(slides, quick, monkeypatch):
    """Closing a slide under a reader would crash in OpenSlide; here a late reader would meet a closed slide."""
    started, release, errors = threading.Event(), threading.Event(), []

    def slow(slide, coords, patch, mpp):
        started.set()
        release.wait(30)
        try:
            return read_patches(slide, coords, patch, mpp)
        except SlideError as error:
            errors.append(error)
            raise

    monkeypatch.setattr(READ, slow)
    with ThreadPoolExecutor(2) as pool:
        stream = PatchStream(slides["a"], quick, pool)
        started.wait(30)
        closing = threading.Thread(target=stream.close)
        closing.start()
        closing.join(0.2)
        assert closing.is_alive()
        release.set()
        closing.join(30)
        assert not closing.is_alive()
    assert errors == []
    with pytest.raises(SlideError, match="closed"):
        stream.slide.read(0, 0, 8)


def test_a_slide_that_another_reader_found_damaged_is_named(slides, quick, monkeypatch):
    """After its first error OpenSlide refuses every request for that slide."""
    monkeypatch.setattr(READ, Mock(side_effect=openslide.OpenSlideError("Not a JPEG file")))
    with ThreadPoolExecutor(2) as pool, PatchStream(slides["a"], quick, pool) as stream:
        with pytest.raises(SlideError, match=r"a\.tif is damaged \(Not a JPEG file\)\. Copy it again"):
            list(stream)


def test_a_slide_too_small_for_a_patch_is_closed_again(slides, monkeypatch):
    monkeypatch.setattr(Slide, "close", close := Mock())
    with ThreadPoolExecutor(1) as pool, pytest.raises(SlideError, match="only 517 x 391"):
        PatchStream(slides["a"], Settings(mpp=0.5, patch=512), pool)
    close.assert_called_once()


def test_slide_mpp_is_used_only_where_the_file_states_no_scale(slides, tmp_path):
    silent = tmp_path / "silent.tif"
    image = np.random.default_rng(0).integers(90, 200, (256, 256, 3), dtype=np.uint8)
    tifffile.imwrite(silent, image, tile=(64, 64), photometric="rgb", resolutionunit="NONE")
    with pytest.raises(SlideError, match=r"silent\.tif.*--slide-mpp, in µm per pixel"):
        Settings().open(silent)
    for path, expected in ((silent, 0.25), (slides["a"], 0.5)):
        with Settings(slide_mpp=0.25).open(path) as slide:
            assert slide.mpp == pytest.approx(expected)
    with pytest.raises(FileNotFoundError):
        Settings(slide_mpp=0.25).open(tmp_path / "none.tif")


@pytest.mark.parametrize(
    ("name", "values", "keyword"),
    [
        ("mpp", (0.0, float("nan"), float("inf")), "^mpp .*positive"),
        ("slide_mpp", (-1.0, 0.0), "^slide_mpp .*positive"),
        ("patch", (0,), "1 or more"),
        ("batch_size", (0,), "1 or more"),
        ("overlap", (1.0, -0.1), "^overlap is a share"),
        ("min_tissue", (1.5, -0.1), "^min_tissue is a share"),
    ],
)
def test_settings_out_of_range_are_refused(name, values, keyword):
    for value in values:
        with pytest.raises(ValueError, match=keyword):
            Settings(**{name: value})


def test_a_stride_is_at_least_one_pixel():
    assert [Settings(patch=patch, overlap=overlap).stride for patch, overlap in ((10, 0.99), (255, 0.0))] == [1, 255]
