"""Slides that visitors bring, read with suspicion, and the one that is always there."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tifffile

pytest.importorskip("gradio", reason="the demos need gradio: pip install 'histolab-lite[demos]'")

from demos.bundle import FOLDER  # noqa: E402
from demos.shared.uploads import UploadError  # noqa: E402
from demos.sic import opening, samples, slides  # noqa: E402
from demos.sic.opening import open_slide  # noqa: E402
from demos.sic.samples import SIDE, SLIDE, finish, load_phantom  # noqa: E402
from demos.sic.slides import SlideCache, lay_grid, prepare  # noqa: E402
from histolab_lite.data.phantom.pyramid import write_pyramid  # noqa: E402
from histolab_lite.data.slides import Slide  # noqa: E402


@pytest.mark.slow
def test_the_phantom_is_what_its_slide_gives_today(no_umap):
    kept = load_phantom()
    made = finish(prepare(FOLDER / SLIDE, "phantom", "Phantom slide"))
    assert np.array_equal(kept.table.coords, made.table.coords)
    assert kept.pitch == made.pitch == 64
    assert kept.size == made.size == (SIDE, SIDE)
    assert np.allclose(kept.table.features, made.table.features, atol=0.02)
    assert kept.table.encoder_revision == made.table.encoder_revision
    assert kept.colours.shape == (len(kept), 3)
    assert len(np.unique(kept.umap, axis=0)) > len(kept) / 2


def test_the_bundle_is_small():
    assert sum((FOLDER / name).stat().st_size for name in (SLIDE, samples.TABLE)) < 3e6


def test_progress_only_rises(no_umap):
    shares = [done.share for done in prepare(FOLDER / SLIDE, "k", "t")]
    assert shares == sorted(shares)
    assert 0 <= shares[0] < shares[-1] <= 1


@pytest.mark.parametrize(("most", "stride"), [(4000, 32), (1000, 40), (300, 80), (100, 136)])
def test_few_patches_lie_further_apart(monkeypatch, most, stride):
    monkeypatch.setattr(slides, "MOST_PATCHES", most)
    with Slide(FOLDER / SLIDE) as slide:
        corners, found = lay_grid(slide)
    assert found == stride
    assert min(most, 1558) / 2 < len(corners) <= most
    assert len(np.unique(np.diff(np.unique(corners[:, 0])))) == 1
    assert corners.min() >= 0
    assert corners.max() + 128 <= SIDE


def test_a_slide_without_tissue_is_refused(tmp_path):
    path = write_pyramid(np.full((1024, 1024, 3), 240, np.uint8), 0.5, tmp_path / "glass.tif", 80, 256)
    with open_slide(path) as slide, pytest.raises(UploadError, match="Only 0 patches"):
        lay_grid(slide)


def refused(path, **options):
    with pytest.raises(UploadError) as error:
        open_slide(path, **options)
    assert str(path) not in str(error.value)
    assert str(error.value).endswith(".")
    return str(error.value)


def test_what_it_is_decides_not_what_it_is_called(tmp_path):
    for name, content in {"a.svs": b"no slide", "b.tif": b"[Virtual Microscope Specimen]\n", "c.svs": b""}.items():
        (tmp_path / name).write_bytes(content)
        assert "not a slide that can be read here" in refused(tmp_path / name)
    assert "did not arrive" in refused(tmp_path / "none.svs")


def test_a_plain_or_damaged_tiff_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "plain.tif", np.zeros((300, 300, 3), np.uint8), photometric="rgb")
    assert "not cut into tiles" in refused(tmp_path / "plain.tif")
    (tmp_path / "cut.tif").write_bytes((FOLDER / SLIDE).read_bytes()[:5000])
    assert refused(tmp_path / "cut.tif")


def test_a_scale_is_asked_for_where_the_file_has_none(tmp_path):
    rgb = np.full((512, 512, 3), 200, np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb", tile=(256, 256), compression="jpeg")
    assert "how many µm a pixel is" in refused(tmp_path / "a.tif")
    with open_slide(tmp_path / "a.tif", mpp=0.5) as slide:
        assert slide.mpp == 0.5


def test_what_would_take_too_long_is_refused(monkeypatch):
    for name, value, match in (
        ("LARGEST_SLIDE", 1000, "0 MB can be read"),
        ("LARGEST_LEVEL", 1000, "no smaller levels"),
        ("LARGEST_STEP", 1.5, "no smaller levels"),
        ("LONGEST_SIDE", 1000, "pixels wide or high"),
        ("LARGEST_AREA", 1.0, "larger than 1 mm²"),
        ("MOST_DECODED_WHOLE", 1000, "no smaller levels"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(opening, name, value)
            assert match in refused(FOLDER / SLIDE)


def test_too_coarse_a_slide_is_refused(tmp_path):
    path = write_pyramid(np.full((256, 256, 3), 200, np.uint8), 10.0, tmp_path / "coarse.tif", 80, 256)
    with open_slide(path) as slide, pytest.raises(UploadError, match=r"too small|patches"):
        lay_grid(slide)


def test_the_cache_keeps_those_used_last():
    cache, slide = SlideCache(limit=2), load_phantom()
    for key in "ab":
        cache.add(dataclasses.replace(slide, key=key))
    assert cache.get("a").key == "a"
    cache.add(dataclasses.replace(slide, key="c"))
    assert cache.get("b") is None
    assert cache.get("a") is not None


def test_real_tissue_is_offered_where_its_licence_allows(monkeypatch, tmp_path):
    monkeypatch.setenv("HISTOLAB_DATA", str(tmp_path))
    assert list(samples.samples(public=False)) == ["phantom"]
    closed = dataclasses.replace(samples.load_manifest(samples.CMU), redistribution=False)
    monkeypatch.setattr(type(closed), "is_available", lambda self: True)
    monkeypatch.setattr(type(closed), "path", lambda self: tmp_path / "slide.svs")
    monkeypatch.setattr(samples, "load_manifest", lambda name: closed)
    assert list(samples.samples(public=True)) == ["phantom"]
    assert list(samples.samples(public=False)) == ["phantom", samples.CMU]
