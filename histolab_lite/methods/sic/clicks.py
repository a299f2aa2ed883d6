"""Choose the patches to click, by a simulated annotator or by a suggestion; the scores of the paper's Fig. 2.

Chelebian et al., "Seeded iterative clustering for histology region identification", 2022, Sect. 3.2: patches are drawn
inside each class's mask; the F1 of the best of five draws stands for the choice of an expert.
Suggestions follow TypiClust: Hacohen, Dekel and Weinshall, "Active learning on a budget", ICML 2022.
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
    """Simulate the paper's annotator: click n patches per class, drawn from those inside the class.

    The same random seed gives the same patches; those of a smaller n are among them.

    Parameters
    ----------
    fractions
        (N, K), the share of each class in every patch.
    n
        Number of seeds per class.
    classes
        Classes to click; by default all that have a patch inside.
    purity
        A patch lies inside a class that covers at least this share of it; above 0.5.
    seed
        Random seed.

    Returns
    -------
    int64 (N,)
        Class of the clicked patches, −1 for all others.

    Raises
    ------
    ValueError
        For arguments of another shape or range, or a class with fewer than n patches inside.
    """
    shares = np.asarray(fractions, dtype=float)
    if shares.ndim != 2 or n < 1 or not 0.5 < purity <= 1:
        raise ValueError(
            f"expected fractions (N, K), at least one seed and purity in (0.5, 1]; got {shares.shape}, {n}, {purity}."
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
    """Suggest the patch to click next: the most typical one of the largest cluster without a seed.

    There is one cluster more than there are seeds, so at least one has none. Of the largest such cluster the patch
    nearest to the centre is taken. Uncertainty is a poor guide while there are few seeds: uncertain patches lie between
    kinds of tissue, where a click tells little.

    Parameters
    ----------
    embeddings
        (N, D), best from `prepare`.
    seeds
        (N,), −1 where nobody clicked; there may be no seed at all.
    start
        Random seed of k-means; the same one gives the same suggestion.

    Returns
    -------
    int
        Index of the patch.

    Raises
    ------
    ValueError
        If every patch has been clicked, or the shapes do not match.
    """
    clicked = torch.as_tensor(seeds, device=embeddings.device) != UNLABELLED
    if embeddings.ndim != 2 or clicked.shape != embeddings.shape[:1]:
        raise ValueError(f"seeds must be one number per patch; got {(*clicked.shape,)} for {(*embeddings.shape,)}.")
    if clicked.all():
        raise ValueError("every patch has been clicked: there is no other to suggest.")
    generator = torch.Generator(embeddings.device).manual_seed(start)
    groups = min(int(clicked.sum()) + 1, len(embeddings))
    labels, centers, _, _ = kmeans(embeddings, groups, generator=generator)
    sizes = torch.bincount(labels, minlength=groups)
    sizes[labels[clicked].unique()] = 0
    if not sizes.any():  # identical patches leave clusters empty
        sizes = torch.bincount(labels[~clicked], minlength=groups)
    region = int(sizes.argmax())
    members = ((labels == region) & ~clicked).nonzero()[:, 0]
    return int(members[torch.linalg.vector_norm(embeddings[members] - centers[region], dim=1).argmin()])


def patch_f1(predicted: torch.Tensor, true: torch.Tensor, positive: int) -> float:
    """Compute F1 of a class over patches (N,): 2 TP / (2 TP + FP + FN), or 1 if it is neither true nor predicted."""
    claimed, real = predicted == positive, true == positive
    total = int(claimed.sum() + real.sum())
    return 2 * int((claimed & real).sum()) / total if total else 1.0


def best_and_mean(scores: np.ndarray | Sequence[Sequence[float]]) -> dict[str, float]:
    """Summarise scores (slides, draws of seeds) by the best draws, as the paper does, and by all draws.

    Returns
    -------
    dict
        "best", "best_sd": mean and sd over slides of the best draw (Fig. 2). "mean": over all scores. "draw_sd": sd
        over the draws of a slide, averaged over slides; the effect of the choice of seeds. An sd has n − 1 degrees of
        freedom.

    Raises
    ------
    ValueError
        For fewer than two slides or two draws.
    """
    table = np.asarray(scores, dtype=float)
    if table.ndim != 2 or min(table.shape) < 2:
        raise ValueError(f"expected scores (slides, draws), at least two of each; got {table.shape}.")
    top = table.max(1)
    return {
        "best": float(top.mean()),
        "best_sd": float(top.std(ddof=1)),
        "mean": float(table.mean()),
        "draw_sd": float(table.std(1, ddof=1).mean()),
    }
