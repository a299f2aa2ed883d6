"""Which patches are clicked, by a simulated annotator or on our advice, and the scores of the paper's Fig. 2.

Chelebian et al., "Seeded iterative clustering for histology region identification", 2022, Sect. 3.2: patches are drawn
from inside each class's mask; the F1 of the best of five draws stands for the choice that an expert would make.
Advice is TypiClust's: Hacohen, Dekel and Weinshall, "Active learning on a budget", ICML 2022.
"""

from collections.abc import Sequence

import numpy as np
import torch

from histolab_lite.kernels.kmeans import kmeans
from histolab_lite.methods.sic.clustering import UNLABELLED


def simulate_seeds(
    fractions: np.ndarray | torch.Tensor,
    n: int,
    classes: Sequence[int] | None = None,
    purity: float = 0.9,
    seed: int = 0,
) -> torch.Tensor:
    """The paper's simulated annotator: ``n`` patches a class, drawn from those that it covers by ``purity`` or more.

    fractions: (N, K), the share of each class in every patch. classes: those to draw, by default all that cover such a
    patch. Returns seeds (N,) int64, −1 where nobody clicked. The same seed gives the same patches, and the first of 5
    are the 3 that n = 3 gives. ValueError for a class with fewer than n such patches.
    """
    shares = np.asarray(fractions, dtype=float)
    if shares.ndim != 2 or n < 1 or not 0.5 < purity <= 1:
        raise ValueError(
            f"expected fractions (N, K), one seed or more and a purity above 0.5; got {shares.shape}, {n} and {purity}."
        )
    inside = shares >= purity
    wanted = np.flatnonzero(inside.any(0)).tolist() if classes is None else [int(name) for name in classes]
    seeds = torch.full((len(shares),), UNLABELLED)
    for name in wanted:
        pool = np.flatnonzero(inside[:, name])
        if len(pool) < n:
            raise ValueError(
                f"{len(pool)} patches lie inside class {name} (by {purity:.0%} or more); {n} seeds cannot be drawn."
            )
        seeds[torch.from_numpy(np.random.default_rng([seed, name]).permutation(pool)[:n])] = name
    return seeds


def suggest(embeddings: torch.Tensor, seeds: torch.Tensor | np.ndarray | Sequence[int], start: int = 0) -> int:
    """The patch to click next: the most typical one of the largest region of the embeddings that nobody has clicked in.

    embeddings: (N, D), best from ``prepare``. seeds: (N,), −1 where nobody clicked; none at all will do. The
    embeddings are grouped into one cluster more than there are seeds, so one at least has none; of the largest the
    patch nearest to the centre is taken. With a handful of clicks what the clustering is unsure of is a poor guide: it
    lies between kinds of tissue, where a click tells little. start: of k-means; the same gives the same advice.
    ValueError where every patch has been clicked, or the shapes differ.
    """
    clicked = torch.as_tensor(seeds, device=embeddings.device) != UNLABELLED
    if embeddings.ndim != 2 or clicked.shape != embeddings.shape[:1]:
        raise ValueError(f"seeds must be one number a patch; got {(*clicked.shape,)} for {(*embeddings.shape,)}.")
    if clicked.all():
        raise ValueError("every patch has been clicked: there is none left to suggest.")
    generator = torch.Generator(embeddings.device).manual_seed(start)
    groups = min(int(clicked.sum()) + 1, len(embeddings))
    labels, centers, _, _ = kmeans(embeddings, groups, generator=generator)
    sizes = torch.bincount(labels, minlength=groups)
    sizes[labels[clicked].unique()] = 0
    if not sizes.any():  # patches that are all alike leave clusters empty
        sizes = torch.bincount(labels[~clicked], minlength=groups)
    region = int(sizes.argmax())
    members = ((labels == region) & ~clicked).nonzero()[:, 0]
    return int(members[torch.linalg.vector_norm(embeddings[members] - centers[region], dim=1).argmin()])


def patch_f1(predicted: torch.Tensor, true: torch.Tensor, positive: int) -> float:
    """F1 of the positive class over patches (N,): 2 TP / (2 TP + FP + FN); 1 where it neither is nor is claimed."""
    claimed, real = predicted == positive, true == positive
    total = int(claimed.sum() + real.sum())
    return 2 * int((claimed & real).sum()) / total if total else 1.0


def best_and_mean(scores: np.ndarray | Sequence[Sequence[float]]) -> dict[str, float]:
    """Scores (slides, draws of seeds) as the paper reports them and as one meets them.

    best, best_sd: mean and sd over slides of the best draw (Fig. 2). mean: over all. draw_sd: the spread that the
    choice of seeds makes, sd over the draws of a slide, mean over slides. Sds have n − 1 degrees of freedom.
    """
    table = np.asarray(scores, dtype=float)
    if table.ndim != 2 or min(table.shape) < 2:
        raise ValueError(f"expected scores (slides, draws), two or more of each; got {table.shape}.")
    top = table.max(1)
    return {
        "best": float(top.mean()),
        "best_sd": float(top.std(ddof=1)),
        "mean": float(table.mean()),
        "draw_sd": float(table.std(1, ddof=1).mean()),
    }
