"""Encoders of patches: ResNet18 without pooling and head, of any width and output stride, and other people's.

He et al., "Deep residual learning", CVPR 2016; blocks and key names are torchvision's. Proto2Seg (Pan et al.,
IPMI 2023, Sect. 3.1) uses it at width 1 and stride 32. A finer stride replaces the last strides by dilation
(Yu et al., "Dilated residual networks", CVPR 2017): the same weights, a denser grid.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import load_model_config_from_hf
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet18_Weights

from histolab_lite.data.stain import to_optical_density
from histolab_lite.files import read_json
from histolab_lite.models.checkpoint import check_finite, load_state, read_weights, unnest

DEFAULT_WEIGHTS = Path(__file__).with_name("weights") / "default_encoder.safetensors"
STRIDES = (8, 16, 32)


class PatchEncoder(nn.Module):
    """The base of all encoders. Subclasses define ``forward``, ``channels`` and ``name``."""

    channels: int
    name: str
    mean: torch.Tensor
    std: torch.Tensor

    def _set_normalisation(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def _to_input(self, rgb: np.ndarray) -> torch.Tensor:
        """Convert uint8 (N, H, W, 3) to float (N, 3, H, W) in [0, 1] on this module's device."""
        x = torch.tensor(np.ascontiguousarray(rgb), device=self.mean.device)
        return x.permute(0, 3, 1, 2).float().div_(255)

    @torch.inference_mode()
    def encode(self, rgb: np.ndarray) -> torch.Tensor:
        """Encode one image, uint8 (H, W, 3), as features (C, h, w) float32 on the CPU, in evaluation mode.

        Raises
        ------
        ValueError
            For an array that is no RGB image.
        """
        rgb = np.asarray(rgb)
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
            raise ValueError(f"expected an RGB image, uint8 (H, W, 3); got {rgb.dtype} {rgb.shape}.")
        self.eval()
        return self(self._to_input(rgb[None]))[0].float().cpu()

    @torch.inference_mode()
    def embed(self, patches: np.ndarray, batch_size: int = 256) -> torch.Tensor:
        """Embed patches, uint8 (N, P, P, 3), as average-pooled features (N, C) float32 on the CPU.

        Raises
        ------
        ValueError
            For an array that holds no RGB patches.
        """
        if patches.ndim != 4 or patches.shape[3] != 3 or patches.dtype != np.uint8 or 0 in patches.shape[1:]:
            raise ValueError(f"expected patches, uint8 (N, P, P, 3); got {patches.dtype} {patches.shape}.")
        self.eval()
        batches = (patches[start : start + batch_size] for start in range(0, len(patches), batch_size))
        pooled = [self(self._to_input(batch)).float().mean((2, 3)).cpu() for batch in batches]
        return torch.cat(pooled) if pooled else torch.zeros(0, self.channels)


