"""Points in clusters, and clicks on some of them: the data of the tests of SIC."""

import torch


def normal(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def blobs(centers: list, sizes: list, spread: float = 0.3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Gaussians around the centres: (N, D), and the cluster of each point (N,)."""
    kind = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    means = torch.tensor(centers, dtype=torch.float32)
    return means[kind] + spread * normal(len(kind), means.shape[1], seed), kind


def clicked(n: int, **at: int | list[int]) -> torch.Tensor:
    """clicked(9, c0=4, c1=[5, 6]): patch 4 is clicked as class 0, patches 5 and 6 as class 1."""
    seeds = torch.full((n,), -1)
    for name, places in at.items():
        seeds[places] = int(name[1:])
    return seeds


def nested() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two classes of which 0 has two kinds, one far and one beside class 1: patches, classes, seeds."""
    x, kind = blobs([[-9, 0], [4, 0], [4, 3]], [30, 20, 20])
    return x, (kind == 2).long(), clicked(70, c0=[0, 1, 30], c1=[50, 51])
