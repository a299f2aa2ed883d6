"""Tags to pseudo masks: all tissues and three layers of a batch at once, beside Grad-CAM once per class and layer."""

from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.harness import Case
from histolab_lite.data.phantom import phantom_slide
from histolab_lite.methods.mlps import LAYERS, Classifier, pseudo_masks

BATCH, SIDE, CLASSES, WIDTH = 8, 224, 4, 1 / 8
LIBRARY = "grad-cam, once per class and layer"


class Logits(nn.Module):
    """A classifier as the library wants it: logits, and a module whose output is the last map after its ReLU."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model, self.last = model, nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model.head(self.last(self.model.trunk(x)["bn7"]).mean((2, 3)))


def cases() -> list[Case]:
    torch.manual_seed(0)
    model = Classifier(CLASSES, WIDTH).eval()
    slide = phantom_slide(0, (SIDE, BATCH * SIDE), 1.0).image
    images = torch.from_numpy(np.stack(np.split(slide, BATCH, 1))).permute(0, 3, 1, 2) / 255
    tags = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 1]] * (BATCH // 4))

    def library() -> dict[str, np.ndarray]:
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        wrapped, masks = Logits(model), {}
        places = {"b4_3": model.trunk.b4_3, "b5_2": model.trunk.b5_2, "bn7": wrapped.last}
        for layer in LAYERS:
            maps = []
            with GradCAM(wrapped, [places[layer]]) as cam:
                for k in range(CLASSES):
                    found = cam(images, [ClassifierOutputTarget(k)] * BATCH)  # (B, H, W)
                    low, high = found.min((1, 2), keepdims=True), found.max((1, 2), keepdims=True)
                    maps.append((found - low) / np.maximum(high - low, 1e-12))
            masks[layer] = np.where(tags.numpy()[:, :, None, None] == 1, np.stack(maps, 1), -1).argmax(1)
        return masks

    def check(ours: dict[str, torch.Tensor], peers: dict[str, Any]) -> str:
        if LIBRARY not in peers:
            return "the library is not installed"
        equal = min(float((ours[layer].numpy() == peers[LIBRARY][layer]).mean()) for layer in LAYERS)
        assert equal >= 0.999, f"masks are equal in {equal:.2%} of the pixels"
        return f"masks are equal in {equal:.2%} of the pixels"

    return [
        Case(
            "pseudo masks",
            f"{BATCH} patches of {SIDE}², {CLASSES} classes, {len(LAYERS)} layers, ResNet38 of {WIDTH:g} width",
            lambda: pseudo_masks(model, images, tags),
            {LIBRARY: library},
            at_least={LIBRARY: 8.0},
            check=check,
            rounds=5,
        )
    ]
