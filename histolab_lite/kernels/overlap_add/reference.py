"""Plain PyTorch: the specification."""

import torch


def overlap_add(total: torch.Tensor, count: torch.Tensor, tiles: torch.Tensor, corners: list[tuple[int, int]]) -> None:
    """Add tiles (N, C, h, w) to the sums (C, R, W) and counters (R, W); row y of the canvas is row y mod R there."""
    _, _, h, w = tiles.shape
    for tile, (x, y) in zip(tiles, corners, strict=True):
        rows = torch.arange(y, y + h, device=total.device) % total.shape[1]
        total[:, rows, x : x + w] += tile
        count[rows, x : x + w] += 1
