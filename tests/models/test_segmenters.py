"""The segmentation network takes images of any size and gives one logit a class and pixel."""

import pytest
import torch

from histolab_lite.models import Encoder
from histolab_lite.models.segmenters import LinkNet


@pytest.fixture(scope="module")
def network() -> LinkNet:
    torch.manual_seed(0)
    return LinkNet(3, 0.125).eval()


@pytest.mark.parametrize("size", [(64, 64), (33, 70), (1, 1), (5, 64), (31, 97)])
def test_size_in_is_size_out(network, size):
    with torch.inference_mode():
        out = network(torch.rand(2, 3, *size))
    assert out.shape == (2, 3, *size)
    assert torch.isfinite(out).all()


def test_padding_reflects_the_image_and_is_cropped_away(network):
    x = torch.rand(1, 3, 40, 50)
    mirrored = torch.nn.functional.pad(x, (0, 14, 0, 24), mode="reflect")
    with torch.inference_mode():
        torch.testing.assert_close(network(x), network(mirrored)[..., :40, :50])


def test_it_starts_from_a_copy_of_a_trained_encoder():
    encoder = Encoder(0.125)
    network = LinkNet(2, encoder)
    assert all(torch.equal(a, b) for a, b in zip(encoder.parameters(), network.encoder.parameters(), strict=True))
    before = encoder.conv1.weight.clone()
    with torch.no_grad():
        network.encoder.conv1.weight.add_(1)
    assert torch.equal(encoder.conv1.weight, before)
    with pytest.raises(ValueError, match="stride 32, not 8"):
        LinkNet(2, Encoder(0.125, output_stride=8))


def test_a_frozen_encoder_keeps_weights_and_statistics_while_the_decoder_learns():
    torch.manual_seed(0)
    network = LinkNet(2, 0.125, frozen=True).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, weight_decay=0.1)
    network(torch.rand(2, 3, 64, 64)).square().mean().backward()
    optimiser.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith("encoder.") for name in changed)
    assert {name for name, _ in network.named_parameters() if name.startswith(("decoder.", "head."))} <= changed
    assert LinkNet(2, 0.125).train().encoder.training


def test_the_papers_size_has_the_papers_decoder():
    assert LinkNet(2).head[0].in_channels == 32


def test_a_single_class_is_no_segmentation():
    with pytest.raises(ValueError, match="at least two classes"):
        LinkNet(1)
