"""Overlapped sliding-window inference over a slide, streamed: neither the slide nor its mask is ever whole in memory.

Finished bands of rows are kept in a folder beside the output, so that a stopped run can continue. At the end they
become one pyramidal OME-TIFF of class ids.

    predict = functools.partial(refinement.predict, model)
    segment_slide("slide.svs", predict, 6, "slide.ome.tif", mpp=0.5, geojson="slide.geojson")
"""

from __future__ import annotations

import colorsys
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from histolab_lite.data import IGNORE
from histolab_lite.data.slide_files import identify
from histolab_lite.data.slides import Slide
from histolab_lite.formats.masks import Palette
from histolab_lite.formats.ome_tiff import TILE, check_label_file, read_labels, regroup, write_labels
from histolab_lite.formats.qupath import write_geojson
from histolab_lite.kernels.overlap_add import UNCOVERED, overlap_add_bands
from histolab_lite.methods.whole_slide.bands import BandFolder
from histolab_lite.methods.whole_slide.grid import Corner, Grid, lay_grid, read_ahead

Predict = Callable[[np.ndarray], torch.Tensor | np.ndarray]
Batches = Callable[[list[Corner]], Iterator[tuple[torch.Tensor, list[Corner]]]]

_OUTLINE_PIXELS = 1 << 23  # outlines are taken from the finest level that has no more pixels than this
_TOLERANCE = 1e-2  # of probabilities, which may come in half precision


def segment_slide(
    slide: Slide | str | Path,
    predict: Predict,
    n_classes: int,
    out: str | Path,
    *,
    mpp: float,
    tile: int = 512,
    overlap: float = 0.5,
    batch_size: int | None = None,
    min_tissue: float = 0.01,
    background: int = IGNORE,
    class_names: Sequence[str] | None = None,
    palette: Palette | None = None,
    geojson: str | Path | None = None,
    model: str = "",
    memory: int = 1 << 29,
    progress: str | None = "slide",
) -> Path:
    """Segment a slide and write its class ids, uint8, as ``formats.ome_tiff`` does.

    The same call continues a stopped run, whose bands are kept in the folder ``out`` + ".work".

    Parameters
    ----------
    slide
        An open slide, or the path of one.
    predict
        From one tile, uint8 (tile, tile, 3), to class probabilities (n_classes, tile, tile), a float tensor or array.
        With a ``batch_size``, from uint8 (B, tile, tile, 3) to (B, n_classes, tile, tile), B at most ``batch_size``.
    out
        Ends in .ome.tif or .ome.tiff. A finished file is replaced.
    mpp
        Micrometres per pixel that ``predict`` expects, and of the mask.
    tile, overlap
        Pixels per side of a tile, and the share of it that two neighbours have in common, from 0 to below 1. The last
        tiles end at the borders. Where a tile is larger than the slide, the rest is white and its prediction is
        dropped.
    min_tissue
        Tiles with a smaller share of tissue are not computed; 0 computes all.
    background
        Id of the pixels that no computed tile covers: 255 ("ignore") or one of the classes.
    class_names, palette
        Name and RGB of class 0, 1, …; by default "class 0", … in hues around the colour circle.
    geojson
        Path for outlines of all classes but the background, for QuPath, in level-0 pixels. They are taken from the
        finest level of the pyramid that has at most 8 megapixels.
    model
        A name of the segmenter and its weights, such as their digest. A stopped run does not continue with another
        name; ``predict`` itself cannot be compared.
    memory
        Bytes that the sums of probabilities may take. A slide too wide for it is computed in strips: the mask is the
        same, but tiles at the seams are computed twice. The sums of about three tiles are held at least.

    Returns
    -------
    Path
        The path of ``out``.

    Raises
    ------
    SlideError
        For a slide that cannot be read or has no mpp.
    ValueError
        For wrong arguments, predictions that are no probabilities, and a stopped run that began with other settings.
    """
    names = [f"class {index}" for index in range(n_classes)] if class_names is None else list(class_names)
    colours = _hues(n_classes) if palette is None else palette
    _check_arguments(n_classes, names, tile, overlap, batch_size, min_tissue, background, mpp)
    out = check_label_file(out, names, colours)
    source = nullcontext(slide) if isinstance(slide, Slide) else Slide(slide)
    with source as opened, ThreadPoolExecutor(1) as reader:  # ends before the slide is closed
        grid = lay_grid(opened, mpp, tile, overlap, min_tissue, 4 * (n_classes + 1), memory)
        settings = {
            "slide": opened.path.name,
            "sha256 of the slide": identify(opened.path).sha256,
            "size of the slide": opened.dimensions,
            "mpp of the slide": opened.mpp,
            "n_classes": n_classes,
            "mpp": mpp,
            "tile": tile,
            "overlap": overlap,
            "min_tissue": min_tissue,
            "background": background,
            "model": model,
            "strips": grid.strips,
        }
        work = BandFolder(out.with_name(f"{out.name}.work"), settings)
        todo = [(strip, work.finished(strip)) for strip in range(len(grid.strips))]
        remaining = sum(len(grid.corners(strip, first)) for strip, first in todo)
        total = sum(len(grid.corners(strip, 0)) for strip, _ in todo)
        with tqdm(
            total=total, initial=total - remaining, desc=progress, unit="tile", disable=progress is None, leave=False
        ) as bar:

            def batches(corners: list[Corner]) -> Iterator[tuple[torch.Tensor, list[Corner]]]:
                for group, rgb in read_ahead(reader, opened, corners, tile, mpp, batch_size or 1):
                    with torch.no_grad():
                        predicted = predict(rgb) if batch_size else predict(rgb[0])
                    where = group[0][0] * mpp / opened.mpp, group[0][1] * mpp / opened.mpp
                    wanted = (len(group), n_classes, tile, tile) if batch_size else (n_classes, tile, tile)
                    probabilities = _check_probabilities(predicted, wanted, where)
                    yield probabilities.reshape(-1, *wanted[-3:])[..., : grid.size[0], : grid.size[1]], group
                    bar.update(len(group))

            for strip, first in todo:
                for row, ids in _segment_strip(grid, strip, first, batches):
                    ids[ids == UNCOVERED] = background
                    work.write(strip, row, ids)
        scale = mpp / opened.mpp

    rows = [regroup(work.bands(strip, right - left), TILE) for strip, (left, right) in enumerate(grid.strips)]
    blocks = (np.concatenate(parts, axis=1) for parts in zip(*rows, strict=True))
    whole = write_labels(work.folder / out.name, blocks, grid.shape, mpp=mpp, class_names=names, palette=colours)
    os.replace(whole, out)
    if geojson is not None:
        shapes = read_labels(out, -1).levels
        level = next(index for index, (height, width) in enumerate(shapes) if height * width <= _OUTLINE_PIXELS)
        ids = read_labels(out, level).ids
        write_geojson(geojson, ids, names, colours, downsample=scale * 2**level, background=background)
    work.remove()
    return out


