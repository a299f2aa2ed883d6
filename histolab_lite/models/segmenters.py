"""Segmentation networks: (B, 3, H, W) in [0, 1] -> logits (B, K, H, W), any H and W.

LinkNet: Chaurasia and Culurciello, VCIP 2017, the network Proto2Seg refines its masks with. Decoder and head are those
of segmentation-models-pytorch; the encoder is our ResNet18, so that it can be narrow enough for a CPU.
"""

from copy import deepcopy

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from segmentation_models_pytorch.decoders.linknet.decoder import LinknetDecoder
from torch import nn

from histolab_lite.models.encoder import Encoder

STRIDE = 32


class LinkNet(nn.Module):
    """LinkNet's decoder on a ResNet18 encoder. Images are padded to its stride by reflection.

    encoder: a trained one to start from (it is copied), or a width, for random weights: 1.0 is the paper's.
    frozen: the encoder keeps its weights and its statistics, and only the decoder learns.
    """

    def __init__(self, n_classes: int, encoder: Encoder | float = 1.0, frozen: bool = False) -> None:
        super().__init__()
        if n_classes < 2:
            raise ValueError(f"a segmentation needs at least two classes, not {n_classes}.")
        self.n_classes = n_classes
        self.encoder = deepcopy(encoder) if isinstance(encoder, Encoder) else Encoder(encoder)
        if self.encoder.output_stride != STRIDE:
            raise ValueError(f"LinkNet needs an encoder of stride {STRIDE}, not {self.encoder.output_stride}.")
        base = self.encoder.channels // 8
        self.decoder = LinknetDecoder((3, base, base, 2 * base, 4 * base, 8 * base), prefinal_channels=base // 2)
        self.head = SegmentationHead(base // 2, n_classes, kernel_size=1)
        initialize_decoder(self.decoder)
        initialize_head(self.head)
        self.frozen = frozen
        self.encoder.requires_grad_(not frozen)
        self.to(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> "LinkNet":
        super().train(mode)
        self.encoder.train(mode and not self.frozen)
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[2:]
        missing = (-width % STRIDE, -height % STRIDE)
        mode = "reflect" if missing[0] < width and missing[1] < height else "replicate"
        padded = F.pad(x, (0, missing[0], 0, missing[1]), mode=mode)
        logits = self.head(self.decoder([padded, *self.encoder.stages(padded)]))
        return logits[:, :, :height, :width]
