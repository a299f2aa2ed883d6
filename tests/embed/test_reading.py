"""The patches that are read ahead are those that a loop would read, in its order, whatever goes wrong on the way."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from histolab_lite.data.slides import Slide, SlideError, patch_grid, read_patches
from histolab_lite.embed.reading import AHEAD, PIECE, PatchStream
from histolab_lite.embed.settings import Settings


def corners(size: tuple[int, int], slide_mpp: float, settings: Settings) -> list[list[int]]:
    """Level-0 corners row by row, in loops; all lie inside, and share `overlap` of their side with the one before."""
    pixels = settings.mpp / slide_mpp
    stride = round((1 - settings.overlap) * settings.patch)
    found = []
    row = 0
    while (row * stride + settings.patch) * pixels <= size[1]:
        column = 0
        while (column * stride + settings.patch) * pixels <= size[0]:
            found.append([round(column * stride * pixels), round(row * stride * pixels)])
            column += 1
        row += 1
    return found


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from("abc"),
    patch=st.integers(17, 150),
    overlap=st.sampled_from([0.0, 0.1, 1 / 3, 0.5, 0.75]),
    mpp=st.sampled_from([0.3125, 0.5, 0.75, 1.0, 1.125]),  # exact as floats, so that a patch that just fits is one
)
def test_coordinates_are_those_of_a_loop(
    slides: dict[str, Path], name: str, patch: int, overlap: float, mpp: float
) -> None:
    chosen = Settings(mpp=mpp, patch=patch, overlap=overlap, min_tissue=0)
    with ThreadPoolExecutor(1) as pool, PatchStream(slides[name], chosen, pool) as stream:
        assert stream.coords.tolist() == corners(stream.slide.dimensions, stream.slide.mpp, chosen)


@pytest.mark.parametrize("batch_size", [1, PIECE - 1, 16, 1000])
def test_batches_in_order_are_the_patches_of_a_loop(slides: dict[str, Path], quick: Settings, batch_size: int) -> None:
    chosen = replace(quick, batch_size=batch_size)
    with ThreadPoolExecutor(3) as pool, PatchStream(slides["a"], chosen, pool) as stream:
        batches = list(stream)
        assert list(stream) == []
    with Slide(slides["a"]) as slide:
        coords = patch_grid(slide, 48, 0.7, 36, 0.3)
        np.testing.assert_array_equal(np.concatenate(batches), read_patches(slide, coords, 48, 0.7))
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert len(coords) > 2 * 16


def test_no_more_than_a_few_batches_are_read_ahead(
    slides: dict[str, Path], quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, lock = [0], threading.Lock()

    def counting(slide: Slide, coords: np.ndarray, patch: int, mpp: float) -> np.ndarray:
        with lock:
            read[0] += len(coords)
        return read_patches(slide, coords, patch, mpp)

    monkeypatch.setattr("histolab_lite.embed.reading.read_patches", counting)
    pool = ThreadPoolExecutor(2)
    with PatchStream(slides["c"], quick, pool) as stream:
        batches = iter(stream)
        next(batches)
        pool.shutdown(wait=True)  # whatever was asked for is read by now
        assert read[0] == (AHEAD + 1) * quick.batch_size


def test_closing_waits_for_the_readers(
    slides: dict[str, Path], quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing a slide under a reader would crash in OpenSlide; here a late reader would meet a closed slide."""
    started, release, errors = threading.Event(), threading.Event(), []

    def slow(slide: Slide, coords: np.ndarray, patch: int, mpp: float) -> np.ndarray:
        started.set()
        release.wait(5)
        try:
            return read_patches(slide, coords, patch, mpp)
        except SlideError as error:
            errors.append(error)
            raise

    monkeypatch.setattr("histolab_lite.embed.reading.read_patches", slow)
    with ThreadPoolExecutor(2) as pool:
        stream = PatchStream(slides["a"], quick, pool)
        started.wait(5)
        closing = threading.Thread(target=stream.close)
        closing.start()
        closing.join(0.2)
        assert closing.is_alive()
        release.set()
        closing.join(5)
        assert not closing.is_alive()
    assert errors == []
    with pytest.raises(SlideError, match="closed"):
        stream.slide.read(0, 0, 8)


def test_a_reader_that_meets_a_slide_another_one_found_damaged(
    slides: dict[str, Path], quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its first error on, OpenSlide refuses whatever it is asked of that slide."""

    def refuse(*of: object) -> np.ndarray:
        raise openslide.OpenSlideError("Not a JPEG file")

    monkeypatch.setattr("histolab_lite.embed.reading.read_patches", refuse)
    with ThreadPoolExecutor(2) as pool, PatchStream(slides["a"], quick, pool) as stream:
        with pytest.raises(SlideError, match=r"a\.tif is damaged \(Not a JPEG file\)\. Copy it again"):
            list(stream)


def test_a_slide_too_small_for_a_patch_is_closed_again(
    slides: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []
    monkeypatch.setattr(Slide, "close", lambda slide: closed.append(slide.name))
    with ThreadPoolExecutor(1) as pool, pytest.raises(SlideError, match="only 517 x 391"):
        PatchStream(slides["a"], Settings(mpp=0.5, patch=512), pool)
    assert closed == ["a"]


def test_the_scale_of_the_file_wins_and_slide_mpp_fills_in(slides: dict[str, Path], tmp_path: Path) -> None:
    silent = tmp_path / "silent.tif"
    image = np.random.default_rng(0).integers(90, 200, (256, 256, 3), dtype=np.uint8)
    tifffile.imwrite(silent, image, tile=(64, 64), photometric="rgb", resolutionunit="NONE")
    with pytest.raises(SlideError, match=r"silent\.tif does not say .* yourself: --slide-mpp, in µm per pixel; 40x"):
        Settings().open(silent)
    for path, expected in ((silent, 0.25), (slides["a"], 0.5)):
        with Settings(slide_mpp=0.25).open(path) as slide:
            assert slide.mpp == pytest.approx(expected)
    with pytest.raises(FileNotFoundError):
        Settings(slide_mpp=0.25).open(tmp_path / "none.tif")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"mpp": 0.0}, "mpp is in micrometres"),
        ({"mpp": float("nan")}, "mpp is in micrometres"),
        ({"slide_mpp": -1.0}, "slide_mpp is in micrometres"),
        ({"patch": 0}, "1 px or more"),
        ({"batch_size": 0}, "1 or more a batch"),
        ({"overlap": 1.0}, "overlap is a share"),
        ({"overlap": -0.1}, "overlap is a share"),
        ({"min_tissue": 1.5}, "min_tissue is a share"),
    ],
)
def test_settings_out_of_range(changes: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Settings(**changes)


def test_even_the_largest_overlap_moves_on() -> None:
    assert Settings(patch=10, overlap=0.99).stride == 1
    assert Settings(patch=256, overlap=0.5).stride == 128
    assert Settings(patch=255, overlap=0.0).stride == 255
