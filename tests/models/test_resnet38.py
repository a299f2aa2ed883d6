"""ResNet38: the published names and shapes, maps of the right size, weights that load or say why not."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from histolab_lite.models.checkpoint import save_weights
from histolab_lite.models.resnet38 import ResNet38, load_resnet38

WIDTH = 1 / 64
MAPS = ("b4_3", "b5_2", "bn7")


@pytest.fixture(scope="module")
def network() -> ResNet38:
    torch.manual_seed(0)
    return ResNet38(WIDTH).eval()


def norm(prefix: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}


def published() -> dict[str, tuple[int, ...]]:
    """Key and shape of every tensor of the published weights, written down block by block."""
    keys = {"conv1a.weight": (64, 3, 3, 3)}
    blocks = [("b2", 64, 128, 128), ("b2_1", 128, 128, 128), ("b2_2", 128, 128, 128)]
    blocks += [("b3", 128, 256, 256), ("b3_1", 256, 256, 256), ("b3_2", 256, 256, 256), ("b4", 256, 512, 512)]
    blocks += [(f"b4_{i}", 512, 512, 512) for i in range(1, 6)]
    blocks += [("b5", 512, 512, 1024), ("b5_1", 1024, 512, 1024), ("b5_2", 1024, 512, 1024)]
    for name, inputs, between, outputs in blocks:
        keys |= norm(f"{name}.bn_branch2a", inputs) | {f"{name}.conv_branch2a.weight": (between, inputs, 3, 3)}
        keys |= norm(f"{name}.bn_branch2b1", between) | {f"{name}.conv_branch2b1.weight": (outputs, between, 3, 3)}
        if name in ("b2", "b3", "b4", "b5"):
            keys[f"{name}.conv_branch1.weight"] = (outputs, inputs, 1, 1)
    for name, inputs, outputs in (("b6", 1024, 2048), ("b7", 2048, 4096)):
        keys |= norm(f"{name}.bn_branch2a", inputs) | {f"{name}.conv_branch2a.weight": (outputs // 4, inputs, 1, 1)}
        keys |= norm(f"{name}.bn_branch2b1", outputs // 4)
        keys[f"{name}.conv_branch2b1.weight"] = (outputs // 2, outputs // 4, 3, 3)
        keys |= norm(f"{name}.bn_branch2b2", outputs // 2)
        keys[f"{name}.conv_branch2b2.weight"] = (outputs, outputs // 2, 1, 1)
        keys[f"{name}.conv_branch1.weight"] = (outputs, inputs, 1, 1)
    return keys | norm("bn7", 4096)


def test_full_width_has_the_published_keys_and_shapes():
    with torch.device("meta"):
        state = ResNet38().state_dict()
    shapes = {key: (*value.shape,) for key, value in state.items() if not key.endswith("num_batches_tracked")}
    assert shapes == published()


@pytest.mark.parametrize(("height", "width"), [(17, 31), (1, 1)])
def test_maps_lie_at_stride_eight(network, height, width):
    maps = network(torch.rand(2, 3, height, width), MAPS)
    size = -(-height // 8), -(-width // 8)
    assert {name: (*x.shape,) for name, x in maps.items()} == {
        "b4_3": (2, 8, *size),
        "b5_2": (2, 16, *size),
        "bn7": (2, 64, *size),
    }
    assert maps["bn7"].min() >= 0
    assert height == 1 or maps["b4_3"].min() < 0  # one is rectified, the other is not


def test_the_blocks_are_the_papers(network):
    """Dilations as in the network of stride 8, and the sum of a block by hand."""

    def dilations(name: str) -> list[int]:
        return [module.dilation[0] for module in getattr(network, name).modules() if isinstance(module, nn.Conv2d)]

    assert dilations("b4_5") == [1, 1]
    assert dilations("b5") == [1, 2, 1]
    assert dilations("b5_2") == [2, 2]
    assert dilations("b6") == dilations("b7") == [1, 4, 1, 1]
    assert (network.b6.dropout.p, network.b7.dropout.p) == (0.3, 0.5)
    x = torch.randn(1, 1, 5, 7)
    active = network.b2.bn_branch2a(x).relu()
    between = network.b2.bn_branch2b1(network.b2.conv_branch2a(active)).relu()
    shortcut = F.conv2d(active, network.b2.conv_branch1.weight, stride=2)
    torch.testing.assert_close(network.b2(x), shortcut + network.b2.conv_branch2b1(between))


def test_the_graph_begins_where_asked(network):
    x = torch.rand(1, 3, 16, 16, requires_grad=True)
    full = network(x, MAPS)
    cut = network(x, MAPS, graph_from="b4_3")
    for name in MAPS:
        torch.testing.assert_close(cut[name], full[name])
    assert cut["b4_3"].is_leaf
    (gradient,) = torch.autograd.grad(cut["bn7"].sum(), cut["b4_3"])
    (expected,) = torch.autograd.grad(full["bn7"].sum(), full["b4_3"])
    torch.testing.assert_close(gradient, expected)
    with torch.no_grad():
        assert not network(x, MAPS, graph_from="b4_3")["bn7"].requires_grad


def test_no_one_by_one_convolution_strides(network):
    """oneDNN's backward pass of one with 8 channels, channels last, writes beyond its memory."""
    narrow = [module for module in network.modules() if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)]
    assert {module.stride for module in narrow} == {(1, 1)}


def test_every_weight_learns():
    torch.manual_seed(0)
    network = ResNet38(WIDTH, dropout=(0, 0)).train()
    network(torch.rand(2, 3, 24, 16))["bn7"].square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("write", [save_weights, torch.save])
def test_published_weights_load_without_counters_and_head(network, tmp_path, prefix, write):
    state = {f"{prefix}{k}": v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    state[f"{prefix}fc8.weight"] = torch.zeros(20, 64, 1, 1)
    path = tmp_path / ("weights.pth" if write is torch.save else "weights.safetensors")
    write(state, path)
    x = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(load_resnet38(path)(x)["bn7"], network(x)["bn7"])


def test_what_does_not_fit_is_refused(network, tmp_path):
    state = network.state_dict()
    del state["b4_3.conv_branch2a.weight"]
    for name, content, message in (
        ("short.safetensors", state, r"missing: \['b4_3.conv_branch2a.weight'\]"),
        ("other.safetensors", {"conv1.weight": torch.zeros(1)}, "no key conv1a.weight"),
        ("mxnet.params", {}, "MXNet"),
    ):
        save_weights(content, tmp_path / name)
        with pytest.raises(ValueError, match=message):
            load_resnet38(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        load_resnet38(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="no map.*b9"):
        network(torch.rand(1, 3, 8, 8), ("b9",))
    with pytest.raises(ValueError, match="width"):
        ResNet38(0.001)
