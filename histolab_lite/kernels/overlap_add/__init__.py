"""Overlap-add: class probabilities of overlapping tiles on one canvas, their mean where several tiles cover a pixel.

This is how a network that sees small tiles segments a whole slide: the overlap-tile strategy of Ronneberger, Fischer
and Brox, "U-Net", MICCAI 2015, with overlapping predictions averaged.

The canvas of a whole slide does not fit in memory as floats (4 classes on 40,000² pixels are 24 GiB). So there are two
forms: ``overlap_add`` returns the whole canvas; ``overlap_add_bands`` yields it in bands of finished rows and holds no
more than one row of tiles.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from types import ModuleType

import torch

from histolab_lite.kernels import choose_backend

BACKENDS = ("reference", "cpu", "triton")
UNCOVERED = 255  # the class id "ignore"


def overlap_add(
    tiles: torch.Tensor, coords: torch.Tensor, canvas: tuple[int, int], backend: str | None = None
) -> torch.Tensor:
    """Return the mean of the tiles over every pixel of the canvas.

    Parameters
    ----------
    tiles
        (N, C, h, w) float, class probabilities.
    coords
        (N, 2) int, each tile's upper left corner as (x, y) pixels of the canvas, x to the right, y down; in any order.
    canvas
        (H, W), its height and width in pixels.
    backend
        "reference", "cpu", "triton", or None for the fastest.

    Returns
    -------
    mean : (C, H, W) float32
        0 for all classes where no tile lies.

    Raises
    ------
    ValueError
        For wrong shapes, NaN, or a tile that reaches outside the canvas.
    """
    corners = _check(tiles, coords, canvas)
    implementation = choose_backend(__name__, BACKENDS, backend, tiles.device)
    total, count = _empty(tiles, *canvas)
    if corners:
        implementation.overlap_add(total, count, tiles.detach(), corners)
    return total.div_(count.clamp_(min=1))


def overlap_add_bands(
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    canvas: tuple[int, int],
    output: str = "ids",
    backend: str | None = None,
) -> Iterator[tuple[int, torch.Tensor]]:
    """Do the same in a stream: yield the canvas from the top, in bands of some rows.

    It holds C × h × W floats, h × W counters and one band in memory.

    Parameters
    ----------
    batches
        Any number of (tiles (N, C, h, w), coords (N, 2)), as for `overlap_add`. All tiles have one size, and y never
        falls from one tile to the next; x is free. A band is yielded as soon as a lower tile comes.
    canvas
        (H, W), its height and width in pixels.
    output
        "ids" for the most probable class, "mean" for the probabilities.
    backend
        "reference", "cpu", "triton", or None for the fastest.

    Yields
    ------
    row : int
        The first row of the band; every row of the canvas comes once.
    band : (rows, W) uint8, or (C, rows, W) float32
        With "ids" the most probable class, of equal ones the first, and 255 where no tile lies. With "mean" the
        probabilities, 0 where no tile lies. On the device of the tiles.

    Raises
    ------
    ValueError
        As `overlap_add`, and for tiles that come too late, change their size or number of classes, or, with "mean", if
        there are none.

    Examples
    --------
    ::

        mask = np.lib.format.open_memmap("mask.npy", "w+", np.uint8, canvas)
        for row, band in overlap_add_bands(batches, canvas):
            mask[row : row + len(band)] = band.cpu()
    """
    if output not in ("ids", "mean"):
        raise ValueError(f"output must be 'ids' or 'mean', not {output!r}.")
    finish = _ids if output == "ids" else _mean
    total = count = torch.empty(0)
    implementation: ModuleType | None = None
    row = 0  # the first one not yet yielded; row r is row r modulo the height of total there

    def bands(until: int) -> Iterator[tuple[int, torch.Tensor]]:
        nonlocal row
        while row < until:
            start = row % total.shape[1]
            rows = slice(start, min(start + until - row, total.shape[1]))
            yield row, finish(total[:, rows], count[rows])
            total[:, rows], count[rows] = 0, 0
            row += rows.stop - rows.start

    for tiles, coords in batches:
        corners = _check(tiles, coords, canvas)
        if implementation is None:
            if output == "ids" and tiles.shape[1] > UNCOVERED:
                raise ValueError(f"at most {UNCOVERED} classes fit in uint8 ids; got {tiles.shape[1]}. Ask for 'mean'.")
            implementation = choose_backend(__name__, BACKENDS, backend, tiles.device)
            total, count = _empty(tiles, tiles.shape[2], canvas[1])
            size = tiles.shape[1:]
        if tiles.shape[1:] != size:
            raise ValueError(
                f"all tiles must have the classes and the size of the first {(*size,)}; got {(*tiles.shape[1:],)}."
            )
        done = 0
        for y, group in groupby(corners, key=lambda corner: corner[1]):
            if y < row:
                raise ValueError(
                    f"a tile at y = {y} came after one at y = {row}: the rows above are finished. Sort the tiles by y."
                )
            yield from bands(y)
            members = list(group)
            implementation.overlap_add(total, count, tiles[done : done + len(members)].detach(), members)
            done += len(members)
    if implementation is None:
        if output == "mean":
            raise ValueError(
                "no tiles came, so the number of classes is unknown; ask for 'ids' where a slide may be empty."
            )
        total, count = torch.zeros(1, 256, canvas[1]), torch.zeros(256, canvas[1], dtype=torch.int32)
    yield from bands(canvas[0])


def _check(tiles: torch.Tensor, coords: torch.Tensor, canvas: tuple[int, int]) -> list[tuple[int, int]]:
    """Check tiles and coords; return the corners (x, y) as numbers."""
    if len(canvas) != 2 or min(canvas) < 0:
        raise ValueError(f"canvas must be (height, width) in pixels; got {canvas}.")
    if tiles.ndim != 4 or not tiles.is_floating_point() or 0 in tiles.shape[1:]:
        raise ValueError(f"tiles must be floats (N, classes, height, width); got {(*tiles.shape,)} {tiles.dtype}.")
    if coords.shape != (len(tiles), 2) or coords.is_floating_point():
        raise ValueError(
            f"coords must be integers ({len(tiles)}, 2), (x, y) per tile; got {(*coords.shape,)} {coords.dtype}."
        )
    corners = [(x, y) for x, y in coords.tolist()]
    height, width = tiles.shape[2:]
    for x, y in corners:
        if x < 0 or y < 0 or x + width > canvas[1] or y + height > canvas[0]:
            raise ValueError(
                f"the {height} × {width} tile at (x, y) = ({x}, {y}) reaches outside the canvas of {canvas[0]} × "
                f"{canvas[1]} (height × width). Pad the canvas, or crop the tile."
            )
    # One pass instead of the three that isfinite takes; probabilities cannot overflow a sum.
    if len(tiles) and not torch.isfinite(tiles.sum(dtype=torch.float32)):
        bad = int((~torch.isfinite(tiles)).flatten(1).any(1).nonzero()[0])
        raise ValueError(f"the tile at (x, y) = {corners[bad]} holds NaN or infinite values; check the network.")
    return corners


def _empty(tiles: torch.Tensor, rows: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return sums (C, rows, W) float32 and counters of the added tiles (rows, W) int32, all 0."""
    total = torch.zeros(tiles.shape[1], rows, width, device=tiles.device)
    return total, torch.zeros(rows, width, dtype=torch.int32, device=tiles.device)


def _mean(total: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    return total / count.clamp(min=1)


def _ids(total: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Return the most probable class; the sums tell it as well as the means. argmax would make an int64 tensor."""
    best, ids = total[0].clone(), torch.zeros_like(count, dtype=torch.uint8)
    for index, sums in enumerate(total[1:], 1):
        ids.masked_fill_(sums > best, index)
        torch.maximum(best, sums, out=best)
    return ids.masked_fill_(count == 0, UNCOVERED)
