"""Triton: every program owns a block of pixels and gathers the tiles over it, so that no two add to one pixel.

There are no atomics: the order of the sums, and so the result, is the same every time.
"""

import torch
import triton
import triton.language as tl

BLOCK_H, BLOCK_W = 16, 64


@triton.jit
def gather_kernel(
    total,  # (C, R, W) float32, updated
    count,  # (R, W) int32, updated
    tiles,  # (N, C, h, w) float
    xs,  # (N,) int32, sorted by y
    ys,  # (N,) int32, sorted
    order,  # (N,) int32, which tile comes there
    first,  # (block rows,) int32, the first tile that may reach a block row
    last,  # (block rows,) int32, one past the last
    row0,
    rows,
    R,
    W,
    h,
    w,
    BLOCK_H: tl.constexpr,
    BLOCK_W: tl.constexpr,
):
    """Add to every pixel of a block the tiles that lie over it."""
    c = tl.program_id(2)
    classes = tl.num_programs(2)
    left = tl.program_id(1) * BLOCK_W
    i = tl.program_id(0) * BLOCK_H + tl.arange(0, BLOCK_H)[:, None]
    j = left + tl.arange(0, BLOCK_W)[None, :]
    sums = tl.zeros((BLOCK_H, BLOCK_W), tl.float32)
    hits = tl.zeros((BLOCK_H, BLOCK_W), tl.int32)
    for k in range(tl.load(first + tl.program_id(0)), tl.load(last + tl.program_id(0))):
        x, y = tl.load(xs + k), tl.load(ys + k)
        if (x < left + BLOCK_W) & (x + w > left):
            tile = (tl.load(order + k).to(tl.int64) * classes + c) * h * w
            down, right = i + row0 - y, j - x
            inside = (down >= 0) & (down < h) & (right >= 0) & (right < w)
            sums += tl.load(tiles + tile + down * w + right, mask=inside, other=0.0).to(tl.float32)
            hits += inside.to(tl.int32)
    mask = (i < rows) & (j < W) & (hits > 0)
    at = ((i + row0) % R).to(tl.int64) * W + j
    here = total + c.to(tl.int64) * R * W + at
    tl.store(here, tl.load(here, mask=mask, other=0.0) + sums, mask=mask)
    if c == 0:
        tl.store(count + at, tl.load(count + at, mask=mask, other=0) + hits, mask=mask)


def overlap_add(total: torch.Tensor, count: torch.Tensor, tiles: torch.Tensor, corners: list[tuple[int, int]]) -> None:
    """As in reference.py."""
    _, classes, h, w = tiles.shape
    order = sorted(range(len(corners)), key=lambda n: corners[n][1])
    xs, ys = torch.tensor([corners[n] for n in order], dtype=torch.int32).T.contiguous()
    row0, rows = int(ys[0]), int(ys[-1]) + h - int(ys[0])
    starts = torch.arange(row0, row0 + rows, BLOCK_H, dtype=torch.int32)
    first = torch.searchsorted(ys, starts - h, right=True, out_int32=True)
    last = torch.searchsorted(ys, starts + BLOCK_H, out_int32=True)
    index = [v.to(tiles.device) for v in (xs, ys, torch.tensor(order, dtype=torch.int32), first, last)]
    grid = (len(starts), triton.cdiv(total.shape[2], BLOCK_W), classes)
    with torch.cuda.device(tiles.device) if tiles.is_cuda else torch.no_grad():
        gather_kernel[grid](
            total, count, tiles.contiguous(), *index, row0, rows, total.shape[1], total.shape[2], h, w,
            BLOCK_H=BLOCK_H, BLOCK_W=BLOCK_W,
        )  # fmt: skip
