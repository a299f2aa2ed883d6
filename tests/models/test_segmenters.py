"""The segmentation network takes images of any size and gives one logit a class and pixel."""

import pytest
import torch
from torch import nn

from histolab_lite.models.segmenters import Segmenter, linknet

SMALL = "tu-mobilenetv3_small_050"


@pytest.fixture(scope="module")
def network() -> Segmenter:
    return linknet(3, SMALL).eval()


@pytest.mark.parametrize("size", [(64, 64), (33, 70), (1, 1), (5, 64), (31, 97)])
def test_size_in_is_size_out(network, size):
    with torch.inference_mode():
        out = network(torch.rand(2, 3, *size))
    assert out.shape == (2, 3, *size)
    assert torch.isfinite(out).all()


def test_padding_reflects_the_image_and_is_cropped_away():
    seen = []

    class Spy(nn.Module):
        def forward(self, x):
            seen.append(x)
            return x[:, :1]

    x = torch.rand(1, 3, 6, 5)
    out = Segmenter(Spy(), 1, stride=8)(x)
    padded = seen[0]
    assert padded.shape == (1, 3, 8, 8)
    torch.testing.assert_close(padded[..., :6, :5], x * 2 - 1)  # [0, 1] becomes [-1, 1]
    torch.testing.assert_close(padded[..., 6, :5], x[..., 4, :] * 2 - 1)
    torch.testing.assert_close(padded[..., :6, 7], x[..., 1] * 2 - 1)
    torch.testing.assert_close(out, (x * 2 - 1)[:, :1])


def test_a_single_class_is_no_segmentation():
    with pytest.raises(ValueError, match="at least two classes"):
        linknet(1, SMALL)
