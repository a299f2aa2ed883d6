"""Attention-based multiple-instance learning: tags of a bag of patches become scores of its patches.

ABMIL: Ilse, Tomczak and Welling, ICML 2018, eq. 8-9, with one attention branch per class, for several tags at once.
CLAM: Lu et al., Nature Biomedical Engineering 2021, adds a clustering loss on the most and least attended patches; here
it is a cross-entropy, in place of that paper's smooth SVM. A package such as torchmil would bring einops, pyvers and
tensordict for these two layers.
"""

import math
from typing import Unpack

import torch
import torch.nn.functional as F
from torch import nn

from histolab_lite.training import TrainOptions, fit, pick_device, with_defaults


class AttentionMIL(nn.Module):
    """Gated attention and a linear classifier for each of ``n_classes``, on embeddings of ``dim`` numbers.

    clustering: CLAM; adds a classifier of single instances for each class.
    """

    def __init__(self, dim: int, n_classes: int, hidden: int = 128, *, clustering: bool = False) -> None:
        super().__init__()
        if min(dim, n_classes, hidden) < 1:
            raise ValueError(f"dim, n_classes and hidden must be 1 or more, not {dim}, {n_classes} and {hidden}.")
        self.project = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU())
        self.v = nn.Linear(hidden, hidden, bias=False)
        self.u = nn.Linear(hidden, hidden, bias=False)
        self.w = nn.Linear(hidden, n_classes, bias=False)
        self.classify = nn.Linear(hidden, n_classes)
        self.instances = nn.Linear(hidden, n_classes) if clustering else None

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """One bag (N, D): logits of its tags (K,), attention (N, K) and logits of its instances (N, K).

        ABMIL's instances are scored by the classifier of bags: their mean, weighted by attention, is the bag's logit.
        """
        if x.ndim != 2 or not len(x) or x.shape[1] != self.project[0].in_features:
            dim = self.project[0].in_features
            raise ValueError(f"a bag is (N, {dim}) with at least one instance, not {tuple(x.shape)}.")
        h = self.project(F.normalize(x, dim=1) * math.sqrt(x.shape[1]))  # entries around 1
        attention = self.w(self.v(h).tanh() * self.u(h).sigmoid()).softmax(0)  # eq. 9
        scores = self.classify(h)
        logits = (attention * scores).sum(0)  # the classifier of eq. 8's z, being linear
        return logits, attention, scores if self.instances is None else self.instances(h)


def pseudo_labels(attention: torch.Tensor, tags: torch.Tensor, k: int) -> torch.Tensor:
    """CLAM's targets (N, K), 1, 0 or NaN for none, from attention (N, K) and tags (K,) bool.

    If the class is tagged, the k most attended instances get 1 and the k least attended get 0. If it is not, the k most
    attended get 0. Ties go to the earlier instance; in a small bag, at most half of it, rounded up, are the most.
    """
    if k < 1:
        raise ValueError(f"k must be 1 or more, not {k}.")
    n = len(attention)
    order = attention.argsort(dim=0, descending=True, stable=True)
    targets = torch.full_like(attention, torch.nan)
    most = order[: min(k, (n + 1) // 2)]
    least = order[n - min(k, n // 2) :]
    targets.scatter_(0, most, tags.to(attention).expand(len(most), -1))
    least_targets = torch.where(tags, 0.0, torch.nan).to(attention)
    return targets.scatter_(0, least, least_targets.expand(len(least), -1))


def clustering_loss(scores: torch.Tensor, attention: torch.Tensor, tags: torch.Tensor, k: int) -> torch.Tensor:
    """Cross-entropy of the instances' logits (N, K) with their pseudo-labels."""
    targets = pseudo_labels(attention.detach(), tags, k)
    known = ~targets.isnan()
    return F.binary_cross_entropy_with_logits(scores[known], targets[known])


def train(
    model: AttentionMIL,
    bags: list[torch.Tensor],
    tags: torch.Tensor,
    *,
    k: int = 8,
    weight: float = 0.3,
    **options: Unpack[TrainOptions],
) -> list[float]:
    """Train ``model`` in place on bags, float (N, D) each, and tags (B, K) bool. Returns the mean loss of every epoch.

    k, weight: instances at either end and share of CLAM's clustering loss; without it they mean nothing.
    options: see `TrainOptions`; ``epochs`` has no default, the others are batches of 8 and a learning rate of 1e-3.
    ValueError for bags and tags that do not belong together.
    """
    options = with_defaults(options, batch_size=8, lr=1e-3, progress="MIL")
    n_classes = model.classify.out_features
    if not bags or tags.dtype != torch.bool or tags.shape != (len(bags), n_classes):
        raise ValueError(f"expected bool tags ({len(bags)}, {n_classes}), one row per bag; got {tuple(tags.shape)}.")
    if not 0 <= weight <= 1:
        raise ValueError(f"the clustering loss's weight is from 0 to 1, not {weight}.")
    device = pick_device(options.get("device"))

    def loss(model: nn.Module, indices: torch.Tensor) -> torch.Tensor:
        values = []
        for i in indices.tolist():
            tag = tags[i].to(device)
            logits, attention, scores = model(bags[i].to(device))
            value = F.binary_cross_entropy_with_logits(logits, tag.to(logits))
            if clustering:
                value = (1 - weight) * value + weight * clustering_loss(scores, attention, tag, k)
            values.append(value)
        return torch.stack(values).mean()

    clustering = model.instances is not None
    return fit(
        model,
        loss,
        len(bags),
        data=[bags, tags],
        settings={"k": k, "weight": weight, "clustering": clustering},
        **options,
    )


@torch.inference_mode()
def segment(model: AttentionMIL, features: torch.Tensor, tags: torch.Tensor | None = None) -> torch.Tensor:
    """Class ids (h, w) int64 on the CPU of one bag, laid out as a grid (D, h, w).

    An instance's score is its probability of the class times its attention, in parts of the bag's largest.
    tags: bool (K,); classes without a tag are left out.
    """
    model.eval()
    x = features.flatten(1).T.to(next(model.parameters()).device)
    _, attention, scores = model(x)
    joint = attention / attention.amax(0) * scores.sigmoid()
    if tags is not None:
        if not tags.any():
            raise ValueError("no class is tagged; leave tags out to choose among all of them.")
        joint = joint.masked_fill(~tags.to(joint.device), -1)
    return joint.argmax(1).view(features.shape[1:]).cpu()
