"""Segmentation networks: (B, 3, H, W) in [0, 1], or feature maps, -> logits (B, K, H, W), any H and W.

LinkNet: Chaurasia and Culurciello, VCIP 2017, the network Proto2Seg refines its masks with. U-Net: Ronneberger et al.,
MICCAI 2015, the segmentation network of the contrast-based variational model (Zhang et al., CVPR 2023, Sect. 4.1).
Decoders and heads are those of segmentation-models-pytorch; the encoder of images is our ResNet18, so that it can be
narrow enough for a CPU.
"""

from abc import ABC, abstractmethod
from copy import deepcopy

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from segmentation_models_pytorch.base.modules import Conv2dReLU
from segmentation_models_pytorch.decoders.linknet.decoder import LinknetDecoder
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from torch import nn

from histolab_lite.models.encoder import Encoder

STRIDE = 32


class Segmenter(nn.Module, ABC):
    """Encoder, decoder, head: ``forward`` is the head's logits on ``features``, the last feature map before it."""

    stride: int  # sides are padded to multiples of it
    decoder: nn.Module
    head: nn.Module

    @abstractmethod
    def stages(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return x and the features of every resolution, as segmentation-models-pytorch's decoders take them."""

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the decoder's map (B, C, H, W), as fine as the input: the "Feature Map 2" of Zhang et al.

        Their Sect. 4.3.1 and Fig. 2a take it from the segmentation network; that it is the last map is our reading.
        """
        height, width = x.shape[2:]
        missing = (-width % self.stride, -height % self.stride)
        if any(missing):
            mode = "reflect" if missing[0] < width and missing[1] < height else "replicate"
            x = F.pad(x, (0, missing[0], 0, missing[1]), mode=mode)
        return self.decoder(self.stages(x))[:, :, :height, :width]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (B, K, H, W)."""
        return self.head(self.features(x))


class _OnEncoder(Segmenter):
    """A decoder on a ResNet18 encoder, which may be frozen."""

    stride = STRIDE

    def __init__(self, encoder: Encoder | float, frozen: bool) -> None:
        super().__init__()
        self.encoder = deepcopy(encoder) if isinstance(encoder, Encoder) else Encoder(encoder)
        if self.encoder.output_stride != STRIDE:
            name = type(self).__name__
            raise ValueError(f"{name} needs an encoder of stride {STRIDE}, not {self.encoder.output_stride}.")
        self.frozen = frozen
        self.encoder.requires_grad_(not frozen)

    def train(self, mode: bool = True) -> "_OnEncoder":
        """Switch to training mode, except for a frozen encoder."""
        super().train(mode)
        self.encoder.train(mode and not self.frozen)
        return self

    def stages(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return x and the encoder's features."""
        return [x, *self.encoder.stages(x)]


class LinkNet(_OnEncoder):
    """LinkNet's decoder on a ResNet18 encoder. Images are padded to its stride by reflection.

    Parameters
    ----------
    n_classes
        Number of classes, at least 2.
    encoder
        A trained encoder of stride 32, which is copied; or a width for random weights, 1.0 in the paper.
    frozen
        The encoder keeps its weights and its statistics, and only the decoder learns.

    Raises
    ------
    ValueError
        For fewer than two classes, or an encoder of another stride.
    """

    def __init__(self, n_classes: int, encoder: Encoder | float = 1.0, frozen: bool = False) -> None:
        if n_classes < 2:
            raise ValueError(f"a segmentation needs at least two classes, not {n_classes}.")
        super().__init__(encoder, frozen)
        self.n_classes = n_classes
        base = self.encoder.channels // 8
        self.decoder = LinknetDecoder((3, base, base, 2 * base, 4 * base, 8 * base), prefinal_channels=base // 2)
        self.head = SegmentationHead(base // 2, n_classes, kernel_size=1)
        initialize_decoder(self.decoder)
        initialize_head(self.head)
        self.to(memory_format=torch.channels_last)


class UNet(_OnEncoder):
    """U-Net's decoder on a ResNet18 encoder of images; one logit per pixel, for the target.

    Feature Map 2 has a quarter of the encoder's first channels (16 at width 1), but at least 8.

    Parameters
    ----------
    encoder, frozen
        As for `LinkNet`.
    """

    def __init__(self, encoder: Encoder | float = 1.0, frozen: bool = False) -> None:
        super().__init__(encoder, frozen)
        base = self.encoder.channels // 8
        channels = [max(base * part // 4, 8) for part in (16, 8, 4, 2, 1)]
        self.decoder = UnetDecoder((3, base, base, 2 * base, 4 * base, 8 * base), channels)
        self.head = SegmentationHead(channels[-1], 1, kernel_size=1)
        initialize_decoder(self.decoder)
        initialize_head(self.head)
        self.to(memory_format=torch.channels_last)


class MapUNet(Segmenter):
    """U-Net on the map of a feature extractor, (B, C, h, w) -> logits (B, 1, h, w): Sect. 4.1's second component.

    Parameters
    ----------
    in_channels
        C, for example 256 of ``cvm.encode``.
    width
        Channels of the finest resolution and of Feature Map 2; every coarser resolution has twice as many.
    depth
        Number of resolutions.

    Raises
    ------
    ValueError
        For an argument below 1.
    """

    def __init__(self, in_channels: int, width: int = 32, depth: int = 3) -> None:
        super().__init__()
        if min(in_channels, width, depth) < 1:
            raise ValueError(f"channels, width and depth are at least 1, not {in_channels}, {width} and {depth}.")
        self.stride = 2 ** (depth - 1)
        channels = [width * 2**level for level in range(depth)]
        self.levels = nn.ModuleList(
            nn.Sequential(
                Conv2dReLU(inputs, outputs, 1 if level == 0 else 3, padding=min(level, 1)),  # 1 × 1: C may be large
                Conv2dReLU(outputs, outputs, 3, padding=1),
            )
            for level, (inputs, outputs) in enumerate(zip([in_channels, *channels], channels, strict=False))
        )
        self.decoder = UnetDecoder((in_channels, *channels), [*channels[-2::-1], width], n_blocks=depth)
        self.head = SegmentationHead(width, 1, kernel_size=1)
        initialize_decoder(self)
        initialize_head(self.head)
        self.to(memory_format=torch.channels_last)

    def stages(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return x and the features of every level."""
        maps = [x]
        for level, layer in enumerate(self.levels):
            maps.append(layer(F.max_pool2d(maps[-1], 2) if level else x))
        return maps
