"""ResNet38, wide and shallow: the classification network of MLPS, of any width, and its published ImageNet weights.

Wu, Shen and van den Hengel, "Wider or deeper: revisiting the ResNet model for visual recognition", Pattern Recognition
2019 (model A1): pre-activation blocks, at most 4096 channels. The last strides are dilations instead, so that the
grid stays at an eighth of the image, as in AffinityNet (Ahn and Kwak, CVPR 2018), whose key names these are and whose
weights MLPS (Han et al., Medical Image Analysis 2022) starts from.
"""

from collections.abc import Collection
from pathlib import Path

import torch
import torch.nn.functional as F
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn

from histolab_lite.models.checkpoint import load_state, read_weights, unnest

STRIDE = 8
# Name, channels between its two convolutions and after them (in units of 64 · width), stride, dilation of either.
BASIC = [
    ("b2", 2, 2, 2, 1, 1),
    *((f"b2_{i}", 2, 2, 1, 1, 1) for i in (1, 2)),
    ("b3", 4, 4, 2, 1, 1),
    *((f"b3_{i}", 4, 4, 1, 1, 1) for i in (1, 2)),
    ("b4", 8, 8, 2, 1, 1),
    *((f"b4_{i}", 8, 8, 1, 1, 1) for i in (1, 2, 3, 4, 5)),
    ("b5", 8, 16, 1, 1, 2),
    *((f"b5_{i}", 8, 16, 1, 2, 2) for i in (1, 2)),
]
BLOCKS = (*(name for name, *_ in BASIC), "b6", "b7")


