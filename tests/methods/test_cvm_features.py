"""What CVM's grid of features says about the pixels under it."""

import numpy as np
import pytest
import torch

from histolab_lite.methods.cvm import encode
from histolab_lite.models.encoder import ColourEncoder, Encoder


@pytest.mark.parametrize("kind", ["ResNet18", "colour"])
def test_features_lie_where_the_pixels_are(kind):
    """A dark square: its features differ from the ground within a cell of its outline."""
    torch.manual_seed(0)
    encoder = Encoder(1 / 2) if kind == "ResNet18" else ColourEncoder(4)
    rgb = np.full((96, 130, 3), 240, np.uint8)
    rgb[40:60, 80:100] = (90, 30, 120)
    features = encode(rgb, encoder, stages=(0,), windows=(0,))
    assert features.shape[1:] == (24, 32)
    assert features.dtype == torch.float32
    moved = (features - features[:, :1, :1]).norm(dim=0) > 0.2 * features.norm(dim=0).max()
    rows, columns = (torch.arange(n) for n in moved.shape)
    assert moved.any()
    outside = (rows < 9)[:, None] | (rows > 15)[:, None] | (columns * 130 / 32 < 76) | (columns * 130 / 32 > 104)
    assert not (moved & outside).any()
    weights = moved.float()
    assert (weights.sum(1) @ (rows + 0.5) / weights.sum()).item() == pytest.approx(12.5, abs=0.4)
    assert (weights.sum(0) @ (columns + 0.5) / weights.sum()).item() == pytest.approx(90 * 32 / 130, abs=0.4)


def test_channels_are_standardised_and_stages_weigh_the_same():
    torch.manual_seed(0)
    rgb = np.random.default_rng(0).integers(0, 255, (64, 80, 3), np.uint8)
    features = encode(rgb, Encoder(1 / 16), stages=(0, 2), windows=(0, 16), stride=8)
    assert features.shape == (2 * (4 + 8), 8, 10)
    np.testing.assert_allclose(features.mean((1, 2)), 0, atol=1e-5)
    for part in features.square().mean((1, 2)).split([4, 4, 8, 8]):
        alive = part[part > 0]  # a ReLU of random weights may be shut everywhere
        assert len(alive) >= len(part) / 2
        np.testing.assert_allclose(alive, 1 / len(part), rtol=1e-4)


def test_a_blank_image_has_no_features_and_any_size_is_taken():
    """The second by the network that ships: no channel sees the zeros past the mirrored margin."""
    assert (encode(np.full((50, 40, 3), 200, np.uint8)) == 0).all()
    blank = encode(np.full((50, 40, 3), 255, np.uint8), Encoder(1 / 64))
    assert (blank == 0).all()
    rgb = np.random.default_rng(0).integers(0, 255, (3, 150, 3), np.uint8)
    assert encode(rgb, Encoder(1 / 64)).shape[1:] == (1, 38)
    assert encode(rgb[:, :1], Encoder(1 / 64)).shape[1:] == (1, 1)


def test_the_border_is_mirrored_not_zeros():
    """Mirrored twice, an image of stripes is the same image, so its border looks like its middle."""
    rgb = np.full((96, 96, 3), 230, np.uint8)
    rgb[:, :] = np.where(np.arange(96)[None, :, None] // 8 % 2, 230, 120)
    features = encode(rgb, Encoder(1 / 32), stages=(0, 1), windows=(0,))
    torch.testing.assert_close(features[:, :1], features[:, 12:13], atol=1e-3, rtol=0)


@pytest.mark.parametrize("arguments", [{"stages": ()}, {"stages": (5,)}, {"stages": (-1,)}])
def test_unknown_stages_are_refused(arguments):
    with pytest.raises(ValueError, match="stages are numbers from 0 to 4"):
        encode(np.zeros((32, 32, 3), np.uint8), Encoder(1 / 64), **arguments)


@pytest.mark.parametrize("arguments", [{"stride": 0}, {"windows": ()}, {"windows": (-1,)}])
def test_an_impossible_grid_is_refused(arguments):
    with pytest.raises(ValueError, match="stride is at least 1"):
        encode(np.zeros((32, 32, 3), np.uint8), Encoder(1 / 64), **arguments)


@pytest.mark.parametrize("rgb", [np.zeros((8, 8)), np.zeros((8, 8, 3), np.float32), np.zeros((0, 8, 3), np.uint8)])
def test_what_is_no_image_is_refused(rgb):
    with pytest.raises(ValueError, match="expected an RGB image"):
        encode(rgb, Encoder(1 / 64))
