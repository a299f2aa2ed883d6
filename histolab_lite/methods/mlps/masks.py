"""Pseudo masks: every pixel goes to the tagged tissue whose activation map is the strongest there (eq. 6).

The paper does not say how maps are normalised, nor by which colour white is found. The authors' code scales all maps
of an image to [0, 1] together, with absent classes and negative values.
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
    """Make masks of tagged images, from each of several layers.

    Maps are enlarged bilinearly, then scaled to [0, 1] by minimum and maximum. Of equally strong classes, as where
    none is active, the first by number wins.

    Parameters
    ----------
    images
        (B, 3, H, W) in [0, 1].
    tags
        (B, K) of 0 and 1; a class without a tag does not appear in a mask.
    layers, method
        As in `activation_maps`.
    normalise
        Whose minimum and maximum: each class's own ("class"), or those of all classes of the image together ("image"),
        which keeps a faint class faint.
    white
        Brightness in (0, 1]. A pixel whose three colours all reach it, such as 0.9, becomes class K, glass, which has
        no tag.

    Returns
    -------
    dict
        {layer: class ids (B, H, W) uint8}.

    Raises
    ------
    ValueError
        An image has no tag, an argument is outside its range, or `activation_maps` refuses an argument.
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


def strongest(maps: torch.Tensor, present: torch.Tensor, size: Sequence[int], normalise: str = "class") -> torch.Tensor:
    """Choose the present class of the strongest map at every pixel (eq. 6).

    Parameters
    ----------
    maps
        (B, K, h, w).
    present
        bool (B, K).
    size
        (H, W) of the masks.
    normalise
        As in `pseudo_masks`.

    Returns
    -------
    Tensor
        Class ids (B, H, W) int64.
    """
    full = _to_unit(F.interpolate(maps, tuple(size), mode="bilinear", align_corners=False), present, normalise)
    return full.masked_fill_(~present[:, :, None, None], -1).argmax(1)


def _to_unit(maps: torch.Tensor, present: torch.Tensor, normalise: str) -> torch.Tensor:
    """Scale the present classes' maps to [0, 1]; a constant map, which says nothing, becomes 0."""
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)  # (B, K, 1, 1)
    if normalise == "image":
        absent = ~present[:, :, None, None]
        low = low.masked_fill(absent, torch.inf).amin(1, keepdim=True)
        high = high.masked_fill(absent, -torch.inf).amax(1, keepdim=True)
    span = high - low
    return (maps - low) / torch.where(span > 0, span, 1)
