"""SC-CAM, a baseline of MLPS: a tissue is learnt together with finer kinds of itself, found by clustering.

Chang et al., "Weakly-supervised semantic segmentation via sub-category exploration", CVPR 2020: the pooled features of
a class's images fall into K = 10 clusters; a second head learns to tell them, with loss L_p + λ L_s and λ = 5; the next
round clusters the features of this one, three rounds in all, each trained from the same start. The maps are the CAM of
the parent classes: ``activation_maps(model, images, tags, ("bn7",), "cam")``.
"""

import copy
from typing import Unpack

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from histolab_lite.data.augment import StainJitter, random_flips
from histolab_lite.data.batches import check_patches, to_input
from histolab_lite.kernels.kmeans import kmeans
from histolab_lite.methods.mlps.classification import Classifier, check_tags
from histolab_lite.training import Schedule, TrainOptions, fit, pick_device, with_defaults


class _Joint(nn.Module):
    """A classifier and, on the same pooled map, the head of its sub-categories, which only training needs."""

    def __init__(self, parent: Classifier, n_children: int) -> None:
        super().__init__()
        self.parent = parent
        self.children_head = nn.Linear(parent.trunk.channels, n_children, bias=False)
        nn.init.xavier_uniform_(self.children_head.weight)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pooled = self.parent.trunk(x)["bn7"].mean((2, 3))
        return self.parent.head(pooled), self.children_head(pooled)


@torch.no_grad()
def pooled_features(model: Classifier, patches: np.ndarray, batch_size: int = 64) -> torch.Tensor:
    """What the head sees of each patch: uint8 (N, H, W, 3) -> (N, C) float32 on the CPU, in evaluation mode."""
    model.eval()
    device = next(model.parameters()).device
    parts = (to_input(patches[i : i + batch_size], device) for i in range(0, len(patches), batch_size))
    return torch.cat([model.trunk(x)["bn7"].mean((2, 3)).float().cpu() for x in parts])


def find_sub_categories(features: torch.Tensor, tags: np.ndarray, n_sub: int = 10, seed: int = 0) -> np.ndarray:
    """Every class's own k-means over the patches tagged with it: (N, C) and tags (N, K) -> (N, K · n_sub) uint8.

    Column k · n_sub + j says that the patch shows class k, of kind j: one of them for every tag. A class with fewer
    patches than n_sub has as many kinds as patches, and its other columns are 0.

    Raises ValueError for tags that do not fit the features, or fewer than one sub-category.
    """
    if features.ndim != 2:
        raise ValueError(f"expected features (N, C), not {(*features.shape,)}.")
    present = check_tags(tags, len(features), tags.shape[-1])
    if n_sub < 1:
        raise ValueError(f"a class has one sub-category or more, not {n_sub}.")
    generator = torch.Generator(features.device).manual_seed(seed)
    result = np.zeros((len(features), present.shape[1], n_sub), np.uint8)
    for k in range(present.shape[1]):
        rows = present[:, k].nonzero().flatten()
        if len(rows):
            found = kmeans(features[rows], min(n_sub, len(rows)), n_init=10, generator=generator).labels
            result[rows.numpy(), k, found.cpu().numpy()] = 1
    return result.reshape(len(features), -1)


def train_jointly(
    model: Classifier,
    patches: np.ndarray,
    tags: np.ndarray,
    children: np.ndarray,
    *,
    weight: float = 5.0,
    stain_strength: float = 0.3,
    **options: Unpack[TrainOptions],
) -> list[float]:
    """One round: train ``model`` in place on tags (N, K) and sub-categories (N, S); the mean loss of every epoch.

    weight: λ. Both losses are the multi-label soft margin's; everything else is as in ``train_classifier`` without
    attention, the options too. Raises ValueError for patches and labels that do not belong together, or a negative λ.
    """
    options = with_defaults(options, epochs=20, batch_size=20, lr=1e-3, progress="classifier")
    parents = check_tags(tags, len(patches), model.n_classes).float()
    check_patches(patches)
    if children.ndim != 2 or children.shape[1] < 1:
        raise ValueError(f"expected sub-categories (N, S), not {children.shape}.")
    kinds = check_tags(children, len(patches), children.shape[1]).float()
    if weight < 0:
        raise ValueError(f"the weight of the sub-categories, λ, is not negative: {weight}.")
    device = pick_device(options.get("device"))
    jitter = StainJitter(stain_strength).to(device)

    def loss(joint: nn.Module, indices: torch.Tensor) -> torch.Tensor:
        (x,) = random_flips(jitter(to_input(patches[indices.numpy()], device)))
        of_parents, of_kinds = joint(x)
        return F.multilabel_soft_margin_loss(
            of_parents.float(), parents[indices].to(device)
        ) + weight * F.multilabel_soft_margin_loss(of_kinds.float(), kinds[indices].to(device))

    return fit(
        _Joint(model, kinds.shape[1]),
        loss,
        len(patches),
        data=[patches, parents, kinds],
        schedule=Schedule("poly"),
        settings={"weight": weight, "stain_strength": stain_strength},
        **options,
    )


def train_sub_categories(
    model: Classifier,
    extractor: Classifier,
    patches: np.ndarray,
    tags: np.ndarray,
    *,
    n_sub: int = 10,
    rounds: int = 3,
    weight: float = 5.0,
    stain_strength: float = 0.3,
    **options: Unpack[TrainOptions],
) -> list[list[float]]:
    """All rounds; ``model`` ends as the last one's classifier. Returns the mean loss of every epoch, round by round.

    model: the weights every round starts from, ImageNet's in the paper. extractor: a classifier of the same classes
    whose features are clustered first, round 0; it may be ``model`` itself. The rest is as in ``train_jointly``, but
    for a checkpoint, which is of a single run.
    """
    options = with_defaults(options, epochs=20, batch_size=20, lr=1e-3, seed=0, progress="classifier")
    if options.get("checkpoint"):
        raise ValueError("each round is a run of its own; train without a checkpoint.")
    if rounds < 1:
        raise ValueError(f"sub-categories are explored in one round or more, not {rounds}.")
    start = copy.deepcopy(model.state_dict())
    history, seed, progress = [], options["seed"], options["progress"]
    for number in range(rounds):
        kinds = find_sub_categories(pooled_features(extractor, patches), tags, n_sub, seed)
        model.load_state_dict(start)
        torch.manual_seed(seed + number)  # of the new head
        options["progress"] = progress and f"{progress}, round {number + 1}"
        own = {"weight": weight, "stain_strength": stain_strength}
        history.append(train_jointly(model, patches, tags, kinds, **own, **options))
        extractor = model
    return history
