"""Maps of two halves, clicks on them, and small networks: what several tests of CVM train on."""

import torch
from torch import nn

from histolab_lite.methods.cvm.training import Trained, train
from histolab_lite.models.segmenters import MapUNet, Segmenter

SETTINGS = {"epochs": 3, "repeats": 2, "batch_size": 2, "device": "cpu", "progress": None}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def halves(h: int, w: int, contrast: float = 1.0, noise: float = 0.1, seed: int = 0) -> torch.Tensor:
    """Features (4, h, w) with one direction in the left half and another one in the right half."""
    features = noise * torch.randn(4, h, w, generator=seeded(seed))
    features[0, :, : w // 2] += contrast
    features[1, :, w // 2 :] += contrast
    return features


def clicked_halves(n: int = 4, h: int = 12, w: int = 10, seed: int = 0) -> tuple[list[torch.Tensor], list[dict]]:
    """Noisy maps (4, h, w) whose left half is the target, with two clicks on either side."""
    rows = torch.randint(h, (n, 4), generator=seeded(seed)).tolist()
    points = [{1: [(a, 0), (b, 2)], 0: [(c, w - 1), (d, w - 3)]} for a, b, c, d in rows]
    return [halves(h, w, contrast=2, noise=1, seed=10 * seed + i) for i in range(n)], points


def network(seed: int = 0) -> MapUNet:
    torch.manual_seed(seed)
    return MapUNet(4, width=4, depth=2)


class FirstChannel(Segmenter):
    """Each pixel on its own: its logit is its first channel, Feature Map 2 is the input."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.head = nn.Conv2d(channels, 1, 1, bias=False)
        self.head.weight.data = torch.eye(1, channels)[..., None, None]

    def stages(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [x]

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return x


def fitted(
    model: Segmenter | None = None, data: tuple | None = None, validation: tuple | None = None, **changes
) -> tuple[Segmenter, Trained]:
    """A network trained on four maps and validated on two others."""
    model = model or network()
    return model, train(
        model, *(data or clicked_halves()), validation or clicked_halves(2, seed=9), **(SETTINGS | changes)
    )
