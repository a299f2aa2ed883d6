"""A click on a slide: seeds have changed, new labels are wanted. Algorithm 1 of ``methods/sic`` and on scikit-learn.

Embeddings are those of ``benchmarks.kernels.kmeans``; a fifth of the kinds is positive, five patches per class are
seeds. The first case clusters raw embeddings, as the paper does. The second clusters what ``prepare`` makes of them,
once per slide.
"""

from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Case
from benchmarks.kernels.kmeans import KINDS, RANK, D, tissue
from histolab_lite.methods.sic import prepare, segment

SEEDS, SCIKIT_LEARN = 5, "Algorithm 1 on scikit-learn KMeans"


def slide(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings (n, D) and seeds (n,)."""
    generator = torch.Generator().manual_seed(0)
    kind = torch.randint(KINDS, (n,), generator=generator)
    x = tissue(generator)(kind, torch.randn(n, RANK, generator=generator))
    positive = kind < KINDS // 5
    seeds = torch.full((n,), -1)
    for name, members in ((0, ~positive), (1, positive)):
        seeds[members.nonzero()[:SEEDS, 0]] = name
    return x, seeds


def algorithm_1(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    from sklearn.cluster import KMeans
    from sklearn.metrics import f1_score

    def seeded_kmeans(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        means = np.stack([x[y == name].mean(0) for name in (0, 1)])
        return KMeans(2, init=means, n_init=1, max_iter=100, tol=1e-4).fit_predict(x)

    known = y >= 0
    labels = seeded_kmeans(x, y)
    reached = f1_score(y[known], labels[known])
    while True:
        inside = np.flatnonzero(labels == 1)
        if len(set(y[inside][known[inside]])) < 2:
            return labels
        divided = np.zeros_like(labels)
        divided[inside] = seeded_kmeans(x[inside], y[inside])
        new = f1_score(y[known], divided[known])
        if new <= reached:
            return labels
        labels, reached = divided, new


def check(ours: Any, peers: dict[str, Any]) -> str:
    agreement = float((ours.numpy() == peers[SCIKIT_LEARN]).mean()) if SCIKIT_LEARN in peers else float("nan")
    assert not agreement < 0.999, f"labels agree on {agreement:.2%} of the patches"
    return f"labels agree on {agreement:.2%} of the patches; {ours.float().mean():.0%} positive"


def cases() -> list[Case]:
    found = []
    for n, prepared in ((100_000, False), (100_000, True)):
        x, seeds = slide(n)
        x = prepare(x) if prepared else x
        work = f"{n:,} × {D}, prepared: {x.shape[1]} components" if prepared else f"{n:,} × {D}"
        found.append(
            Case(
                "seeded iterative clustering",
                work,
                partial(segment, x, seeds),
                {SCIKIT_LEARN: partial(algorithm_1, x.numpy(), seeds.numpy())},
                at_least={} if prepared else {SCIKIT_LEARN: 5.0},
                check=check,
            )
        )
    return found
