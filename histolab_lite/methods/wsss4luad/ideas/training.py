"""The teams' ideas as one recipe: the samples to train on, and the losses.

WSSS4LUAD (Han et al., 2022), Sect. IV-B. A network learns tags first (`train_tags`). Its class maps give the pseudo
masks of patches with several tags; patches with a single tag have exact masks (`gather`). Then it learns to segment
(`train`). Two networks teach each other (Lin et al., 1st place): at each step the maps of one network are the masks of
the other, wherever the mask is not exact. The paper does not say how the team weights the two tasks, nor its schedule.
"""

from dataclasses import asdict, dataclass
from typing import Unpack

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from histolab_lite.data import IGNORE
from histolab_lite.data.augment import StainJitter, random_flips
from histolab_lite.data.batches import check_patches, to_input
from histolab_lite.methods.mlps.classification import check_tags
from histolab_lite.methods.mlps.masks import strongest
from histolab_lite.methods.wsss4luad.challenge.foreground import foreground, single_class_masks
from histolab_lite.methods.wsss4luad.ideas.balancing import balanced_indices
from histolab_lite.methods.wsss4luad.ideas.losses import segmentation_loss
from histolab_lite.methods.wsss4luad.ideas.network import Siamese, map_masks
from histolab_lite.methods.wsss4luad.ideas.splicing import mosaic, splice
from histolab_lite.training import Schedule, TrainOptions, fit, pick_device, with_defaults


@dataclass(frozen=True)
class Recipe:
    """The ideas that a segmentation is trained with; none by default.

    Attributes
    ----------
    splices
        Number of made patches per given patch: half spliced, half mosaics of patches with a single tag (Lin, Zhu,
        Fang).
    balanced
        Whether rare classes are repeated (Lin).
    tag_weight
        λ of the classification task, which is learnt at the same time (Lin, Zhu).
    easy
        Whether pseudo masks are learnt from easy pixels first (Li).
    hard
        Share of the hardest pixels that exact masks are learnt from (Lin); None for all.
    lovasz
        λ of the Lovász-softmax on exact masks (Lin).

    Raises
    ------
    ValueError
        If `splices` or `tag_weight` is below 0.
    """

    splices: float = 0.0
    balanced: bool = False
    tag_weight: float = 0.0
    easy: bool = False
    hard: float | None = None
    lovasz: float = 0.0

    def __post_init__(self) -> None:
        if min(self.splices, self.tag_weight) < 0:
            raise ValueError(f"splices and tag_weight are at least 0, not {self.splices} and {self.tag_weight}.")


@dataclass(frozen=True)
class Samples:
    """Patches with tags and masks to train on.

    Attributes
    ----------
    patches
        uint8 (N, P, P, 3).
    tags
        (N, K) of 0 and 1.
    masks
        uint8 (N, P, P): class ids, 255 for white.
    exact
        bool (N,): True for an exact mask, False for a pseudo mask.
    """

    patches: np.ndarray
    tags: np.ndarray
    masks: np.ndarray
    exact: np.ndarray

    def __len__(self) -> int:
        return len(self.patches)

    def where(self, chosen: np.ndarray) -> "Samples":
        """Select samples by indices or by a bool (N,) such as `exact`."""
        return Samples(self.patches[chosen], self.tags[chosen], self.masks[chosen], self.exact[chosen])


