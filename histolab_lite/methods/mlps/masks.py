"""Pseudo masks: every pixel goes to the tagged tissue whose activation map is the strongest there (eq. 6).

The paper says neither how maps are normalised nor by which colour white is found. Its authors' code brings all maps
of an image to [0, 1] together, absent classes and negative values included.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from histolab_lite.methods.mlps.activation import LAYERS, activation_maps
from histolab_lite.methods.mlps.classification import Classifier, check_tags

NORMALISATIONS = ("class", "image")


def pseudo_masks(
    model: Classifier,
    images: torch.Tensor,
    tags: torch.Tensor,
    layers: Sequence[str] = LAYERS,
    method: str = "grad-cam",
    *,
    normalise: str = "class",
    white: float | None = None,
) -> dict[str, torch.Tensor]:
    """{layer: class ids (B, H, W) uint8} for images (B, 3, H, W) in [0, 1] and their tags (B, K).

    Maps are brought to full size bilinearly, then to [0, 1] by minimum and maximum: each class's own ("class"), or
    those of all the image's classes together ("image"), which keeps a faint class faint. Absent classes are out of
    the question; of equally strong ones, as where none is active, the first by number wins.
    white: where all three colours reach it, e.g. 0.9, a pixel becomes class K, glass, which no tag names.

    Raises ValueError for an image without any tag, as there is nothing to choose from, and as ``activation_maps``.
    """
    if normalise not in NORMALISATIONS:
        raise ValueError(f"normalise must be one of {NORMALISATIONS}, not {normalise!r}.")
    if white is not None and not 0 < white <= 1:
        raise ValueError(f"white is a brightness in (0, 1], not {white}.")
    present = check_tags(tags, len(images), model.n_classes)
    untagged = (~present.any(1)).nonzero().flatten().tolist()
    if untagged:
        raise ValueError(f"images {untagged[:10]} have no tag; leave them out.")
    result = {}
    for name, maps in activation_maps(model, images, tags, layers, method).items():
        ids = strongest(maps, present.to(maps.device), images.shape[2:], normalise).to(torch.uint8)
        if white is not None:
            ids[(images.to(ids.device) >= white).all(1)] = model.n_classes
        result[name] = ids
    return result


def strongest(
    maps: torch.Tensor, present: torch.Tensor, size: Sequence[int], normalise: str = "class"
) -> torch.Tensor:
    """The present class of the strongest map at every pixel (eq. 6).

    maps: (B, K, h, w); present: bool (B, K). Returns int64, B masks of `size`.
    """
    full = _to_unit(F.interpolate(maps, tuple(size), mode="bilinear", align_corners=False), present, normalise)
    return full.masked_fill_(~present[:, :, None, None], -1).argmax(1)


def _to_unit(maps: torch.Tensor, present: torch.Tensor, normalise: str) -> torch.Tensor:
    """Minimum and maximum to 0 and 1, of the present classes; a constant map, which says nothing, to 0."""
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)  # (B, K, 1, 1)
    if normalise == "image":
        absent = ~present[:, :, None, None]
        low = low.masked_fill(absent, torch.inf).amin(1, keepdim=True)
        high = high.masked_fill(absent, -torch.inf).amax(1, keepdim=True)
    span = high - low
    return (maps - low) / torch.where(span > 0, span, 1)
