"""Sliding a segmenter over a slide gives what a slow loop over the whole image in memory gives."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from functools import partial

import numpy as np
import pytest
import torch

from histolab_lite.data.slides import Slide
from histolab_lite.formats.ome_tiff import read_labels, write_labels
from histolab_lite.formats.qupath import read_geojson
from histolab_lite.kernels import overlap_add
from histolab_lite.methods.whole_slide import inference, segment_slide
from tests.methods.whole_slide.examples import MPP, glass_and_tissue, predict, write_slide


def assert_is_argmax_of_mean(ids, read, tile, stride):
    """MLPS, Sect. III-B3, on a canvas in memory, where the first two classes are not within rounding of each other."""
    height, width = ids.shape
    total, count = np.zeros((3, height, width)), np.zeros((height, width))
    tops, lefts = ([*range(0, side - tile, stride), max(side - tile, 0)] for side in ids.shape)
    for top in tops:
        for left in lefts:
            place = np.s_[top : top + tile, left : left + tile]
            count[place] += 1
            total[:, *place] += predict(read(left, top))[:, : height - top, : width - left]
    mean = total / count
    second, first = np.sort(mean, axis=0)[-2:]
    clear = first - second > 1e-5
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(ids[clear], mean.argmax(0)[clear])


@pytest.mark.parametrize(
    ("tile", "overlap", "batch_size", "memory"),
    [
        (64, 0.0, 5, 1 << 29),
        (50, 0.7, 3, 1 << 29),
        (100, 0.5, None, 0),  # in strips
        (33, 0.25, 2, 33 * 16 * 150),  # in strips
        (300, 0.5, None, 1 << 29),  # higher than the slide
        (400, 0.5, 2, 1 << 29),  # larger than the slide
    ],
)
def test_the_mask_is_the_argmax_of_the_mean_over_a_canvas_in_memory(run, tmp_path, tile, overlap, batch_size, memory):
    image = glass_and_tissue()
    padded = np.full((700, 800, 3), 255, np.uint8)
    padded[: image.shape[0], : image.shape[1]] = image
    asked = []

    def ours(rgb):
        asked.append(rgb.shape)
        return predict(rgb) if batch_size is None else torch.tensor(np.stack([predict(one) for one in rgb]))

    out = run(predict=ours, tile=tile, overlap=overlap, batch_size=batch_size, min_tissue=0, memory=memory)
    ids = read_labels(out).ids
    assert ids.shape == image.shape[:2]
    assert_is_argmax_of_mean(ids, lambda x, y: padded[y : y + tile, x : x + tile], tile, round(tile * (1 - overlap)))
    assert {shape[-3:] for shape in asked} == {(tile, tile, 3)}
    assert {len(shape) for shape in asked} == {3 if batch_size is None else 4}
    assert [path.name for path in tmp_path.iterdir()] == ["mask.ome.tif"]


@pytest.mark.parametrize("mpp", [0.8, 0.3])
def test_the_mask_has_the_scale_asked_for(run, slide_path, mpp):
    labels = read_labels(run(mpp=mpp, min_tissue=0))
    assert labels.ids.shape == (round(257 * MPP / mpp), round(331 * MPP / mpp))
    assert labels.mpp == pytest.approx(mpp)
    assert list(labels.class_names) == ["class 0", "class 1", "class 2"]
    with Slide(slide_path) as slide:
        assert_is_argmax_of_mean(labels.ids, lambda x, y: slide.read(x * mpp / MPP, y * mpp / MPP, 64, mpp), 64, 32)


def test_the_scale_given_to_an_open_slide_counts(run, tmp_path):
    bare = write_slide(tmp_path / "bare.tif", glass_and_tissue(), mpp=None)
    with Slide(bare, mpp=0.25) as slide:
        assert read_labels(run(slide=slide, mpp=1.0)).ids.shape == (64, 83)


def test_only_tiles_with_tissue_are_computed(run):
    seen = []

    def ours(rgb):
        seen.append((rgb != 245).any())
        return predict(rgb)

    ids = read_labels(run(predict=ours, overlap=0)).ids
    assert all(seen)
    assert len(seen) < 6 * 5
    assert (ids[(glass_and_tissue() != 245).any(-1)] != 255).all()
    assert (ids[:, 224:] == 255).all()  # two tiles away
    elsewhere = read_labels(run(overlap=0, background=0)).ids
    np.testing.assert_array_equal(elsewhere, np.where(ids == 255, 0, ids))
    strict = read_labels(run(overlap=0, min_tissue=0.9)).ids
    assert 0 < (strict != 255).sum() < (ids != 255).sum()


def test_a_slide_without_tissue_is_all_background(run, tmp_path):
    glass = write_slide(tmp_path / "glass.tif", np.full((700, 90, 3), 245, np.uint8))
    outlines = tmp_path / "mask.geojson"
    ids = read_labels(run(slide=glass, predict=None, background=1, geojson=outlines)).ids
    assert ids.shape == (700, 90)
    assert (ids == 1).all()
    assert json.loads(outlines.read_text())["features"] == []


def test_outlines_lie_on_the_slide(run, tmp_path, monkeypatch):
    """In level-0 pixels, from whichever level they are taken."""
    names, palette = ["a", "b", "c"], [(1, 2, 3), (4, 5, 6), (7, 8, 9)]
    outlines = tmp_path / "mask.geojson"
    options = {"mpp": 1.0, "class_names": names, "palette": palette, "geojson": outlines}
    labels = read_labels(run(**options))
    ids = labels.ids
    assert list(labels.class_names) == names
    np.testing.assert_array_equal(read_geojson(outlines, ids.shape, names, downsample=2, background=255), ids)
    classes = [feature["properties"]["classification"] for feature in json.loads(outlines.read_text())["features"]]
    assert {one["name"]: tuple(one["color"]) for one in classes} == dict(zip(names, palette, strict=True))

    monkeypatch.setattr(inference, "write_labels", partial(write_labels, tile=32))
    monkeypatch.setattr(inference, "_OUTLINE_PIXELS", ids.size // 3)
    run(**options)
    coarse = ids[::2, ::2]
    np.testing.assert_array_equal(read_geojson(outlines, coarse.shape, names, downsample=4, background=255), coarse)


def test_sums_stay_within_the_memory_given(run, tmp_path, monkeypatch):
    noise = np.random.default_rng(1).integers(0, 255, (90, 2000, 3), np.uint8)
    options = {"slide": write_slide(tmp_path / "wide.tif", noise), "tile": 32, "min_tissue": 0}
    held, empty = [], overlap_add._empty

    def watched(*args):
        held.append(sum(tensor.nbytes for tensor in empty(*args)))
        return empty(*args)

    monkeypatch.setattr(overlap_add, "_empty", watched)
    whole = read_labels(run(**options)).ids
    assert held == [32 * 2000 * 16]
    held.clear()
    np.testing.assert_array_equal(read_labels(run(**options, memory=32 * 16 * 300)).ids, whole)
    assert len(held) == 9
    assert max(held) <= 32 * 16 * 300


@pytest.mark.slow
def test_memory_does_not_grow_with_the_slide(tmp_path):
    """48 million pixels of four classes: 960 MB of floats, 48 MB of ids, on a painted slide."""
    script = f"""
        import resource
        from pathlib import Path
        import numpy as np
        from histolab_lite.data.slides import Slide
        from histolab_lite.methods.whole_slide import segment_slide

        class Painted(Slide):
            def __init__(self, path, width, height):
                self.path, self.name, self.mpp, self.dimensions = path, "painted", 0.5, (width, height)

            def read(self, x, y, size, mpp=None):
                return np.full((size, size, 3), int(x + y) // 1000 * 40 % 256, np.uint8)

        def predict(rgb):
            probabilities = np.zeros((4, 500, 500), np.float32)
            probabilities[rgb[0, 0, 0] // 64] = 1
            return probabilities

        path = Path({str(tmp_path)!r}) / "painted"
        path.touch()
        out = path.with_suffix(".ome.tif")
        options = dict(mpp=0.5, tile=500, overlap=0, min_tissue=0, memory=1 << 25, progress=None)

        def peak(width, height):
            segment_slide(Painted(path, width, height), predict, 4, out, **options)
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

        small = peak(4000, 3000)
        print(peak(4000, 12000) - small, peak(16000, 3000) - small)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    taller, wider = map(float, done.stdout.split())
    assert taller < 30, f"four times the height took {taller:.0f} MB more"
    assert wider < 60, f"four times the width took {wider:.0f} MB more"


@pytest.mark.real_data
def test_a_real_slide(data_root, tmp_path):
    """A segmenter of single pixels gives the same in tiles and in one piece."""

    def pink(rgb):
        coloured = (rgb.max(-1).astype(float) - rgb.min(-1) > 40).astype(float)
        return np.stack([1 - coloured, coloured])

    with Slide(data_root / "slides" / "CMU-1-Small-Region.svs") as slide:
        out = segment_slide(slide, pink, 2, tmp_path / "cmu.ome.tif", mpp=slide.mpp, min_tissue=0, progress=None)
        expected = pink(slide.read(0, 0, slide.dimensions)).argmax(0)
    np.testing.assert_array_equal(read_labels(out).ids, expected)
    assert 0.1 < expected.mean() < 0.9
