"""The features on CVM's grid: where they lie, what they average, how they are scaled."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates, uniform_filter

from histolab_lite.methods.cvm import encode
from histolab_lite.models.encoder import ColourEncoder, Encoder

IMAGE = np.zeros((32, 32, 3), np.uint8)


class Identity:
    """An encoder whose feature map is the image."""

    def encode(self, rgb: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(rgb).permute(2, 0, 1).float()


def oracle(channel: np.ndarray, radius: int, stride: int) -> np.ndarray:
    """The mean of each window of a mirrored image at the cells' centres, standardised for three channels."""
    smooth = uniform_filter(channel.astype(float), 2 * radius + 1, mode="mirror")
    counts = [max(1, round(side / stride)) for side in channel.shape]
    centres = [(np.arange(n) + 0.5) * side / n - 0.5 for n, side in zip(counts, channel.shape, strict=True)]
    sampled = map_coordinates(smooth, np.meshgrid(*centres, indexing="ij"), order=1)
    return (sampled - sampled.mean()) / sampled.std() / 3**0.5


@pytest.mark.parametrize(("shape", "stride"), [((30, 50), 4), ((33, 21), 5)])
def test_features_are_standardised_means_over_windows_around_the_cells(shape, stride):
    rgb = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    expected = [oracle(rgb[..., channel], radius, stride) for radius in (0, 4) for channel in range(3)]
    features = encode(rgb, Identity(), windows=(0, 8), stride=stride)
    assert features.dtype == torch.float32
    np.testing.assert_allclose(features, expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["ResNet18", "colour"])
def test_features_lie_where_the_pixels_are(kind):
    """A dark square: its features differ from the ground within a cell of its outline."""
    torch.manual_seed(0)
    encoder = Encoder(1 / 2) if kind == "ResNet18" else ColourEncoder(4)
    rgb = np.full((96, 130, 3), 240, np.uint8)
    rgb[40:60, 80:100] = (90, 30, 120)
    features = encode(rgb, encoder, stages=(0,), windows=(0,))
    assert features.shape[1:] == (24, 32)
    moved = (features - features[:, :1, :1]).norm(dim=0) > 0.2 * features.norm(dim=0).max()
    rows, columns = (torch.arange(n) for n in moved.shape)
    outside = (rows < 9)[:, None] | (rows > 15)[:, None] | (columns * 130 / 32 < 76) | (columns * 130 / 32 > 104)
    assert not (moved & outside).any()
    weights = moved.float()
    assert (weights.sum(1) @ (rows + 0.5) / weights.sum()).item() == pytest.approx(12.5, abs=0.4)
    assert (weights.sum(0) @ (columns + 0.5) / weights.sum()).item() == pytest.approx(90 * 32 / 130, abs=0.4)


def test_a_blank_image_has_no_features():
    """By the encoder that ships: no channel sees the zeros beyond the mirrored margin."""
    assert (encode(np.full((50, 40, 3), 200, np.uint8)) == 0).all()


def test_any_size_is_taken_and_stages_are_chosen():
    rgb = np.random.default_rng(0).integers(0, 255, (3, 150, 3), np.uint8)
    assert encode(rgb, Encoder(1 / 16), stages=(0, 2), windows=(0, 16)).shape == (2 * 4 + 2 * 8, 1, 38)
    assert encode(rgb[:, :1], Encoder(1 / 64)).shape[1:] == (1, 1)


@pytest.mark.parametrize(
    ("rgb", "options", "keyword"),
    [
        (IMAGE, {"stages": ()}, "stages"),
        (IMAGE, {"stages": (5,)}, "stages"),
        (IMAGE, {"stages": (-1,)}, "stages"),
        (IMAGE, {"stride": 0}, "stride"),
        (IMAGE, {"windows": ()}, "window"),
        (IMAGE, {"windows": (-1,)}, "window"),
        (np.zeros((8, 8)), {}, "RGB"),
        (np.zeros((8, 8, 4), np.uint8), {}, "RGB"),
        (np.zeros((8, 8, 3), np.float32), {}, "RGB"),
        (np.zeros((0, 8, 3), np.uint8), {}, "RGB"),
    ],
)
def test_bad_input_is_refused(rgb, options, keyword):
    with pytest.raises(ValueError, match=keyword):
        encode(rgb, Encoder(1 / 64), **options)
