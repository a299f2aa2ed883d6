"""A submission to break, and the pictures it is checked against."""

import numpy as np
import pytest

from histolab_lite.formats.masks import mask_png
from histolab_lite.methods.wsss4luad import PALETTE
from tests.methods.wsss4luad.challenge_folder import SIZES, write_dataset


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("challenge")) / "3.testing"


@pytest.fixture
def folder(tmp_path):
    where = tmp_path / "predictions"
    where.mkdir()
    random = np.random.default_rng(1)
    for name, size in SIZES.items():
        content = mask_png(random.integers(0, 4, size, dtype=np.uint8), PALETTE)
        (where / f"{name}.png").write_bytes(content)
    return where
