"""Phantom slides in the user's cache: kept without loss, made once, by two lessons at a time as well."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest

from histolab_lite.data import phantom, phantom_cache
from histolab_lite.data.tiles import Tile, load_tiles


@pytest.fixture(autouse=True)
def in_threads() -> Iterator[None]:
    with joblib.parallel_config(backend="threading"):  # so that a test may put another generator in place
        yield


def make_plain(seed: int, size: int, mpp: float) -> phantom.Phantom:
    """In place of the generator, where the test is about the cache."""
    value = seed % 250
    image, mask = np.full((size, size, 3), value, np.uint8), np.full((size, size), value % 6, np.uint8)
    return phantom.Phantom(image, mask, mpp, seed)


def assert_holds(tile: Tile, slide: phantom.Phantom):
    np.testing.assert_array_equal(tile.read_image(), slide.image)
    np.testing.assert_array_equal(tile.read_mask(), slide.mask)


def test_phantom_is_kept_without_loss():
    assert_holds(load_tiles("phantom", n_slides=1, size=64, seed=3)[0], phantom.phantom_slide(3000, 64, 0.5))


def test_phantoms_are_made_once(monkeypatch):
    made = []

    def count(seed: int, size: int, mpp: float) -> phantom.Phantom:
        made.append((seed, size, mpp))
        return make_plain(seed, size, mpp)

    monkeypatch.setattr(phantom, "phantom_slide", count)
    first = load_tiles("phantom", n_slides=2, size=64, seed=3)
    assert first.class_names == phantom.CLASS_NAMES
    assert sorted(made) == [(3000, 64, 0.5), (3001, 64, 0.5)]
    assert load_tiles("phantom", n_slides=2, size=64, seed=3).tiles == first.tiles
    assert len(made) == 2
    # Another seed shares no slide, another size or scale no file.
    assert not set(first.groups) & set(load_tiles("phantom", n_slides=2, size=64, seed=4).groups)
    load_tiles("phantom", n_slides=1, size=80, seed=3)
    load_tiles("phantom", n_slides=1, size=64, seed=3, mpp=0.25)
    assert made[4:] == [(3000, 80, 0.5), (3000, 64, 0.25)]


def test_two_lessons_make_one_phantom_at_once(user_cache, monkeypatch):
    """Both are inside the generator before either writes, and both then see whole files."""
    together = threading.Barrier(2, timeout=120)

    def wait_for_both(seed: int, size: int, mpp: float) -> phantom.Phantom:
        together.wait()
        return make_plain(seed, size, mpp)

    monkeypatch.setattr(phantom, "phantom_slide", wait_for_both)
    with ThreadPoolExecutor(2) as pool:
        for tiles in pool.map(lambda _: load_tiles("phantom", n_slides=1, size=64, seed=9), range(2)):
            assert_holds(tiles[0], make_plain(9000, 64, 0.5))
    assert len([path for path in (user_cache / "phantom").rglob("*") if path.is_file()]) == 2


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        phantom_cache.save_png(np.zeros((4, 4), dtype=np.complex64), tmp_path / "slide.png")
    assert not list(tmp_path.iterdir())
