"""k-means on what an encoder makes of tissue: many feature maps at once, and one large set of patches.

The vectors are drawn, not encoded, but shaped like features: 40 kinds of tissue (Gaussians), each varying along 32
directions of falling strength that all share, and a little white noise. A map is smooth in space.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.harness import Case, bare_matmul
from histolab_lite.kernels.kmeans import kmeans

D, KINDS, RANK = 512, 40, 32
MAPS, SIDE, GROUPS = 64, 32, 15
PATCHES, CLUSTERS = 20_000, 30
NITER = 40  # of faiss


def tissue(generator: torch.Generator) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Feature vectors (N, D) of kinds (N,) and of what varies within a kind, (N, RANK)."""
    means = torch.randn(KINDS, D, generator=generator)
    directions = torch.randn(RANK, D, generator=generator) / torch.arange(1, RANK + 1)[:, None] ** 0.5

    def features(kind: torch.Tensor, variation: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(len(kind), D, generator=generator)
        return means[kind] + variation @ directions + 0.3 * noise

    return features


def patches() -> torch.Tensor:
    """(PATCHES, D), some kinds twenty times as frequent as others."""
    generator = torch.Generator().manual_seed(0)
    frequency = torch.linspace(1, 20, KINDS)
    kind = torch.multinomial(frequency, PATCHES, replacement=True, generator=generator)
    return tissue(generator)(kind, torch.randn(PATCHES, RANK, generator=generator))


def maps() -> torch.Tensor:
    """(MAPS, SIDE², D): regions of up to eight kinds, within which features drift."""
    generator = torch.Generator().manual_seed(1)
    features = tissue(generator)

    def smooth(channels: int) -> torch.Tensor:  # (SIDE², channels)
        coarse = torch.randn(1, channels, 6, 6, generator=generator)
        return F.interpolate(coarse, (SIDE, SIDE), mode="bicubic").flatten(2)[0].T

    drawn = []
    for _ in range(MAPS):
        kinds = torch.randperm(KINDS, generator=generator)[:8]
        drawn.append(features(kinds[smooth(8).argmax(1)], smooth(RANK)))
    return torch.stack(drawn)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def check_inertia(at_most: float, inertia: Callable[[Any], float]) -> Callable[[Any, dict[str, Any]], str]:
    def check(ours: Any, peers: dict[str, Any]) -> str:
        mine = ours.inertia.sum().item()
        ratios = {name: mine / inertia(theirs) for name, theirs in peers.items()}
        for name, ratio in ratios.items():
            assert ratio <= at_most, f"inertia {ratio:.4f} × that of {name}, at most {at_most} is asked"
        return "inertia " + ", ".join(f"{ratio:.4f} × {name}" for name, ratio in ratios.items())

    return check


def cases() -> list[Case]:
    batch, single = maps(), patches()
    matrices, matrix = batch.numpy(), single.numpy()

    def scikit_learn(x: np.ndarray, k: int) -> float:
        from sklearn.cluster import KMeans

        return KMeans(k, n_init=1, random_state=0).fit(x).inertia_

    def faiss_kmeans() -> float:
        import faiss

        faiss.omp_set_num_threads(torch.get_num_threads())
        # Its start is random points, and it never stops early: NITER is what it needs for the inertia of the others.
        options = {"niter": NITER, "seed": 0, "max_points_per_centroid": PATCHES}
        solver = faiss.Kmeans(D, CLUSTERS, **options)
        solver.train(matrix)
        return float(solver.obj[-1])

    return [
        Case(
            "batched k-means",
            f"{MAPS} maps of {SIDE} × {SIDE} × {D}, k = {GROUPS}",
            lambda: kmeans(batch, GROUPS, generator=seeded()),
            {"scikit-learn KMeans in a loop": lambda: sum(scikit_learn(x, GROUPS) for x in matrices)},
            at_least={"scikit-learn KMeans in a loop": 10},
            check=check_inertia(1.01, float),
        ),
        Case(
            "k-means",
            f"{PATCHES:,} × {D}, k = {CLUSTERS}",
            lambda: kmeans(single, CLUSTERS, generator=seeded()),
            {"scikit-learn KMeans": lambda: scikit_learn(matrix, CLUSTERS), "faiss-cpu Kmeans": faiss_kmeans},
            at_least={"scikit-learn KMeans": 4, "faiss-cpu Kmeans": 1.2},
            bound=bare_matmul(PATCHES, D, CLUSTERS),
            check=check_inertia(1.005, float),
        ),
    ]
