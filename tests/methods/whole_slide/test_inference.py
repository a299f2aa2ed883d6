"""Sliding a segmenter over a slide gives what a slow loop over the whole picture in memory gives."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from histolab_lite.data.phantom import CLASS_NAMES, PALETTE, phantom_slide, write_slide
from histolab_lite.data.slides import Slide, SlideError
from histolab_lite.formats.ome_tiff import read_labels, write_labels
from histolab_lite.formats.qupath import read_geojson
from histolab_lite.kernels import overlap_add
from histolab_lite.methods import refinement
from histolab_lite.methods.whole_slide import inference, segment_slide
from histolab_lite.models.segmenters import LinkNet

MPP = 0.5


def mean_probabilities(read, predict, shape, tile, stride):
    """MLPS, Sect. III-B3, on a canvas in memory: the mean over all tiles at every pixel, (3, H, W) float64."""
    height, width = shape
    total, count = np.zeros((3, height, width)), np.zeros((height, width))
    y = 0
    while True:
        x = 0
        while True:
            top, left = min(y, max(height - tile, 0)), min(x, max(width - tile, 0))
            part = total[:, top : top + tile, left : left + tile]
            part += predict(read(left, top))[:, : part.shape[1], : part.shape[2]]
            count[top : top + tile, left : left + tile] += 1
            if left + tile >= width:
                break
            x += stride
        if top + tile >= height:
            break
        y += stride
    return total / count


def assert_is_argmax(ids, mean):
    """Where the first two classes are not within rounding of each other."""
    second, first = np.sort(mean, axis=0)[-2:]
    clear = first - second > 1e-5
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(ids[clear], mean.argmax(0)[clear])


@pytest.mark.parametrize(
    ("tile", "overlap", "batch_size", "memory"),
    [
        (64, 0.5, None, 1 << 29),
        (64, 0.0, 5, 1 << 29),
        (50, 0.7, 3, 1 << 29),
        (100, 0.5, None, 0),  # in strips
        (33, 0.25, 2, 33 * 16 * 150),  # in strips
        (300, 0.5, None, 1 << 29),  # higher than the slide
        (400, 0.5, 2, 1 << 29),  # larger than the slide
    ],
)
def test_equals_the_mean_over_a_canvas_in_memory(
    slide_path, picture, predict, tmp_path, tile, overlap, batch_size, memory
):
    padded = np.full((700, 800, 3), 255, np.uint8)
    padded[: picture.shape[0], : picture.shape[1]] = picture
    asked = []

    def ours(rgb):
        asked.append(rgb.shape)
        return predict(rgb) if batch_size is None else torch.tensor(np.stack([predict(one) for one in rgb]))

    out = segment_slide(
        slide_path, ours, 3, tmp_path / "mask.ome.tif", mpp=MPP, tile=tile, overlap=overlap, batch_size=batch_size,
        min_tissue=0, memory=memory, progress=None,
    )  # fmt: skip
    labels = read_labels(out)
    assert labels.ids.shape == picture.shape[:2]
    stride = round(tile * (1 - overlap))
    mean = mean_probabilities(lambda x, y: padded[y : y + tile, x : x + tile], predict, picture.shape[:2], tile, stride)
    assert_is_argmax(labels.ids, mean)
    assert {shape[-3:] for shape in asked} == {(tile, tile, 3)}
    assert {len(shape) for shape in asked} == {3 if batch_size is None else 4}
    assert [path.name for path in tmp_path.iterdir()] == ["mask.ome.tif"]


@pytest.mark.parametrize("mpp", [0.8, 1.0, 0.3])
def test_the_mask_has_the_scale_asked_for(slide_path, predict, tmp_path, mpp):
    out = segment_slide(
        slide_path, predict, 3, tmp_path / "mask.ome.tif", mpp=mpp, tile=64, min_tissue=0, progress=None
    )
    labels = read_labels(out)
    with Slide(slide_path) as slide:
        shape = round(257 * MPP / mpp), round(331 * MPP / mpp)
        mean = mean_probabilities(
            lambda x, y: slide.read(x * mpp / MPP, y * mpp / MPP, 64, mpp), predict, shape, 64, 32
        )
    assert labels.ids.shape == shape
    assert labels.mpp == pytest.approx(mpp)
    assert_is_argmax(labels.ids, mean)


def test_only_tiles_with_tissue_are_computed(slide_path, picture, predict, tmp_path):
    seen = []

    def ours(rgb):
        seen.append((rgb != 245).any())
        return predict(rgb)

    run = partial(segment_slide, slide_path, ours, 3, mpp=MPP, tile=64, overlap=0, progress=None)
    ids = read_labels(run(tmp_path / "mask.ome.tif")).ids
    pink = (picture != 245).any(-1)
    assert all(seen)
    assert len(seen) < 6 * 5
    assert (ids[pink] != 255).all()
    assert (ids[:, 224:] == 255).all()  # two tiles away
    elsewhere = read_labels(run(tmp_path / "zero.ome.tif", background=0)).ids
    np.testing.assert_array_equal(elsewhere, np.where(ids == 255, 0, ids))
    strict = read_labels(run(tmp_path / "strict.ome.tif", min_tissue=0.9)).ids
    assert 0 < (strict != 255).sum() < (ids != 255).sum()


def test_a_slide_without_tissue_is_all_background(write_slide, tmp_path):
    glass = write_slide(tmp_path / "glass.tif", np.full((700, 90, 3), 245, np.uint8))

    def never(rgb):
        raise AssertionError("nothing to predict")

    out, outlines = tmp_path / "mask.ome.tif", tmp_path / "mask.geojson"
    segment_slide(glass, never, 3, out, mpp=MPP, tile=64, background=1, geojson=outlines, progress=None)
    assert (read_labels(out).ids == 1).all()
    assert read_labels(out).ids.shape == (700, 90)
    assert json.loads(outlines.read_text())["features"] == []


def test_outlines_lie_on_the_slide(slide_path, predict, tmp_path, monkeypatch):
    """In level-0 pixels, from whichever level they are taken."""
    names, palette = ["a", "b", "c"], [(1, 2, 3), (4, 5, 6), (7, 8, 9)]
    run = partial(segment_slide, slide_path, predict, 3, mpp=1.0, tile=64, progress=None)
    run = partial(run, class_names=names, palette=palette, geojson=tmp_path / "mask.geojson")
    ids = read_labels(run(tmp_path / "mask.ome.tif")).ids
    again = read_geojson(tmp_path / "mask.geojson", ids.shape, names, downsample=2, background=255)
    np.testing.assert_array_equal(again, ids)
    colours = {f["classification"]["name"]: f["classification"]["color"] for f in properties(tmp_path)}
    assert colours == {name: list(colour) for name, colour in zip(names, palette, strict=True)}

    monkeypatch.setattr(inference, "write_labels", partial(write_labels, tile=32))
    monkeypatch.setattr(inference, "_OUTLINE_PIXELS", ids.size // 3)
    run(tmp_path / "mask.ome.tif")
    coarse = ids[::2, ::2]
    again = read_geojson(tmp_path / "mask.geojson", coarse.shape, names, downsample=4, background=255)
    np.testing.assert_array_equal(again, coarse)


def properties(folder: Path) -> list[dict]:
    return [feature["properties"] for feature in json.loads((folder / "mask.geojson").read_text())["features"]]


def test_sums_stay_within_the_memory_given(write_slide, predict, tmp_path, monkeypatch):
    path = write_slide(tmp_path / "wide.tif", np.random.default_rng(1).integers(0, 255, (90, 2000, 3), np.uint8))
    held = []
    original = overlap_add._empty

    def empty(*args):
        held.append(sum(tensor.nbytes for tensor in original(*args)))
        return original(*args)

    monkeypatch.setattr(overlap_add, "_empty", empty)
    run = partial(segment_slide, path, predict, 3, mpp=MPP, tile=32, min_tissue=0, progress=None)
    whole = read_labels(run(tmp_path / "whole.ome.tif")).ids
    assert held == [32 * 2000 * 16]
    held.clear()
    strips = read_labels(run(tmp_path / "strips.ome.tif", memory=32 * 16 * 300)).ids
    np.testing.assert_array_equal(strips, whole)
    assert len(held) == 9
    assert max(held) <= 32 * 16 * 300


@pytest.mark.slow
def test_memory_does_not_grow_with_the_slide(tmp_path):
    """48 million pixels of four classes: 960 MB of floats, 48 MB of ids, on a painted slide."""
    script = f"""
        import resource
        import numpy as np
        from histolab_lite.data.slides import Slide
        from histolab_lite.formats.ome_tiff import read_labels, write_labels
        from histolab_lite.methods.whole_slide import inference, segment_slide

        class Painted(Slide):
            def __init__(self, path, width, height):
                self.path, self.name, self.mpp, self.dimensions = path, "painted", 0.5, (width, height)

            def read(self, x, y, size, mpp=None):
                return np.full((size, size, 3), int(x + y) // 1000 * 40 % 256, np.uint8)

        probabilities = np.zeros((4, 500, 500), np.float32)

        def predict(rgb):
            probabilities[:] = 0
            probabilities[rgb[0, 0, 0] // 64] = 1
            return probabilities

        from pathlib import Path
        path = Path({str(tmp_path)!r}) / "painted"
        path.touch()
        options = dict(mpp=0.5, tile=500, overlap=0, min_tissue=0, memory=1 << 25, progress=None)

        def peak(width, height):
            out = segment_slide(Painted(path, width, height), predict, 4, path.with_suffix(".ome.tif"), **options)
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

        small = peak(4000, 3000)
        print(peak(4000, 12000) - small, peak(16000, 3000) - small)
        assert read_labels(path.with_suffix(".ome.tif")).ids[250, 3750] == 1
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    taller, wider = map(float, done.stdout.split())
    print(taller, wider)
    assert taller < 30, f"four times the height took {taller:.0f} MB more"
    assert wider < 60, f"four times the width took {wider:.0f} MB more"


def test_a_network_of_ours_on_a_phantom_slide(tmp_path):
    """predict as refinement has it; and what is written is what the network says of the only tile."""
    phantom = phantom_slide(3, 160)
    path = write_slide(phantom, tmp_path / "phantom.tif")
    torch.manual_seed(0)
    model = LinkNet(len(CLASS_NAMES), 0.125)
    out = segment_slide(
        path, partial(refinement.predict, model), len(CLASS_NAMES), tmp_path / "phantom.ome.tif", mpp=1.0, tile=80,
        class_names=CLASS_NAMES, palette=PALETTE, progress=None,
    )  # fmt: skip
    with Slide(path) as slide:
        expected = refinement.predict(model, slide.read(0, 0, 80, 1.0)).argmax(0).numpy()
    labels = read_labels(out)
    np.testing.assert_array_equal(labels.ids, expected)
    assert labels.class_names == CLASS_NAMES


def test_a_slide_without_scale_names_the_option(write_slide, picture, predict, tmp_path):
    path = write_slide(tmp_path / "bare.tif", picture, mpp=None)
    run = partial(segment_slide, predict=predict, n_classes=3, out=tmp_path / "mask.ome.tif", mpp=1.0, progress=None)
    with pytest.raises(SlideError, match=r"Slide\('bare.tif', mpp=\.\.\.\)"):
        run(path)
    with Slide(path, mpp=0.25) as slide:
        assert read_labels(run(slide)).ids.shape == (64, 83)


@pytest.mark.real_data
def test_real_slides(data_root, tmp_path):
    """A segmenter of single pixels gives the same in tiles and in one piece; a slide without scale needs one."""

    def pink(rgb):
        coloured = (rgb.max(-1).astype(float) - rgb.min(-1) > 40).astype(float)
        return np.stack([1 - coloured, coloured])

    aperio, tcga = (data_root / "slides" / name for name in ("CMU-1-Small-Region.svs", "tcga-cr-7395-01a-01-ts1.svs"))
    with Slide(aperio) as slide:
        out = segment_slide(slide, pink, 2, tmp_path / "cmu.ome.tif", mpp=slide.mpp, min_tissue=0, progress=None)
        expected = pink(slide.read(0, 0, slide.dimensions)).argmax(0)
    np.testing.assert_array_equal(read_labels(out).ids, expected)
    assert 0.1 < expected.mean() < 0.9
    with pytest.raises(SlideError, match="mpp="):
        segment_slide(tcga, pink, 2, tmp_path / "tcga.ome.tif", mpp=1.0)
    with Slide(tcga, mpp=0.5) as slide:
        out = segment_slide(slide, pink, 2, tmp_path / "tcga.ome.tif", mpp=1.0, progress=None)
        assert read_labels(out).ids.shape == tuple(round(side / 2) for side in slide.dimensions[::-1])
