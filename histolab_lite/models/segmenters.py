"""Segmentation networks, all from segmentation-models-pytorch: (B, 3, H, W) in [0, 1] -> logits (B, K, H, W).

LinkNet: Chaurasia and Culurciello, VCIP 2017, the network Proto2Seg refines its masks with.
"""

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import nn


class Segmenter(nn.Module):
    """A network that takes images of any size: normalises, pads to its stride by reflection, crops back."""

    def __init__(self, network: nn.Module, n_classes: int, stride: int = 32) -> None:
        super().__init__()
        self.network, self.n_classes, self.stride = network, n_classes, stride
        self.to(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[2:]
        missing = (-width % self.stride, -height % self.stride)
        mode = "reflect" if missing[0] < width and missing[1] < height else "replicate"
        padded = F.pad(x * 2 - 1, (0, missing[0], 0, missing[1]), mode=mode)
        return self.network(padded.contiguous(memory_format=torch.channels_last))[:, :, :height, :width]


def linknet(n_classes: int, backbone: str = "resnet18") -> Segmenter:
    """LinkNet with random weights ("from scratch", as the paper trains it).

    backbone: any encoder name of segmentation-models-pytorch; "resnet18" is the paper's.
    """
    if n_classes < 2:
        raise ValueError(f"a segmentation needs at least two classes, not {n_classes}.")
    return Segmenter(smp.Linknet(backbone, encoder_weights=None, classes=n_classes), n_classes)
