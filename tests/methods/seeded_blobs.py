"""Points in clusters, and clicks on some of them: what the tests of SIC draw."""

import torch


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(centers: list, sizes: list, spread: float = 0.3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Gaussians around the centres: (N, D) and which of them each point is of, (N,)."""
    kind = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    means = torch.tensor(centers, dtype=torch.float32)
    return means[kind] + spread * torch.randn(len(kind), means.shape[1], generator=seeded(seed)), kind


def clicked(n: int, **at: int | list[int]) -> torch.Tensor:
    """clicked(9, c0=4, c1=[5, 6]): patch 4 is clicked as class 0, 5 and 6 as class 1."""
    seeds = torch.full((n,), -1)
    for name, places in at.items():
        seeds[places] = int(name[1:])
    return seeds
