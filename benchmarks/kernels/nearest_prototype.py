"""Nearest prototype: a slide's worth of feature vectors against a dictionary of 30."""

from typing import Any

import numpy as np
import torch

from benchmarks.harness import Case, bare_matmul
from histolab_lite.kernels.nearest_prototype import nearest_prototype

N, D, K = 1_000_000, 512, 30
TOLERANCE = 1e-4  # of the distance: of near-ties either may win


def cases() -> list[Case]:
    generator = torch.Generator().manual_seed(0)
    prototypes = torch.randn(K, D, generator=generator)
    # Tissue is clustered: every vector lies around one of the prototypes, at about their distance from each other.
    x = torch.randn(N, D, generator=generator)
    x += prototypes[torch.randint(K, (N,), generator=generator)]
    matrix, dictionary = x.numpy(), prototypes.numpy()
    work = f"{N:,} × {D}, K = {K}"

    def scikit_learn(metric: str) -> np.ndarray:
        from sklearn.metrics import pairwise_distances_argmin

        return pairwise_distances_argmin(matrix, dictionary, metric=metric)

    def faiss_flat() -> np.ndarray:
        import faiss

        faiss.omp_set_num_threads(torch.get_num_threads())
        index = faiss.IndexFlatL2(D)
        index.add(dictionary)
        return index.search(matrix, 1)[1][:, 0]

    def check_distances(ours: Any, peers: dict[str, Any]) -> str:
        index, score = ours
        chosen = (x - prototypes[index]).norm(dim=1)
        assert torch.allclose(chosen, score, rtol=1e-4), "a score is not the distance of its prototype"
        for name, theirs in peers.items():
            best = (x - prototypes[torch.as_tensor(theirs).long()]).norm(dim=1)
            worst = (chosen / best).max().item()
            assert worst <= 1 + TOLERANCE, f"a prototype {worst:.5f} times as far as that of {name}"
        return "as near as every peer's"

    euclidean = Case(
        "nearest prototype, Euclidean",
        work,
        lambda: nearest_prototype(x, prototypes, "euclidean"),
        {
            "scikit-learn pairwise_distances_argmin": lambda: scikit_learn("euclidean"),
            "torch.cdist + argmin": lambda: torch.cdist(x, prototypes).argmin(1),
            "faiss-cpu IndexFlatL2": faiss_flat,
        },
        at_least=dict.fromkeys(
            ["scikit-learn pairwise_distances_argmin", "torch.cdist + argmin", "faiss-cpu IndexFlatL2"], 1.2
        ),
        bound=bare_matmul(N, D, K),
        bound_at_most=1.25,
        check=check_distances,
        rounds=5,
    )

    def normalised_matmul() -> Any:
        similarity = torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(prototypes).T
        return similarity.max(1)

    def check_similarities(ours: Any, peers: dict[str, Any]) -> str:
        index, score = ours
        theirs = peers["torch normalize + matmul + max"].values
        worst = (theirs - score).abs().max().item()
        assert worst <= 1e-5, f"a similarity {worst:.1e} off"
        return f"similarities within {worst:.0e}"

    cosine = Case(
        "nearest prototype, cosine",
        work,
        lambda: nearest_prototype(x, prototypes, "cosine"),
        {"torch normalize + matmul + max": normalised_matmul},
        at_least={"torch normalize + matmul + max": 1.2},
        bound=bare_matmul(N, D, K),
        bound_at_most=1.25,
        check=check_similarities,
        rounds=5,
    )
    return [euclidean, cosine]
