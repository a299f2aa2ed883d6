"""The small slide, and a run over it that a test can change."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from histolab_lite.methods.whole_slide import segment_slide
from tests.methods.whole_slide.examples import MPP, glass_and_tissue, predict, write_slide


@pytest.fixture(scope="session")
def slide_path(tmp_path_factory) -> Path:
    return write_slide(tmp_path_factory.mktemp("slide") / "small.tif", glass_and_tissue())


@pytest.fixture
def run(slide_path, tmp_path) -> Callable[..., Path]:
    """segment_slide with everything given, to be called with what differs."""
    out = tmp_path / "mask.ome.tif"
    return partial(
        segment_slide, slide=slide_path, predict=predict, n_classes=3, out=out, mpp=MPP, tile=64, progress=None
    )
