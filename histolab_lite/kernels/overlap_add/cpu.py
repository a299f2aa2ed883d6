"""Plain PyTorch on slices: tiles are added in place, without the copies that an index by rows makes."""

import torch


def overlap_add(total: torch.Tensor, count: torch.Tensor, tiles: torch.Tensor, corners: list[tuple[int, int]]) -> None:
    """As in reference.py; a tile that runs past the last row of the sums goes on at the first."""
    _, _, h, w = tiles.shape
    for tile, (x, y) in zip(tiles, corners, strict=True):
        start = y % total.shape[1]
        before = min(h, total.shape[1] - start)
        for part, rows in ((tile[:, :before], slice(start, start + before)), (tile[:, before:], slice(0, h - before))):
            total[:, rows, x : x + w] += part
            count[rows, x : x + w] += 1
