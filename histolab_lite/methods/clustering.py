"""Other ways to group patches than k-means++: the alternatives of Proto2Seg's Table 3, under one signature.

Pan et al., IPMI 2023, Table 3. Spectral clustering and DBSCAN (Ester et al., KDD 1996) are scikit-learn's; FINCH
(Sarfraz et al., CVPR 2019) is written out below, as its definition is three lines long.
"""

import warnings
from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import DBSCAN, SpectralClustering
from sklearn.neighbors import NearestNeighbors

from histolab_lite.kernels.kmeans import kmeans

NOISE = -1  # a point that DBSCAN gives to no cluster


def finch(x: np.ndarray, n_clusters: int) -> np.ndarray:
    """Cluster by FINCH: link every point with its first neighbour, take connected components, repeat on their means.

    FINCH has no number of clusters; of its nested partitions, this is the one whose number is nearest.

    Parameters
    ----------
    x
        Points (N, D).
    n_clusters
        The wanted number of clusters.

    Returns
    -------
    ndarray
        Labels (N,).
    """
    labels, means, partitions = np.arange(len(x)), x, []
    while len(means) > 1:
        first = NearestNeighbors(n_neighbors=1, metric="cosine").fit(means).kneighbors(return_distance=False)[:, 0]
        links = coo_matrix((np.ones(len(means)), (np.arange(len(means)), first)), shape=(len(means), len(means)))
        count, component = connected_components(links, directed=False)
        labels = component[labels]
        means = _means(x, labels, count)
        partitions.append(labels)
    if not partitions:
        return labels
    return min(partitions, key=lambda partition: abs(partition.max() + 1 - n_clusters))


def dbscan(x: np.ndarray, neighbours: int = 10) -> np.ndarray:
    """Cluster by DBSCAN, its radius read off the data: the median distance to the ``neighbours``-th neighbour.

    Parameters
    ----------
    x
        Points (N, D).
    neighbours
        Points that a dense region has within the radius.

    Returns
    -------
    ndarray
        Labels (N,), NOISE for points in no dense region.
    """
    distances, _ = NearestNeighbors(n_neighbors=neighbours).fit(x).kneighbors()
    return DBSCAN(eps=float(np.median(distances[:, -1])), min_samples=neighbours).fit_predict(x)


def _spectral(x: np.ndarray, k: int, seed: int) -> np.ndarray:
    with warnings.catch_warnings():  # neighbours that form islands are what it looks for
        warnings.filterwarnings("ignore", "Graph is not fully connected")
        return SpectralClustering(k, affinity="nearest_neighbors", random_state=seed).fit_predict(x)


def _kmeans(init: str) -> Callable[[np.ndarray, int, int], np.ndarray]:
    def run(x: np.ndarray, k: int, seed: int) -> np.ndarray:
        return kmeans(torch.from_numpy(x), k, init=init, generator=torch.Generator().manual_seed(seed)).labels.numpy()

    return run


ALGORITHMS: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "k-means": _kmeans("random"),
    "k-means++": _kmeans("k-means++"),
    "spectral": _spectral,
    "DBSCAN": lambda x, k, seed: dbscan(x),
    "FINCH": lambda x, k, seed: finch(x, k),
}


def cluster(
    embeddings: torch.Tensor, k: int, algorithm: str = "k-means++", seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cluster embeddings by one of ``ALGORITHMS``.

    Parameters
    ----------
    embeddings
        (N, D).
    k
        The number of clusters; DBSCAN finds its own, FINCH comes as near as it can.
    algorithm
        A name in ``ALGORITHMS``.
    seed
        Random seed of k-means and spectral clustering.

    Returns
    -------
    labels
        int64 (N,), NOISE for a point in no cluster.
    means
        Cluster means, float32 (K, D).

    Raises
    ------
    ValueError
        The algorithm is unknown.
    """
    if algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm must be one of {list(ALGORITHMS)}, not {algorithm!r}.")
    x = embeddings.float().numpy()
    labels = ALGORITHMS[algorithm](x, k, seed)
    return torch.from_numpy(labels).long(), torch.from_numpy(_means(x, labels, int(labels.max()) + 1))


def _means(x: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Mean of every cluster (K, D); noise belongs to none."""
    kept = labels >= 0
    sums = np.zeros((count, x.shape[1]))
    np.add.at(sums, labels[kept], x[kept])
    return (sums / np.bincount(labels[kept], minlength=count)[:, None].clip(1)).astype(x.dtype)
