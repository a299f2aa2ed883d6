"""Segmentation networks take inputs of any size and give one logit per class and pixel."""

import pytest
import torch

from histolab_lite.models import Encoder
from histolab_lite.models.segmenters import LinkNet, MapUNet, Segmenter, UNet


@pytest.fixture(scope="module", params=["LinkNet", "UNet", "MapUNet"])
def network(request) -> Segmenter:
    torch.manual_seed(0)
    built = {"LinkNet": lambda: LinkNet(3, 0.125), "UNet": lambda: UNet(0.125), "MapUNet": lambda: MapUNet(3, 4, 3)}
    return built[request.param]().eval()


@pytest.mark.parametrize("size", [(64, 64), (33, 70), (1, 1), (5, 64)])
def test_size_in_is_size_out(network, size):
    with torch.inference_mode():
        x = torch.rand(2, 3, *size)
        out, features = network(x), network.features(x)
        torch.testing.assert_close(network.head(features), out)
    assert out.shape == (2, 3 if isinstance(network, LinkNet) else 1, *size)
    assert features.shape[2:] == size
    assert torch.isfinite(out).all()


def test_padding_reflects_the_image_and_is_cropped_away(network):
    x = torch.rand(1, 3, 41, 50)
    mirrored = torch.nn.functional.pad(x, (0, -50 % network.stride, 0, -41 % network.stride), mode="reflect")
    with torch.inference_mode():
        torch.testing.assert_close(network(x), network(mirrored)[..., :41, :50])


@pytest.mark.parametrize("kind", [lambda *given: LinkNet(2, *given), UNet])
def test_it_starts_from_a_copy_of_a_trained_encoder(kind):
    encoder = Encoder(0.125)
    network = kind(encoder)
    assert all(torch.equal(a, b) for a, b in zip(encoder.parameters(), network.encoder.parameters(), strict=True))
    before = encoder.conv1.weight.clone()
    with torch.no_grad():
        network.encoder.conv1.weight.add_(1)
    assert torch.equal(encoder.conv1.weight, before)
    with pytest.raises(ValueError, match="Net needs an encoder of stride 32, not 8"):
        kind(Encoder(0.125, output_stride=8))


@pytest.mark.parametrize("kind", [lambda *given: LinkNet(2, *given), UNet])
def test_a_frozen_encoder_keeps_weights_and_statistics_while_the_decoder_learns(kind):
    torch.manual_seed(0)
    network = kind(0.125, True).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, weight_decay=0.1)
    network(torch.rand(2, 3, 64, 64)).square().mean().backward()
    optimiser.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith("encoder.") for name in changed)
    assert {name for name, _ in network.named_parameters() if name.startswith(("decoder.", "head."))} <= changed
    assert kind(0.125).train().encoder.training


def test_decoders_have_the_papers_sizes():
    """U-Net's channels are segmentation-models-pytorch's own."""
    assert LinkNet(2).head[0].in_channels == 32
    assert [block.conv2[0].out_channels for block in UNet(1.0).decoder.blocks] == [256, 128, 64, 32, 16]
    assert UNet(0.125).eval().features(torch.rand(1, 3, 32, 32)).shape[1] == 8


def test_every_level_of_the_u_net_on_maps_gets_a_gradient():
    torch.manual_seed(0)
    network = MapUNet(5, width=4, depth=3)
    assert [layer[1][0].out_channels for layer in network.levels] == [4, 8, 16]
    network(torch.randn(2, 5, 16, 12)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_a_coarser_level_gets_the_maximum_of_four_pixels():
    network = MapUNet(2, width=4, depth=2).eval()
    with torch.inference_mode():
        _, fine, coarse = network.stages(torch.randn(1, 2, 6, 8))
        greatest = fine.reshape(1, 4, 3, 2, 4, 2).amax((3, 5))
        torch.testing.assert_close(coarse, network.levels[1](greatest))


def test_a_deeper_u_net_sees_further():
    reach = {}
    for depth in (1, 3):
        torch.manual_seed(0)
        network = MapUNet(1, width=4, depth=depth).eval()
        x = torch.randn(1, 1, 64, 64, requires_grad=True)
        network(x)[0, 0, 32, 32].backward()
        reach[depth] = int((x.grad[0, 0].abs().sum(0) > 0).sum())
    assert reach[1] <= 9 < 2 * reach[1] < reach[3]


@pytest.mark.parametrize("sizes", [(0, 4, 2), (3, 0, 2), (3, 4, 0)])
def test_sizes_below_the_least_are_refused(sizes):
    with pytest.raises(ValueError, match="at least 1"):
        MapUNet(*sizes)
    with pytest.raises(ValueError, match="at least two classes"):
        LinkNet(1)
