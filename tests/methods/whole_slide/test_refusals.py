"""What cannot be segmented is said in plain words, before anything is written in place of the mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from histolab_lite.data.slides import SlideError
from histolab_lite.methods.whole_slide import segment_slide


def fails(kind, slide_path, tmp_path, match, predict=None, n_classes=3, out="mask.ome.tif", **options):
    options = {"mpp": 0.5, "tile": 64, "progress": None} | options
    with pytest.raises(kind, match=match):
        segment_slide(slide_path, predict, n_classes, tmp_path / out, **options)
    assert not (tmp_path / out).exists()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.full((3, 64, 64), np.nan), "NaN"),
        (np.full((3, 64, 64), np.inf), "NaN or infinite"),
        (np.full((2, 64, 64), 0.5), r"\(2, 64, 64\).*\(3, 64, 64\)"),
        (np.full((1, 3, 64, 64), 1 / 3), r"\(1, 3, 64, 64\)"),
        (np.full((64, 64, 3), 1 / 3), r"\(64, 64, 3\)"),
        (torch.zeros(3, 64, 64, dtype=torch.uint8), "uint8"),
        (torch.randn(3, 64, 64), "softmax"),
        (np.full((3, 64, 64), 0.9), r"0\.9.*2\.7.*softmax"),
        (torch.tensor([2.0, -1.0, 0.0])[:, None, None].expand(3, 64, 64), "softmax"),  # sums to 1
        ([0.2, 0.8], "list"),
    ],
)
def test_predictions_that_are_no_probabilities(slide_path, tmp_path, answer, message):
    where = {"mpp": 0.25, "overlap": 0, "min_tissue": 0.9}  # the first tile: of 32 level-0 pixels, in the pink
    place = r"level-0 \(x, y\) = \(32, 64\).*"
    fails(ValueError, slide_path, tmp_path, place + message, lambda rgb: answer, **where)


def test_a_batch_too_short(slide_path, tmp_path, predict):
    fails(ValueError, slide_path, tmp_path, r"\(4, 3, 64, 64\)", lambda rgb: predict(rgb[0])[None], batch_size=4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_near_enough(slide_path, tmp_path, dtype):
    def half(rgb):
        return (3 * torch.tensor(rgb).permute(2, 0, 1) / 255).softmax(0).to(dtype)

    assert segment_slide(slide_path, half, 3, tmp_path / "mask.ome.tif", mpp=0.5, tile=64, progress=None).exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_classes": 1}, "2 to 255 classes"),
        ({"n_classes": 256}, "2 to 255 classes"),
        ({"class_names": ["a", "b"]}, "3 classes and 2 names"),
        ({"palette": [(0, 0, 0)]}, "palette"),
        ({"out": "mask.tif"}, r"\.ome\.tif"),
        ({"tile": 0}, "tile 0"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"overlap": 1.0}, "overlap"),
        ({"overlap": -0.1}, "overlap"),
        ({"min_tissue": 1.5}, "min_tissue"),
        ({"background": 3}, "background"),
        ({"mpp": 0.0}, "mpp"),
        ({"mpp": float("nan")}, "mpp"),
    ],
)
def test_wrong_arguments(slide_path, tmp_path, options, message):
    fails(ValueError, slide_path, tmp_path, message, **options)
    assert not list(tmp_path.iterdir())


def test_a_scale_finer_than_the_scanner(slide_path, tmp_path, predict):
    fails(SlideError, slide_path, tmp_path, "times finer", predict, mpp=0.1)