def pseudo_masks(model: Siamese, patches: np.ndarray, tags: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """Make pseudo masks by `map_masks` in batches: patches uint8 (N, P, P, 3), tags (N, K) -> ids uint8 (N, P, P)."""
    check_patches(patches)
    present = check_tags(tags, len(patches), model.n_classes).split(batch_size)
    parts = torch.from_numpy(patches).permute(0, 3, 1, 2).split(batch_size)
    return torch.cat([map_masks(model, x / 255, y) for x, y in zip(parts, present, strict=True)]).numpy()


def gather(patches: np.ndarray, tags: np.ndarray, masks: np.ndarray, recipe: Recipe, seed: int = 0) -> Samples:
    """Gather the samples that a recipe trains on.

    Patches with a single tag get exact masks by their foreground; splices are made of them. White is 255 in all masks.

    Parameters
    ----------
    patches
        uint8 (N, P, P, 3).
    tags
        (N, K) of 0 and 1.
    masks
        Pseudo masks, uint8 (N, P, P), for patches with several tags: see `pseudo_masks`.
    recipe
        What the samples are for.
    seed
        Random seed of splices and repeats.

    Raises
    ------
    ValueError
        For shapes that do not match, a patch without a tag, or splices without any patch of a single tag.
    """
    present = check_tags(tags, len(patches), np.shape(tags)[-1]).numpy()
    if masks.shape != patches.shape[:3] or not present.any(1).all():
        raise ValueError(f"expected at least one tag per patch, and masks {patches.shape[:3]}; got {masks.shape}.")
    exact = present.sum(1) == 1
    masks = np.where(foreground(patches), masks, np.uint8(IGNORE))
    masks[exact] = single_class_masks(patches[exact], present[exact])
    if recipe.splices:
        pure = exact & (masks != IGNORE).any((1, 2))
        half = max(round(recipe.splices * len(patches) / 2), 1)
        made = [make(patches[pure], masks[pure], half, seed) for make in (splice, mosaic)]
        ids = np.concatenate([labels for _, labels in made])
        shown = np.stack([(ids == k).any((1, 2)) for k in range(present.shape[1])], 1)
        patches = np.concatenate([patches, *(spliced for spliced, _ in made)])
        masks, present = np.concatenate([masks, ids]), np.concatenate([present, shown])
        exact = np.concatenate([exact, np.ones(len(ids), bool)])
    samples = Samples(patches, present.astype(np.uint8), masks, exact)
    return samples.where(balanced_indices(present, seed)) if recipe.balanced else samples


def train_tags(
    model: Siamese,
    patches: np.ndarray,
    tags: np.ndarray,
    *,
    stain_strength: float = 0.3,
    **options: Unpack[TrainOptions],
) -> list[float]:
    """Train encoder and classifier in place with the multi-label soft margin loss.

    Parameters
    ----------
    model
        Network or networks.
    patches
        uint8 (N, P, P, 3); they are flipped, and their stain is varied.
    tags
        (N, K) of 0 and 1.
    options
        See `TrainOptions`; by default 20 epochs in batches of 16 at a learning rate of 1e-3.

    Returns
    -------
    list of float
        Mean loss of each epoch.

    Raises
    ------
    ValueError
        For shapes or dtypes that do not match, and a checkpoint of other settings or data.
    """
    options = with_defaults(options, epochs=20, batch_size=16, lr=1e-3, progress="tags")
    check_patches(patches)
    targets = check_tags(tags, len(patches), model.n_classes).float()
    device = pick_device(options.get("device"))
    jitter = StainJitter(stain_strength).to(device)

    def loss(model: nn.Module, indices: torch.Tensor) -> torch.Tensor:
        (x,) = _vary(jitter, patches, indices, device)
        y = targets[indices].to(device)
        return torch.stack([F.multilabel_soft_margin_loss(z, y) for z in model(x, "maps").mean((3, 4))]).sum()

    return fit(
        model,
        loss,
        len(patches),
        data=[patches, targets],
        schedule=Schedule("poly"),
        settings={"stain_strength": stain_strength},
        **options,
    )


def train(
    model: Siamese,
    samples: Samples,
    recipe: Recipe,
    *,
    stain_strength: float = 0.3,
    **options: Unpack[TrainOptions],
) -> list[float]:
    """Train one network, or two that teach each other, in place by a recipe.

    Parameters
    ----------
    model
        Network or networks.
    samples
        Made by `gather`. Patches are flipped, and their stain is varied.
    recipe
        Chooses the losses.
    options
        As of `train_tags`.

    Returns
    -------
    list of float
        Mean loss of each epoch.

    Raises
    ------
    ValueError
        For samples that do not match the network, batches of one patch, which the atrous pooling cannot normalise, and
        a checkpoint of other settings or data.
    """
    options = with_defaults(options, epochs=20, batch_size=16, lr=1e-3, progress="masks")
    check_patches(samples.patches)
    tags = check_tags(samples.tags, len(samples), model.n_classes)
    if min(options["batch_size"], len(samples)) < 2:
        raise ValueError(
            f"DeepLabV3+ needs batches of at least two patches; got {min(options['batch_size'], len(samples))}."
        )
    device = pick_device(options.get("device"))
    jitter = StainJitter(stain_strength).to(device)
    masks, exact = torch.from_numpy(samples.masks), torch.from_numpy(samples.exact)

    def loss(model: nn.Module, indices: torch.Tensor) -> torch.Tensor:
        x, target = _vary(jitter, samples.patches, indices, device, masks[indices])
        present, certain = tags[indices].to(device), exact[indices].to(device)
        outputs = model(x, "both")
        total = x.new_zeros(())
        for own, (maps, logits) in enumerate(outputs):
            other = outputs[1 - own][0] if len(outputs) == 2 else None
            total = total + _segmentation(logits, target, certain, present, other, recipe)
            if recipe.tag_weight:
                scores = maps.mean((2, 3)).float()
                total = total + recipe.tag_weight * F.multilabel_soft_margin_loss(scores, present.float())
        return total

    return fit(
        model,
        loss,
        len(samples),
        data=[samples.patches, tags, masks, exact],
        schedule=Schedule("poly"),
        settings=asdict(recipe) | {"stain_strength": stain_strength, "networks": len(model.networks)},
        **options,
    )


def _segmentation(
    logits: torch.Tensor,
    target: torch.Tensor,
    certain: torch.Tensor,
    present: torch.Tensor,
    other: torch.Tensor | None,
    recipe: Recipe,
) -> torch.Tensor:
    """Sum the losses of exact and of pseudo masks, each weighted by its share of the batch's pixels that count.

    The maps of the other network, if there is one, replace the pseudo masks.
    """
    if other is not None:
        taught = strongest(other.detach().float().relu(), present, target.shape[1:]).to(target.dtype)
        target = torch.where((target == IGNORE) | certain[:, None, None], target, taught)
    counted = (target != IGNORE).sum((1, 2)).float()
    share = counted[certain].sum() / counted.sum().clamp(min=1)
    total = logits.new_zeros((), dtype=torch.float32)
    if certain.any():
        total = total + share * segmentation_loss(
            logits[certain], target[certain], hard=recipe.hard, lovasz=recipe.lovasz
        )
    if not certain.all():
        total = total + (1 - share) * segmentation_loss(logits[~certain], target[~certain], easy=recipe.easy)
    return total


def _vary(
    jitter: StainJitter, patches: np.ndarray, indices: torch.Tensor, device: torch.device, *masks: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    x = to_input(patches[indices.numpy()], device)
    return random_flips(jitter(x), *(mask.to(device) for mask in masks))
