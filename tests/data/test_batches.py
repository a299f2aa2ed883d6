"""Patches become a network's input, and what are no patches is refused."""

import numpy as np
import pytest
import torch

from histolab_lite.data.batches import check_patches, to_input


@pytest.mark.filterwarnings("error")
def test_pixels_are_scaled_and_channels_come_first():
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    images.flags.writeable = False
    expected = torch.tensor(images[:, ::-1].copy() / 255, dtype=torch.float32).permute(0, 3, 1, 2)
    for given in (images[:, ::-1], torch.tensor(images[:, ::-1].copy())):
        x = to_input(given, torch.device("cpu"))
        assert x.dtype == torch.float32
        torch.testing.assert_close(x, expected)
    to_input(images, torch.device("cpu"))[:] = 0
    assert images.any()


@pytest.mark.parametrize(
    ("shape", "dtype", "least"),
    [((2, 4, 4, 3), float, 0), ((2, 4, 4), np.uint8, 0), ((2, 4, 4, 4), np.uint8, 0), ((1, 4, 4, 3), np.uint8, 2)],
)
def test_what_are_no_patches_is_refused(shape, dtype, least):
    check_patches(np.zeros((2, 4, 4, 3), np.uint8), least=2)
    with pytest.raises(ValueError, match=r"patches, uint8 \(N, H, W, 3\); got"):
        check_patches(np.zeros(shape, dtype), least)
