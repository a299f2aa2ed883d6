"""Class activation maps: where in a patch the classifier sees a tissue, at several depths from one forward pass.

CAM: Zhou et al., CVPR 2016. Grad-CAM: Selvaraju et al., ICCV 2017, eq. 1 and 2. Grad-CAM++: Chattopadhay et al.,
WACV 2018, eq. 10 and 19, with y = exp of the logit.

The head is linear in the pooled last map, so the gradient of class k there is ω_k / HW, without a backward pass. One
backward pass serves all maps before it and many images at once, each with the next of its own tissues. So every image
goes forward once, and back once per tissue that it has, whatever the number of classes and of maps.
"""

from collections.abc import Sequence

import torch

from histolab_lite.methods.mlps.classification import Classifier, check_tags
from histolab_lite.models.resnet38 import BLOCKS

#: The paper's three, of which the last is the deepest (eq. 13; the authors' code takes b4_5 for b4_3).
LAYERS = ("b4_3", "b5_2", "bn7")
METHODS = ("cam", "grad-cam", "grad-cam++")


def activation_maps(
    model: Classifier,
    images: torch.Tensor,
    tags: torch.Tensor,
    layers: Sequence[str] = LAYERS,
    method: str = "grad-cam",
) -> dict[str, torch.Tensor]:
    """Map where the tagged tissues are.

    The network is put into evaluation mode, and the attention is left out, as in ``classify``.

    Parameters
    ----------
    images
        (B, 3, H, W) in [0, 1].
    tags
        (B, K) of 0 and 1, on any device.
    layers
        Names of ResNet38's maps.
    method
        "cam" (of "bn7" alone), "grad-cam", or "grad-cam++".

    Returns
    -------
    dict
        {layer: (B, K, h, w) float32}: at least 0, and 0 for a class without a tag.

    Raises
    ------
    ValueError
        The tags are wrong, a layer or the method is unknown, or CAM is asked of a layer that the head does not see.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, not {method!r}.")
    if method == "cam" and set(layers) != {"bn7"}:
        raise ValueError(f"CAM needs the layer before the linear head, bn7, not {list(layers)}; take grad-cam.")
    device = next(model.parameters()).device
    present = check_tags(tags, len(images), model.n_classes).to(device)
    model.eval()
    # The images of a group have equally many tissues, so that no pass works on an image that is done.
    tissues = present.sum(1)
    groups = [(tissues == n).nonzero()[:, 0] for n in tissues.unique()] or [tissues.nonzero()[:, 0]]
    parts = [_maps_of_group(model, images[rows.to(images.device)], present[rows], layers, method) for rows in groups]
    order = torch.cat(groups).argsort()
    return {name: torch.cat([part[name] for part in parts])[order] for name in layers}


def _maps_of_group(
    model: Classifier, images: torch.Tensor, present: torch.Tensor, layers: Sequence[str], method: str
) -> dict[str, torch.Tensor]:
    """``activation_maps`` of images that have equally many tissues: present (B, K) bool, n per row."""
    inner = sorted(set(layers) & set(BLOCKS), key=BLOCKS.index)
    with torch.inference_mode(False), torch.set_grad_enabled(bool(inner)):
        # A tensor of inference mode cannot be part of a graph; its clone can.
        x = images.clone() if images.is_inference() else images
        maps = model.trunk(x.to(present.device), {*layers, "bn7"}, graph_from=inner[0] if inner else None)
        logits = model.head(maps["bn7"].mean((2, 3))).float()
        passes = _gradients(logits, [maps[name] for name in inner], present) if inner else []
    result = {}
    with torch.no_grad():
        for name in layers:
            m = maps[name].detach().float()
            if name == "bn7":
                weights = _constant_gradient(m, model.head.weight.detach().float(), method)
                cams = torch.einsum("bkc,bchw->bkhw", weights.expand(len(m), -1, -1), m)
            else:
                cams = m.new_zeros(*present.shape, *m.shape[2:])
                for classes, gradients in passes:
                    weights = _weights(m, gradients[inner.index(name)].float(), method)
                    cams[torch.arange(len(m), device=m.device), classes] = torch.einsum("bc,bchw->bhw", weights, m)
            result[name] = cams.relu_().masked_fill_(~present[:, :, None, None], 0)
    return result


def _gradients(
    logits: torch.Tensor, maps: list[torch.Tensor], present: torch.Tensor
) -> list[tuple[torch.Tensor, tuple[torch.Tensor, ...]]]:
    """For every pass, each image's class (B,) and the gradients in the maps. Pass i takes every image's i-th tissue."""
    n = int(present.sum()) // max(len(present), 1)
    classes = present.nonzero()[:, 1].view(len(present), n).T  # (n, B)
    found = []
    for number, row in enumerate(classes, 1):
        score = logits.gather(1, row[:, None]).sum()  # in evaluation mode no image depends on another
        found.append((row, torch.autograd.grad(score, maps, retain_graph=number < len(classes))))
    return found


def _weights(m: torch.Tensor, g: torch.Tensor, method: str) -> torch.Tensor:
    """Weight of every channel (B, C) from maps and their gradients (B, C, h, w)."""
    if method == "grad-cam":
        return g.mean((2, 3))
    # α = g² / (2g² + g³ Σm) where g > 0. Maps before a ReLU may have Σm < 0, which the derivation rules out: then 0.
    alpha = 1 / (2 + m.sum((2, 3), keepdim=True).relu() * g.relu())
    return (alpha * g.relu()).sum((2, 3))


def _constant_gradient(m: torch.Tensor, omega: torch.Tensor, method: str) -> torch.Tensor:
    """Weights (1 or B, K, C) for the last map, whose gradient is ω / HW at every pixel."""
    pixels = m.shape[2] * m.shape[3]
    if method == "cam":
        return omega[None]
    if method == "grad-cam":
        return omega[None] / pixels
    total = m.sum((2, 3))[:, None]  # (B, 1, C); rectified, so never negative
    g = (omega / pixels).relu()[None]
    return pixels * g / (2 + total * g)
