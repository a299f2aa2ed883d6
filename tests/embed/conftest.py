"""Small phantom slides of odd sizes, and settings that embed them within a second."""

import pytest

from histolab_lite.data.phantom import phantom_slide, write_slide
from histolab_lite.embed.settings import Settings
from histolab_lite.models.encoder import load_encoder

SIZES = {"a": (391, 517), "b": (512, 333), "c": (450, 450)}  # (height, width)


@pytest.fixture(scope="session")
def slides(tmp_path_factory):
    """Three slides at 0.5 µm per pixel, by name."""
    folder = tmp_path_factory.mktemp("slides")
    return {
        name: write_slide(phantom_slide(seed, size), folder / f"{name}.tif", tile=64)
        for seed, (name, size) in enumerate(SIZES.items())
    }


@pytest.fixture(scope="session")
def encoder():
    return load_encoder()


@pytest.fixture(scope="session")
def quick():
    return Settings(mpp=0.7, patch=48, overlap=0.25, min_tissue=0.3, batch_size=16)