class Basic(nn.Module):
    """Normalise, rectify, convolve 3 × 3; twice. (B, inputs, H, W) -> (B, outputs, ⌈H/stride⌉, ⌈W/stride⌉)."""

    def __init__(self, inputs: int, between: int, outputs: int, stride: int, first: int, second: int) -> None:
        super().__init__()
        self.bn_branch2a = nn.BatchNorm2d(inputs)
        self.conv_branch2a = nn.Conv2d(inputs, between, 3, stride, padding=first, dilation=first, bias=False)
        self.bn_branch2b1 = nn.BatchNorm2d(between)
        self.conv_branch2b1 = nn.Conv2d(between, outputs, 3, padding=second, dilation=second, bias=False)
        self.stride = stride
        if stride > 1 or inputs != outputs:
            self.conv_branch1 = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the two convolutions to the shortcut."""
        active = F.relu(self.bn_branch2a(x))
        shortcut = x
        if hasattr(self, "conv_branch1"):  # strides by slicing: oneDNN's strided 1 × 1 crashes with few channels
            shortcut = self.conv_branch1(active[:, :, :: self.stride, :: self.stride])
        return shortcut + self.conv_branch2b1(F.relu(self.bn_branch2b1(self.conv_branch2a(active))))


class Bottleneck(nn.Module):
    """Convolutions of 1 × 1, 3 × 3 and 1 × 1, channels dropped out between. (B, inputs, H, W) -> (B, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int, dilation: int, dropout: float) -> None:
        super().__init__()
        quarter, half = outputs // 4, outputs // 2
        self.bn_branch2a = nn.BatchNorm2d(inputs)
        self.conv_branch2a = nn.Conv2d(inputs, quarter, 1, bias=False)
        self.bn_branch2b1 = nn.BatchNorm2d(quarter)
        self.conv_branch2b1 = nn.Conv2d(quarter, half, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn_branch2b2 = nn.BatchNorm2d(half)
        self.conv_branch2b2 = nn.Conv2d(half, outputs, 1, bias=False)
        self.conv_branch1 = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the three convolutions to the shortcut."""
        active = F.relu(self.bn_branch2a(x))
        inner = self.conv_branch2b1(self.dropout(F.relu(self.bn_branch2b1(self.conv_branch2a(active)))))
        return self.conv_branch1(active) + self.conv_branch2b2(self.dropout(F.relu(self.bn_branch2b2(inner))))


class ResNet38(nn.Module):
    """(B, 3, H, W) in [0, 1] -> named maps at stride 8, e.g. "bn7": (B, 4096·width, ⌈H/8⌉, ⌈W/8⌉).

    Parameters
    ----------
    width
        Factor on every channel count, a multiple of 1/64. 1 is the published network of 105 million weights; 1/8 trains
        on a laptop.
    dropout
        Shares of the channels that are dropped inside b6 and b7.

    Raises
    ------
    ValueError
        For a width below 1/64.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, width: float = 1.0, dropout: tuple[float, float] = (0.3, 0.5)) -> None:
        super().__init__()
        base = round(64 * width)
        if base < 1:
            raise ValueError(f"width must be at least 1/64, not {width}.")
        self.width, self.channels = base / 64, 64 * base
        self.conv1a = nn.Conv2d(3, base, 3, padding=1, bias=False)
        inputs = base
        for name, between, outputs, stride, first, second in BASIC:
            self.add_module(name, Basic(inputs, between * base, outputs * base, stride, first, second))
            inputs = outputs * base
        self.b6 = Bottleneck(16 * base, 32 * base, 4, dropout[0])
        self.b7 = Bottleneck(32 * base, 64 * base, 4, dropout[1])
        self.bn7 = nn.BatchNorm2d(64 * base)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.register_buffer("mean", torch.tensor(IMAGENET_DEFAULT_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_DEFAULT_STD).view(1, 3, 1, 1), persistent=False)
        self.to(memory_format=torch.channels_last)

    def forward(
        self, x: torch.Tensor, maps: Collection[str] = ("bn7",), graph_from: str | None = None
    ) -> dict[str, torch.Tensor]:
        """Return the named maps of images (B, 3, H, W) in [0, 1].

        Parameters
        ----------
        x
            The images.
        maps
            Names of blocks, such as "b4_3", for the map before the next block's ReLU; "bn7" for the last one, after its
            own ReLU.
        graph_from
            The gradient stops at this map, and nothing before it is kept in memory.

        Raises
        ------
        ValueError
            For an unknown name.
        """
        unknown = {*maps, graph_from or "bn7"} - {*BLOCKS, "bn7"}
        if unknown:
            raise ValueError(f"ResNet38 has no map {sorted(unknown)}; choose from {', '.join(BLOCKS)}, bn7.")
        taken = {}
        with torch.set_grad_enabled(torch.is_grad_enabled() and graph_from is None):
            x = self.conv1a(((x - self.mean) / self.std).contiguous(memory_format=torch.channels_last))
        begun = graph_from is None
        for name in (*BLOCKS, "bn7"):
            with torch.set_grad_enabled(torch.is_grad_enabled() and begun):
                x = F.relu(self.bn7(x)) if name == "bn7" else getattr(self, name)(x)
            if name == graph_from:
                begun, x = True, x.detach().requires_grad_(torch.is_grad_enabled())
            if name in maps:
                taken[name] = x
        return taken


def load_resnet38(path: str | Path) -> ResNet38:
    """Load a ResNet38 of the width of its weights from .safetensors, or a torch checkpoint of tensors only.

    The file holds the published keys (conv1a.weight, b2.bn_branch2a.weight, …, bn7.running_var), nested or not, each
    exactly once; a classification head (fc8) is left out. The ImageNet weights are published as an MXNet file. Convert
    it first, on a machine with MXNet, by the code in AffinityNet's repository.

    Raises
    ------
    FileNotFoundError
        If the file is missing.
    ValueError
        If it is an MXNet file, or the weights do not fit (the message lists the keys).
    """
    path = Path(path)
    if path.suffix == ".params":
        raise ValueError(f"{path.name} is an MXNet file; save its tensors under AffinityNet's names as .safetensors.")
    state, _ = read_weights(path)
    state = unnest(state, "conv1a.weight", heads=("fc8.", "head.", "linear1000."))
    if "conv1a.weight" not in state:
        raise ValueError(f"{path.name} holds no ResNet38: no key conv1a.weight. Its keys begin {list(state)[:3]}.")
    network = ResNet38(len(state["conv1a.weight"]) / 64)
    load_state(network, state, source=path.name)
    return network.eval()
