"""The alternatives to k-means++ find what is there to find, each in its own way."""

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from histolab_lite.methods.clustering import ALGORITHMS, NOISE, cluster, finch


def directions(n: int, k: int, d: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Tight bundles of vectors around k directions, apart by distance and by angle."""
    centers = 10 * np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0][:k]
    x, truth = make_blobs(n, centers=centers, cluster_std=0.3, random_state=seed)
    return x.astype(np.float32), truth


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_finds_separate_bundles_by_its_seed(algorithm):
    x, truth = directions(160, 4)
    labels, centers = cluster(torch.from_numpy(x), 4, algorithm)
    assert torch.equal(cluster(torch.from_numpy(x), 4, algorithm)[0], labels)
    assert labels.dtype == torch.int64
    assert labels.shape == (160,)
    kept = labels != NOISE
    assert kept.float().mean() > 0.5
    if algorithm in ("spectral", "k-means++"):
        assert adjusted_rand_score(truth, labels) == 1
    if algorithm == "DBSCAN":  # its own number of clusters, none across two bundles
        assert len({(a, b) for a, b in zip(truth[kept], labels[kept].tolist(), strict=True)}) == len(centers) >= 4
    assert centers.shape == (int(labels.max()) + 1, 8)
    assert centers.dtype == torch.float32
    for found, center in enumerate(centers):
        torch.testing.assert_close(center, torch.from_numpy(x[labels == found].mean(0)), atol=1e-4, rtol=1e-4)


def test_the_seed_reaches_k_means():
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(cluster(x, 6, "k-means", seed=0)[0], cluster(x, 6, "k-means", seed=1)[0])


def at(*degrees: float) -> np.ndarray:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], 1)


def test_finch_by_hand():
    """First neighbours by angle: 0 <-> 2, 5 -> 2; 40 <-> 41; 90 <-> 92, 96 -> 92. Then 40.5's neighbour is 2.3."""
    x = at(0, 2, 5, 40, 41, 90, 92, 96)
    fine = finch(x, 3)
    assert fine.tolist() == [fine[0]] * 3 + [fine[3]] * 2 + [fine[5]] * 3
    assert len(set(fine)) == 3
    assert set(finch(x, 1)) == {0}
    assert set(finch(x[:1], 1)) == {0}


def test_dbscan_leaves_lonely_points_out_and_they_move_no_mean():
    x = np.concatenate([directions(120, 2)[0], np.full((1, 8), 40, np.float32)])
    labels, centers = cluster(torch.from_numpy(x), 2, "DBSCAN")
    assert labels[-1] == NOISE
    assert centers.abs().max() < 12


def test_an_unknown_algorithm_is_refused():
    with pytest.raises(ValueError, match="'birch'"):
        cluster(torch.randn(10, 2), 2, "birch")
