"""Bad input is refused in plain words, before anything is written in place of the mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from histolab_lite.data.slides import SlideError
from tests.methods.whole_slide.examples import predict, write_slide


@pytest.mark.parametrize(
    ("answer", "keyword"),
    [
        (np.full((3, 64, 64), np.nan), "NaN"),
        (np.full((3, 64, 64), np.inf), "infinite"),
        (np.full((2, 64, 64), 0.5), r"\(2, 64, 64\).*\(3, 64, 64\)"),
        (np.full((1, 3, 64, 64), 1 / 3), r"\(1, 3, 64, 64\)"),
        (torch.zeros(3, 64, 64, dtype=torch.uint8), "uint8"),
        (np.full((3, 64, 64), 0.9), r"0\.9.*2\.7.*softmax"),
        (torch.tensor([2.0, -1.0, 0.0])[:, None, None].expand(3, 64, 64), "softmax"),  # sums to 1
        ([0.2, 0.8], "list"),
    ],
)
def test_predictions_that_are_no_probabilities_are_refused_with_their_place(run, tmp_path, answer, keyword):
    """The first tile has 32 level-0 pixels and lies in the pink field."""
    with pytest.raises(ValueError, match=rf"level-0 \(x, y\) = \(32, 64\).*{keyword}"):
        run(predict=lambda rgb: answer, mpp=0.25, overlap=0, min_tissue=0.9)
    assert not (tmp_path / "mask.ome.tif").exists()


def test_a_batch_too_short_is_refused(run):
    with pytest.raises(ValueError, match=r"\(4, 3, 64, 64\)"):
        run(predict=lambda rgb: predict(rgb[0])[None], batch_size=4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_near_enough(run, dtype):
    def half(rgb):
        return (3 * torch.tensor(rgb).permute(2, 0, 1) / 255).softmax(0).to(dtype)

    assert run(predict=half).exists()


@pytest.mark.parametrize(
    ("options", "keyword"),
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
        ({"min_tissue": -0.1}, "min_tissue"),
        ({"background": 3}, "background"),
        ({"mpp": 0.0}, "mpp"),
        ({"mpp": float("nan")}, "mpp"),
        ({"mpp": float("inf")}, "mpp"),
    ],
)
def test_wrong_arguments_are_refused(run, tmp_path, options, keyword):
    with pytest.raises(ValueError, match=keyword):
        run(**options)
    assert not list(tmp_path.iterdir())


def test_a_scale_finer_than_the_scanner_is_refused(run):
    with pytest.raises(SlideError, match="times finer"):
        run(mpp=0.1)


def test_a_slide_without_scale_is_refused_and_the_option_named(run, tmp_path):
    bare = write_slide(tmp_path / "bare.tif", np.zeros((64, 64, 3), np.uint8), mpp=None)
    with pytest.raises(SlideError, match=r"Slide\('bare.tif', mpp=\.\.\.\)"):
        run(slide=bare)