def _segment_strip(grid: Grid, strip: int, first: int, batches: Batches) -> Iterator[tuple[int, np.ndarray]]:
    """(row, ids (rows, width of the strip)) from row ``first`` of the canvas to its last."""
    height, _ = grid.shape
    if first >= height:
        return
    left, right = grid.strips[strip]
    columns = grid.columns(strip)
    top = next(y for y in grid.ys if y + grid.size[0] > first)
    leftmost, rightmost = grid.xs[columns[0]], grid.xs[columns[-1]] + grid.size[1]
    placed = (
        (tiles, torch.tensor([(x - leftmost, y - top) for x, y in group]))
        for tiles, group in batches(grid.corners(strip, first))
    )
    for row, band in overlap_add_bands(placed, (height - top, rightmost - leftmost)):
        begun = max(first - top - row, 0)  # the rows above are finished
        if begun < len(band):
            ids = band[begun:, left - leftmost : right - leftmost]
            yield top + row + begun, ids.cpu().numpy()


def _check_arguments(
    n_classes: int,
    names: list[str],
    tile: int,
    overlap: float,
    batch_size: int | None,
    min_tissue: float,
    background: int,
    mpp: float,
) -> None:
    if not 2 <= n_classes <= IGNORE or len(names) != n_classes:
        raise ValueError(
            f"expected 2 to {IGNORE} classes, each with a name; got {n_classes} classes and {len(names)} names."
        )
    if tile < 1 or (batch_size is not None and batch_size < 1):
        raise ValueError(f"tile and batch_size must be at least 1; got tile {tile} and batch_size {batch_size}.")
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap must be a share of the tile's side, from 0 to below 1, not {overlap}.")
    if not 0 <= min_tissue <= 1:
        raise ValueError(f"min_tissue must be a share between 0 and 1, not {min_tissue}.")
    if background != IGNORE and background not in range(n_classes):
        raise ValueError(f"background must be {IGNORE} or one of the classes 0 to {n_classes - 1}, not {background}.")
    if not (math.isfinite(mpp) and mpp > 0):
        raise ValueError(f"mpp, in micrometres per pixel, must be positive, not {mpp}.")


def _check_probabilities(
    predicted: torch.Tensor | np.ndarray, shape: tuple[int, ...], where: tuple[float, float]
) -> torch.Tensor:
    place = f"the prediction for the tile at level-0 (x, y) = ({where[0]:.0f}, {where[1]:.0f})"
    if not isinstance(predicted, torch.Tensor | np.ndarray):
        raise ValueError(
            f"{place} is a {type(predicted).__name__}; predict must return a float tensor or array {shape}."
        )
    probabilities = torch.as_tensor(np.array(predicted) if isinstance(predicted, np.ndarray) else predicted)
    if tuple(probabilities.shape) != shape or not probabilities.is_floating_point():
        raise ValueError(
            f"{place} is {probabilities.dtype} of shape {tuple(probabilities.shape)}; class probabilities must be "
            f"floats of shape {shape}."
        )
    probabilities = probabilities.float()
    if not torch.isfinite(probabilities).all():
        raise ValueError(f"{place} holds NaN or infinite values; check the network.")
    sums = probabilities.sum(-3)
    if probabilities.min() < -_TOLERANCE or (sums - 1).abs().max() > _TOLERANCE:
        raise ValueError(
            f"{place} holds values from {probabilities.min():.3g} to {probabilities.max():.3g} that sum to "
            f"{sums.min():.3g} to {sums.max():.3g} over the classes. Probabilities must not be negative and must "
            "sum to 1: apply a softmax to logits."
        )
    return probabilities


def _hues(n: int) -> np.ndarray:
    """Colours around the colour circle, uint8 (n, 3)."""
    return (255 * np.array([colorsys.hsv_to_rgb(index / n, 0.7, 0.9) for index in range(n)])).astype(np.uint8)
