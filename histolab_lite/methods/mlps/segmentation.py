"""Phase two: a segmentation network learns from the pseudo masks of several layers at once (Sect. III-B1, eq. 13).

The authors' code starts from a DeepLabV3+ on a ResNet101 that was trained on other masks, and takes SGD at a learning
rate of 0.01. The paper names neither the start nor the optimizer, and a rate of 0.07. Here training starts from
scratch, with AdamW.
"""

from collections.abc import Mapping
from typing import Unpack

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from kornia.augmentation import RandomGaussianBlur
from torch import nn

from histolab_lite.data import IGNORE
from histolab_lite.data.augment import StainJitter, random_flips
from histolab_lite.data.batches import check_patches, to_input
from histolab_lite.models.segmenters import LinkNet
from histolab_lite.training import Schedule, TrainOptions, fit, pick_device, with_defaults

#: λ of eq. 13.
WEIGHTS = {"b4_3": 0.2, "b5_2": 0.2, "bn7": 0.6}


class DeepLab(nn.Module):
    """DeepLabV3+ of segmentation-models-pytorch, from random weights.

    (B, 3, H, W) in [0, 1], of any H and W -> logits (B, K, H, W).

    Parameters
    ----------
    n_classes
        K, at least 2.
    encoder
        Name of an encoder in segmentation-models-pytorch; the authors' is "resnet101".
    decoder_channels
        Channels of the decoder.
    encoder_depth
        Number of encoder stages; 4 does without the last one.

    Raises
    ------
    ValueError
        There are fewer than two classes.

    References
    ----------
    Chen et al., "Encoder-decoder with atrous separable convolution for semantic image segmentation", ECCV 2018.
    """

    mean: torch.Tensor
    std: torch.Tensor
    STRIDE = 16

    def __init__(
        self, n_classes: int, encoder: str = "resnet18", decoder_channels: int = 256, encoder_depth: int = 5
    ) -> None:
        super().__init__()
        if n_classes < 2:
            raise ValueError(f"a segmentation needs at least two classes, not {n_classes}.")
        self.n_classes = n_classes
        self.network = smp.DeepLabV3Plus(
            encoder, encoder_depth, encoder_weights=None, decoder_channels=decoder_channels, classes=n_classes
        )
        self.register_buffer("mean", torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1), persistent=False)

    def prepare(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise images, and pad them to multiples of the encoder's stride by repeating their border."""
        height, width = x.shape[2:]
        missing = (-width % self.STRIDE, -height % self.STRIDE)
        return F.pad((x - self.mean) / self.std, (0, missing[0], 0, missing[1]), mode="replicate")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits: (B, 3, H, W) in [0, 1] -> (B, K, H, W)."""
        return self.network(self.prepare(x))[:, :, : x.shape[2], : x.shape[3]]


def multi_layer_loss(
    logits: torch.Tensor, masks: Mapping[str, torch.Tensor], weights: Mapping[str, float] | None = None
) -> torch.Tensor:
    """Sum the cross-entropies with the masks of several layers: Σ_i λ_i · CE_i (eq. 13).

    CE_i is the mean over the pixels of mask i that are not 255, and 0 where there are none.

    Parameters
    ----------
    logits
        (B, K, H, W).
    masks
        {layer: (B, H, W) class ids}.
    weights
        {layer: λ}; None means the paper's.

    Returns
    -------
    Tensor
        Scalar, float32.
    """
    total = logits.new_zeros((), dtype=torch.float32)
    for layer, weight in (WEIGHTS if weights is None else weights).items():
        target = masks[layer].long()
        kept = (target != IGNORE).sum().clamp(min=1)
        total = total + weight * F.cross_entropy(logits.float(), target, ignore_index=IGNORE, reduction="sum") / kept
    return total


def train_segmenter(
    model: DeepLab | LinkNet,
    patches: np.ndarray,
    masks: Mapping[str, np.ndarray | torch.Tensor],
    *,
    weights: Mapping[str, float] | None = None,
    stain_strength: float = 0.3,
    **options: Unpack[TrainOptions],
) -> list[float]:
    """Train a segmentation network in place with `multi_layer_loss`.

    Patches are flipped and blurred as in the paper.

    Parameters
    ----------
    patches
        uint8 (N, H, W, 3).
    masks
        {layer: uint8 (N, H, W)} as ``pseudo_masks`` returns them; 255 is left out.
    weights
        {layer: λ}; None means the paper's. A single name, of a single mask, gives one layer of the ablation, or the
        training on true masks.
    stain_strength
        As in `StainJitter`; 0 leaves the colours as they are, as the paper does.
    options
        See `TrainOptions`. By default 20 epochs in batches of 20 at a learning rate of 1e-3.

    Returns
    -------
    list of float
        The mean loss of every epoch.

    Raises
    ------
    ValueError
        Patches and masks do not belong together, or a batch is of one patch, which the image pooling of DeepLabV3+
        cannot normalise.
    """
    options = with_defaults(options, epochs=20, batch_size=20, lr=1e-3, progress="segmenter")
    weights = WEIGHTS if weights is None else weights
    targets = _check(patches, masks, weights, model.n_classes)
    if min(options["batch_size"], len(patches)) < 2:
        raise ValueError(f"DeepLabV3+ learns from two patches at a time or more; got {len(patches)}.")
    device = pick_device(options.get("device"))
    jitter = StainJitter(stain_strength).to(device)
    blur = RandomGaussianBlur((5, 5), (0.1, 1.0), p=0.5)

    def loss(model: nn.Module, indices: torch.Tensor) -> torch.Tensor:
        x = to_input(patches[indices.numpy()], device)
        batch = {layer: target[indices].to(device) for layer, target in targets.items()}
        x, *flipped = random_flips(blur(jitter(x)), *batch.values())
        return multi_layer_loss(model(x), dict(zip(batch, flipped, strict=True)), weights)

    return fit(
        model,
        loss,
        len(patches),
        data=[patches, targets],
        schedule=Schedule("poly"),
        settings={"weights": dict(weights), "stain_strength": stain_strength},
        **options,
    )


def _check(
    patches: np.ndarray,
    masks: Mapping[str, np.ndarray | torch.Tensor],
    weights: Mapping[str, float],
    n_classes: int,
) -> dict[str, torch.Tensor]:
    """Return the masks that have a weight, as tensors."""
    check_patches(patches)
    if not weights or min(weights.values()) < 0 or not weights.keys() <= masks.keys():
        raise ValueError(f"every weight λ >= 0 needs a mask of its layer; got {dict(weights)} and {sorted(masks)}.")
    targets = {layer: torch.from_numpy(np.ascontiguousarray(masks[layer])) for layer in weights}
    for layer, target in targets.items():
        if target.shape != patches.shape[:3]:
            raise ValueError(f"the masks of {layer} are {(*target.shape,)}, the patches {patches.shape[:3]}.")
        found = target[target != IGNORE]
        if found.numel() and int(found.max()) >= n_classes:
            raise ValueError(f"{layer} holds class {int(found.max())}, but the network has {n_classes} classes.")
    return targets