class Encoder(PatchEncoder):
    """ResNet18's convolutional part: (B, 3, H, W) in [0, 1] -> (B, 512·width, ⌈H/s⌉, ⌈W/s⌉).

    Parameters
    ----------
    width
        Factor on every channel count, a multiple of 1/64.
    output_stride
        s: 32, 16 or 8.
    name
        What the encoder is called.

    Raises
    ------
    ValueError
        For a width below 1/64 or another output stride.
    """

    def __init__(self, width: float = 1.0, output_stride: int = 32, name: str = "random") -> None:
        super().__init__()
        base = round(64 * width)
        if base < 1:
            raise ValueError(f"width must be at least 1/64, not {width}.")
        if output_stride not in STRIDES:
            raise ValueError(f"output_stride must be one of {STRIDES}, not {output_stride}.")
        self.width, self.output_stride, self.name = base / 64, output_stride, name
        self.channels = 8 * base
        self.conv1 = nn.Conv2d(3, base, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(base)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(base, base, stride=1, dilation=1)
        self.layer2 = _stage(base, 2 * base, stride=2, dilation=1)
        self.layer3 = _stage(2 * base, 4 * base, *((2, 1) if output_stride >= 16 else (1, 2)))
        self.layer4 = _stage(4 * base, 8 * base, *((2, 1) if output_stride == 32 else (1, 32 // output_stride)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self._set_normalisation(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
        self.to(memory_format=torch.channels_last)  # several times faster on a CPU, and on tensor cores

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Encode (B, 3, H, W) in [0, 1]."""
        return self.stages(x)[-1]

    def stages(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the features of every resolution: strides 2 and 4 (64·width channels), then layers 2, 3 and 4."""
        x = ((x - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        stem = self.relu(self.bn1(self.conv1(x)))  # (B, 64w, H/2, W/2)
        features = [stem, self.layer1(self.maxpool(stem))]
        for layer in (self.layer2, self.layer3, self.layer4):
            features.append(layer(features[-1]))
        return features


class _PickThenConvolve(nn.Conv2d):
    """A strided 1 × 1 convolution, computed without a stride on the pixels that it would read."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, columns = self.stride
        return F.conv2d(x[:, :, ::rows, ::columns], self.weight)


def _stage(inputs: int, outputs: int, stride: int, dilation: int) -> nn.Sequential:
    shortcut = None
    if stride != 1 or inputs != outputs:
        # With few channels, channels last, oneDNN's strided 1 × 1 writes past its memory on processors with only AVX2.
        convolution = nn.Conv2d if inputs >= 8 else _PickThenConvolve
        shortcut = nn.Sequential(convolution(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    blocks = nn.Sequential(BasicBlock(inputs, outputs, stride, shortcut), BasicBlock(outputs, outputs))
    for name, module in blocks.named_modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            # The first convolution still reads the stage before it: it takes that stage's dilation.
            step = max(dilation // 2, 1) if name == "0.conv1" else dilation
            module.dilation = module.padding = (step, step)
    return blocks


class ColourEncoder(PatchEncoder):
    """A baseline without network: mean optical density of every s × s block, (B, 3, H, W) -> (B, 4, ⌈H/s⌉, ⌈W/s⌉).

    The fourth channel is 1, so that vectors scaled to length 1 still tell dark from pale.
    """

    def __init__(self, output_stride: int = 8) -> None:
        super().__init__()
        self.channels, self.output_stride, self.name = 4, output_stride, "colour"
        self._set_normalisation((0.0,) * 3, (1.0,) * 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Average the optical density of (B, 3, H, W) in [0, 1]."""
        density = F.avg_pool2d(to_optical_density(x), self.output_stride, ceil_mode=True)
        return torch.cat([density, torch.ones_like(density[:, :1])], 1)


class TimmEncoder(PatchEncoder):
    """Any timm model as an encoder: (B, 3, H, W) in [0, 1] -> (B, C, h, w); tokens are laid out on their grid."""

    model: Any  # a timm model; they share no type

    def __init__(self, name: str, model: Any) -> None:
        super().__init__()
        self.name, self.model = name, model
        self.channels = model.num_features
        data = timm.data.resolve_model_data_config(model)
        self._set_normalisation(data["mean"], data["std"])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Encode (B, 3, H, W) in [0, 1]."""
        features = self.model.forward_features((x - self.mean) / self.std)
        if features.ndim == 3:  # (B, prefix + h·w, C)
            features = features[:, getattr(self.model, "num_prefix_tokens", 0) :]
            height, width = self.model.patch_embed.dynamic_feat_size(x.shape[2:])
            return features.transpose(1, 2).unflatten(2, (height, width))
        return features.permute(0, 3, 1, 2) if features.shape[1] != self.channels else features


def load_encoder(name: str | Path = "default", output_stride: int | None = None) -> PatchEncoder:
    """Load an encoder in evaluation mode.

    Parameters
    ----------
    name
        - "default": ships with the package.
        - "imagenet": torchvision's ResNet18, downloaded once.
        - "hf-hub:OWNER/MODEL": any timm model of the Hugging Face hub, such as UNI, Phikon or Lunit's; for some the
          licence must be accepted there first.
        - "local-dir:FOLDER": a timm model in a folder.
        - A file: .safetensors, .pt, .pth or .ckpt with ResNet18 weights of any width.
    output_stride
        32, 16 or 8 for ResNet18; None for the stride saved with the weights, else 32.

    Raises
    ------
    FileNotFoundError
        If the file is missing.
    ValueError
        If the weights do not fit (the message lists the keys), or the stride is given for a timm model.
    """
    name = str(name)
    metadata: dict[str, str] = {}
    if name.startswith(("hf-hub:", "local-dir:")):
        return _load_timm(name, output_stride)
    if name == "imagenet":
        state = ResNet18_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
    else:
        path = DEFAULT_WEIGHTS if name == "default" else Path(name)
        state, metadata = read_weights(path)
    state = unnest(state, "conv1.weight", heads=("fc.", "head."))
    if "conv1.weight" not in state:
        raise ValueError(f"{name} holds no ResNet18: there is no key conv1.weight. Its keys begin {list(state)[:3]}.")
    stride = output_stride or int(metadata.get("output_stride", 32))
    encoder = Encoder(len(state["conv1.weight"]) / 64, stride, name=metadata.get("name", Path(name).stem))
    load_state(encoder, state, source=name)
    return encoder.eval()


@cache
def default_encoder() -> PatchEncoder:
    """Return the encoder that ships with the package, loaded once. Do not change it: all callers share it."""
    return load_encoder()


def _load_timm(name: str, output_stride: int | None) -> TimmEncoder:
    if output_stride is not None:
        raise ValueError(f"output_stride applies to ResNet18 only; {name} has its own grid.")
    options: dict[str, object] = {"num_classes": 0}
    if name.startswith("hf-hub:"):
        _, architecture, _ = load_model_config_from_hf(name.removeprefix("hf-hub:"))
    else:
        architecture = read_json(Path(name.removeprefix("local-dir:")) / "config.json")["architecture"]
    if "vit" in architecture.split("_"):  # not mobilevit, maxvit, …, which take any size anyway
        options["dynamic_img_size"] = True
    model = timm.create_model(name, pretrained=True, **options)
    check_finite(model.state_dict(), name)
    return TimmEncoder(name, model).eval()
