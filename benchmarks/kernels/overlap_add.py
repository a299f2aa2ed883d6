"""Overlap-add of a whole slide's tiles, streamed in bands, beside the canvas of floats that everybody starts with."""

from collections.abc import Iterator

import torch

from benchmarks.harness import Case
from histolab_lite.kernels.overlap_add import overlap_add_bands

CLASSES, TILE = 4, 512


def cases(side: int = 20_000, rounds: int = 3) -> list[Case]:
    generator = torch.Generator().manual_seed(0)
    # A few tiles, again and again: else making thousands of them would take most of the time.
    pool = torch.randn(16, 1, CLASSES, TILE, TILE, generator=generator).softmax(2)
    stops = [*range(0, side - TILE, TILE // 2), side - TILE]  # 50 % overlap, the last one flush with the border

    def tiles() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        number = 0
        for y in stops:
            for x in stops:
                yield pool[number % len(pool)], torch.tensor([[x, y]])
                number += 1

    def streamed() -> torch.Tensor:
        mask = torch.empty(side, side, dtype=torch.uint8)
        for row, band in overlap_add_bands(tiles(), (side, side)):
            mask[row : row + len(band)] = band
        return mask

    def canvas_of_floats() -> torch.Tensor:
        total, count = torch.zeros(CLASSES, side, side), torch.zeros(side, side)
        for tile, corner in tiles():
            x, y = corner[0].tolist()
            total[:, y : y + TILE, x : x + TILE] += tile[0]
            count[y : y + TILE, x : x + TILE] += 1
        total.div_(count)
        # Not argmax(0), which on the CPU takes longer than all the rest: the peer shall be as good as it can be.
        best, ids = total[0].clone(), torch.zeros(side, side, dtype=torch.uint8)
        for index in range(1, CLASSES):
            ids[total[index] > best] = index
            torch.maximum(best, total[index], out=best)
        return ids

    def check(ours: torch.Tensor, peers: dict[str, torch.Tensor]) -> str:
        different = sum(int((ours != mask).sum()) for mask in peers.values()) / ours.numel()
        # Sums of four floats, divided or not, may tie in one and not in the other.
        assert different < 1e-5, f"{different:.1e} of the pixels have another class"
        return f"{different:.1e} of the pixels differ"

    naive = "full float canvas"
    work = f"{side:,}² canvas, {CLASSES} classes, tiles of {TILE}, 50 % overlap, to class ids"
    return [
        Case(
            "overlap-add",
            work,
            streamed,
            {naive: canvas_of_floats},
            at_least={naive: 1.0},
            memory_at_most={naive: 0.25},
            check=check,
            rounds=rounds,
        )
    ]
