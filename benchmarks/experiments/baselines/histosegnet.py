"""HistoSegNet's way from Grad-CAM to a mask, a baseline of MLPS: confidence, adjustment between classes, dense CRF.

Chan et al., "HistoSegNet: semantic segmentation of histological tissue type in whole slide images", ICCV 2019, steps 2
to 4, on our classifier; constants are those of the authors' code. Dense CRF: Krähenbühl and Koltun, NIPS 2011, alg. 1.
Its usual implementation is no longer maintained, so messages are passed here by kornia's filters, whose windows end at
two σ; exact inference has no windows.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d, joint_bilateral_blur

from histolab_lite.methods.mlps.activation import activation_maps
from histolab_lite.methods.mlps.classification import Classifier, check_tags, classify

SIDE = 224  # pixels of the patches that the σ below belong to


def confident_maps(model: Classifier, images: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
    """Step 2: Grad-CAM of the last layer at full size, divided by its maximum and multiplied by ŷ: (B, K, H, W).

    images: (B, 3, H, W) in [0, 1]. tags: (B, K); a class that is not tagged is 0. Raises as ``activation_maps``.
    """
    maps = activation_maps(model, images, tags, ("bn7",))["bn7"]
    full = F.interpolate(maps, images.shape[2:], mode="bilinear", align_corners=False)
    top = full.amax((2, 3), keepdim=True)
    return full / torch.where(top > 0, top, 1) * classify(model, images)[:, :, None, None]


def adjust(
    maps: torch.Tensor,
    images: torch.Tensor,
    *,
    background: bool = False,
    pale: Sequence[int] = (),
    other: int | None = None,
) -> torch.Tensor:
    """Step 3: add what no tag names, then subtract the strongest other map from every map: (B, K or K + 1, H, W) >= 0.

    maps: (B, K, H, W) in [0, 1]. images: (B, 3, H, W) in [0, 1].
    background: append glass, 0.75 · sigmoid(4 (grey - 240)), grey up to 255, blurred by σ = 2, less the maps of the
    ``pale`` classes, such as fat. other: this class is what is left, 0.05 (1 - the strongest map), whatever its own
    map is; nothing is subtracted from it. The authors subtract class after class, in place; here all at once.

    Raises ValueError for classes that do not exist, or maps and images that do not belong together.
    """
    b, k, height, width = maps.shape
    if images.shape != (b, 3, height, width):
        raise ValueError(f"maps {(*maps.shape,)} do not belong to images {(*images.shape,)}.")
    if not all(0 <= c < k for c in [*pale, *([] if other is None else [other])]):
        raise ValueError(f"pale {list(pale)} and other {other} must name some of the {k} classes.")
    found = maps.clone()
    if background:
        glass = 0.75 * torch.sigmoid(4 * (images.to(maps).mean(1, keepdim=True) * 255 - 240))
        glass = gaussian_blur2d(glass, (17, 17), (2.0, 2.0), "replicate")
        if pale:
            glass = glass - maps[:, list(pale)].amax(1, keepdim=True)
        found = torch.cat([found, glass.clamp(0, 1)], 1)
    if other is not None:
        found[:, other] = 0
        found[:, other] = 0.05 * (1 - found.amax(1))
    if found.shape[1] > 1:
        first, second = found.topk(2, 1).values.split(1, 1)
        strongest = torch.where(found == first, second, first)  # of the others, ties included
        if other is not None:
            strongest[:, other] = 0
        found = (found - strongest).clamp(min=0)
    return found


def dense_crf(
    probabilities: torch.Tensor,
    images: torch.Tensor,
    *,
    gaussian: tuple[float, float] = (3.0, 30.0),
    bilateral: tuple[float, float, float] = (10.0, 20 / 255, 50.0),
    iterations: int = 5,
) -> torch.Tensor:
    """Step 4: mean field of a dense CRF with Potts costs; (B, K, H, W) >= 0 -> (B, K, H, W), which sum to 1 over K.

    probabilities: their negative logarithms are the unary energies, from 1e-5 on; a class that is 0 all over an image
    is no candidate there. images: (B, 3, H, W) in [0, 1].
    gaussian: θ_γ in pixels and weight of the smoothness kernel. bilateral: θ_α in pixels, θ_β in units of the
    images' values, and weight of the appearance kernel. Kernels are normalised at each pixel and hold the pixel
    itself, and what lies beyond the border takes no part.

    Raises ValueError for sizes that do not belong together, no candidate in an image, or settings that are not
    positive.
    """
    b, _, height, width = probabilities.shape
    if images.shape != (b, 3, height, width):
        raise ValueError(f"probabilities {(*probabilities.shape,)} do not belong to images {(*images.shape,)}.")
    if min(*gaussian, *bilateral) <= 0 or iterations < 1:
        raise ValueError(f"σ and weights are positive; got {gaussian}, {bilateral}, {iterations} iterations.")
    candidate = (probabilities > 0).any(3).any(2)
    if not candidate.any(1).all():
        raise ValueError("an image without a probability above 0 has no candidate for its pixels.")
    guide = images.to(probabilities)
    evidence = probabilities.clamp(1e-5, 1).log().masked_fill(~candidate[:, :, None, None], -torch.inf)

    def smooth(x: torch.Tensor) -> torch.Tensor:
        return gaussian_blur2d(x, _window(gaussian[0]), (gaussian[0],) * 2, "constant")

    def appear(x: torch.Tensor) -> torch.Tensor:
        return joint_bilateral_blur(
            x, guide, _window(bilateral[0]), bilateral[1], (bilateral[0],) * 2, "constant", "l2"
        )

    q = evidence.softmax(1)
    for _ in range(iterations):
        q = (evidence + gaussian[1] * _mean(q, smooth) + bilateral[2] * _mean(q, appear)).softmax(1)
    return q


def histosegnet_masks(
    model: Classifier,
    images: torch.Tensor,
    tags: torch.Tensor,
    *,
    background: bool = False,
    pale: Sequence[int] = (),
    other: int | None = None,
) -> torch.Tensor:
    """Steps 2 to 4: images (B, 3, H, W) in [0, 1] and tags (B, K) -> class ids (B, H, W) uint8; K is the background.

    σ are scaled from the paper's patches of 224 pixels to the shorter side of these. background, pale and other are
    those of ``adjust``. Raises ValueError for an image without any tag, and as ``activation_maps``.
    """
    present = check_tags(tags, len(images), model.n_classes)
    if not present.any(1).all():
        raise ValueError(f"images {(~present.any(1)).nonzero().flatten().tolist()[:10]} have no tag; leave them out.")
    maps = adjust(confident_maps(model, images, tags), images, background=background, pale=pale, other=other)
    # Where all maps of an image cancel, all its tags are equal and faint candidates.
    void = maps[:, : model.n_classes].amax((1, 2, 3)) == 0
    maps[:, : model.n_classes][void] = 0.05 * present.to(maps)[void][:, :, None, None]
    scale = min(images.shape[2:]) / SIDE
    crf = dense_crf(maps, images, gaussian=(3 * scale, 30.0), bilateral=(10 * scale, 20 / 255, 50.0))
    return crf.argmax(1).to(torch.uint8)


def _window(sigma: float) -> tuple[int, int]:
    """Pixels to two σ on either side."""
    return (2 * math.ceil(2 * sigma) + 1,) * 2


def _mean(q: torch.Tensor, blur: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """``blur`` of q over the pixels of the image only, as the filters take what lies beyond for zeros."""
    blurred = blur(torch.cat([q, torch.ones_like(q[:, :1])], 1))
    return blurred[:, :-1] / blurred[:, -1:]
