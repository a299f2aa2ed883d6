"""Slides that visitors bring, opened safely, and the one that is always there."""

import dataclasses

import numpy as np
import pytest
import tifffile

from demos.bundle import FOLDER
from demos.shared.uploads import UploadError
from demos.sic import opening, samples, slides
from demos.sic.opening import open_slide
from demos.sic.samples import SIDE, SLIDE, finish, load_phantom
from demos.sic.slides import SlideCache, lay_grid, prepare
from histolab_lite.data.phantom.pyramid import write_pyramid
from histolab_lite.data.slides import Slide


def test_the_bundle_is_what_the_phantom_slide_gives_today_and_progress_only_rises(no_umap, monkeypatch):
    shares = []
    monkeypatch.setattr(slides, "Progress", lambda text, share: shares.append(share))
    kept, made = load_phantom(), finish(prepare(FOLDER / SLIDE, "phantom", "Phantom slide"))
    assert shares == sorted(shares)
    assert 0 <= shares[0] < shares[-1] <= 1
    assert np.array_equal(kept.table.coords, made.table.coords)
    assert (kept.pitch, kept.size) == (made.pitch, made.size) == (64, (SIDE, SIDE))
    assert np.allclose(kept.table.features, made.table.features, atol=0.02)
    assert kept.table.encoder_revision == made.table.encoder_revision
    assert kept.colours.shape == (len(kept), 3)
    assert len(np.unique(kept.umap, axis=0)) > len(kept) / 2
    assert sum((FOLDER / name).stat().st_size for name in (SLIDE, samples.TABLE)) < 3e6


@pytest.mark.parametrize(
    ("most", "stride", "note"),
    [(4000, 32, ""), (1000, 40, "one every 40 µm."), (300, 80, "gaps"), (100, 136, "gaps")],
)
def test_on_a_large_slide_patches_lie_further_apart(monkeypatch, most, stride, note):
    monkeypatch.setattr(slides, "MOST_PATCHES", most)
    with Slide(FOLDER / SLIDE) as slide:
        corners, found = lay_grid(slide)
    assert found == stride
    assert min(most, 1558) / 2 < len(corners) <= most
    inset = max(0, stride - 64)  # level-0 pixels from the corner of a cell to that of its patch
    assert set(np.unique((corners - inset) % (2 * stride))) == {0}
    assert corners.min() >= 0
    assert corners.max() + 128 <= SIDE
    assert note in slides._note(stride)


def tiled(path, side: int, grey: int, **scale: float):
    """A slide of one colour."""
    rgb = np.full((side, side, 3), grey, np.uint8)
    if scale:
        return write_pyramid(rgb, path=path, quality=80, tile=256, **scale)
    tifffile.imwrite(path, rgb, photometric="rgb", tile=(256, 256), compression="jpeg")
    return path


@pytest.mark.parametrize(
    ("side", "grey", "mpp", "message"), [(1024, 240, 0.5, "Only 0 patches"), (256, 200, 0.2, "too small")]
)
def test_a_slide_without_enough_patches_is_refused(tmp_path, side, grey, mpp, message):
    path = tiled(tmp_path / "slide.tif", side, grey, mpp=mpp)
    with open_slide(path) as slide, pytest.raises(UploadError, match=message):
        lay_grid(slide)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "did not arrive"),
        (b"", "not a slide that can be read"),
        (b"no slide", "not a slide that can be read"),
        (b"[Virtual Microscope Specimen]\n", "not a slide that can be read"),
        ((FOLDER / SLIDE).read_bytes()[:5000], "not plain images"),
    ],
)
def test_a_file_that_is_no_slide_is_refused(tmp_path, content, message):
    path = tmp_path / "slide.tif"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UploadError, match=message) as error:
        open_slide(path)
    assert str(path) not in str(error.value)


def test_a_tiff_needs_tiles_and_a_scale_which_may_be_given(tmp_path):
    path = tmp_path / "plain.tif"
    tifffile.imwrite(path, np.zeros((300, 300, 3), np.uint8), photometric="rgb")
    with pytest.raises(UploadError, match="no tiles"):
        open_slide(path)
    tiled(path, 512, 200)
    with pytest.raises(UploadError, match="does not state its scale"):
        open_slide(path)
    with open_slide(path, mpp=0.5) as slide:
        assert slide.mpp == 0.5


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("LARGEST_SLIDE", 1000, "0 MB can be read"),
        ("LONGEST_SIDE", 1000, "pixels wide or high"),
        ("LARGEST_AREA", 1.0, "larger than 1 mm²"),
        ("LARGEST_LEVEL", 1000, "no smaller levels"),
        ("LARGEST_STEP", 1.5, "no smaller levels"),
        ("MOST_DECODED_WHOLE", 1000, "no smaller levels"),
        ("FORMATS", (), "not a slide that can be read"),
    ],
)
def test_a_slide_beyond_a_limit_is_refused(monkeypatch, limit, value, message):
    monkeypatch.setattr(opening, limit, value)
    with pytest.raises(UploadError, match=message):
        open_slide(FOLDER / SLIDE)


def test_the_cache_keeps_the_slides_used_last():
    cache, slide = SlideCache(limit=2), load_phantom()
    for key in "ab":
        cache.add(dataclasses.replace(slide, key=key))
    assert cache.get("a").key == "a"
    cache.add(dataclasses.replace(slide, key="c"))
    assert [cache.get(key) is not None for key in "abc"] == [True, False, True]


def test_real_tissue_is_offered_if_its_licence_allows(monkeypatch, tmp_path):
    monkeypatch.setenv("HISTOLAB_DATA", str(tmp_path))
    assert list(samples.samples(public=False)) == ["phantom"]
    closed = dataclasses.replace(samples.load_manifest(samples.CMU), redistribution=False)
    monkeypatch.setattr(type(closed), "is_available", lambda self: True)
    monkeypatch.setattr(type(closed), "path", lambda self: tmp_path / "slide.svs")
    monkeypatch.setattr(samples, "load_manifest", lambda name: closed)
    assert list(samples.samples(public=True)) == ["phantom"]
    assert list(samples.samples(public=False)) == ["phantom", samples.CMU]
