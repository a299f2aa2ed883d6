"""Label images of whole slides: class ids as a tiled, pyramidal OME-TIFF, written and read in bounded memory.

One channel of uint8 ids, 255 for ignore, as in ``formats.masks``: TIFF's palette gives the ids their colours, the
OME-XML their names (a MapAnnotation) and the size of a pixel. Coarser levels are SubIFDs, as OME-TIFF has them since
2019; each keeps every other pixel of the one before (nearest neighbour), so that no level holds an id that the mask
does not. Such files are read by Bio-Formats (QuPath, Fiji), tifffile and Pillow; OpenSlide is not needed.

OME-TIFF: https://docs.openmicroscopy.org/ome-model/latest/ome-tiff/specification.html
"""

from __future__ import annotations

import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile

from histolab_lite.data import IGNORE
from histolab_lite.files import write_atomically
from histolab_lite.formats.masks import GREY, Palette

TILE = 512  # pixels a side of the file's own tiles
NAMESPACE = "histolab-lite/class-names"
_CLASSIC = 1 << 32  # bytes; a file that could grow beyond them is written as BigTIFF


@dataclass(frozen=True)
class LabelImage:
    """One level of a file. ids: uint8 (H, W). mpp: µm per pixel of this level. palette: uint8 (K, 3).

    levels: (H, W) of every level in the file, the finest first.
    """

    ids: np.ndarray
    mpp: float
    class_names: tuple[str, ...]
    palette: np.ndarray
    levels: tuple[tuple[int, int], ...]


def level_shapes(shape: tuple[int, int], tile: int = TILE) -> tuple[tuple[int, int], ...]:
    """(H, W) of the levels of a pyramid: sides are halved, and rounded up, until one tile holds them."""
    shapes = [shape]
    while max(shapes[-1]) > tile:
        height, width = shapes[-1]
        shapes.append(((height + 1) // 2, (width + 1) // 2))
    return tuple(shapes)


def check_label_file(path: str | Path, class_names: Sequence[str], palette: Palette) -> Path:
    """The path, or ValueError for a name, classes or colours that will not do: to be known before hours of work."""
    path, colours, n_classes = Path(path), np.asarray(palette), len(class_names)
    if not path.name.lower().endswith((".ome.tif", ".ome.tiff")):
        raise ValueError(f"{path.name}: viewers know an OME-TIFF by its name; let it end in .ome.tif or .ome.tiff.")
    if not 1 <= n_classes <= IGNORE or colours.shape != (n_classes, 3):
        raise ValueError(
            f"1 to {IGNORE} classes need a name and a colour each; got {n_classes} names and a palette of "
            f"{colours.shape}."
        )
    if colours.min() < 0 or colours.max() > 255:
        raise ValueError("a palette holds red, green and blue from 0 to 255.")
    return path


def write_labels(
    path: str | Path,
    bands: Iterable[np.ndarray],
    shape: tuple[int, int],
    *,
    mpp: float,
    class_names: Sequence[str],
    palette: Palette,
    tile: int = TILE,
) -> Path:
    """Write class ids that come in bands of rows; the file is written whole or not at all.

    path: ends in .ome.tif or .ome.tiff. bands: uint8 (rows, W), from the top, of any heights that make up H.
    shape: (H, W). mpp: µm per pixel. class_names, palette: name and RGB of class 0, 1, …; 255 is grey.
    Memory: a few bands and rows of tiles; beside the file a third of H × W bytes are needed for the time of writing.
    ValueError for ids without a name, bands that do not make up the shape, or impossible arguments.
    """
    path, names = check_label_file(path, class_names, palette), list(class_names)
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"a label image is (height, width), 1 pixel or more; got {shape}.")
    if not (np.isfinite(mpp) and mpp > 0):
        raise ValueError(f"mpp is in micrometres per pixel and must be positive, not {mpp}.")
    if tile < 16 or tile % 16:
        raise ValueError(f"tile is {tile}; TIFF tiles are a multiple of 16 pixels, such as {TILE}.")
    options: dict[str, Any] = {
        "dtype": np.uint8,
        "tile": (tile, tile),
        "photometric": "palette",
        "colormap": _colormap(palette),
        "compression": "adobe_deflate",  # number 8, as in the standard; "deflate" is an older one
        "resolutionunit": "CENTIMETER",
    }
    metadata = {
        "axes": "YX",
        "Name": path.name,
        "PhysicalSizeX": mpp,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": mpp,
        "PhysicalSizeYUnit": "µm",
        "Channel": {"Name": "class ids"},
        "MapAnnotation": {"Namespace": NAMESPACE, **{str(index): name for index, name in enumerate(names)}},
    }
    shapes = level_shapes(shape, tile)
    big = shape[0] * shape[1] * 3 // 2 + (1 << 20) > _CLASSIC

    def write(temporary: Path) -> None:
        blocks = regroup(_checked(bands, shape, len(names)), tile)
        full: dict[str, Any] = {"metadata": metadata, "subifds": len(shapes) - 1, "software": "histolab-lite"}
        reduced: dict[str, Any] = {"metadata": None, "subfiletype": 1}
        with ExitStack() as stack, tifffile.TiffWriter(temporary, ome=True, bigtiff=big) as tiff:
            for level, size in enumerate(shapes):
                # On the disk of the output: the folder for temporary files is often held in memory.
                half = stack.enter_context(tempfile.TemporaryFile(dir=path.parent))
                per_cm = 1e4 / (mpp * 2**level)
                own = reduced if level else full
                tiff.write(_tiles(blocks, tile, half), shape=size, resolution=(per_cm, per_cm), **options, **own)
                blocks = _read_blocks(half, (size[1] + 1) // 2, tile)

    return write_atomically(path, write)


def regroup(bands: Iterable[np.ndarray], rows: int) -> Iterator[np.ndarray]:
    """Bands (any height, W) as blocks (rows, W), the last one lower where they do not come out even."""
    waiting: list[np.ndarray] = []
    n = 0
    for band in bands:
        while n + len(band) >= rows:
            cut = rows - n
            yield np.concatenate([*waiting, band[:cut]])
            waiting, n, band = [], 0, band[cut:]
        if len(band):
            waiting.append(band)
            n += len(band)
    if n:
        yield np.concatenate(waiting)


def read_labels(path: str | Path, level: int = 0) -> LabelImage:
    """One level of a file that ``write_labels`` wrote; -1 for the coarsest.

    FileNotFoundError where there is none; ValueError for any other file, or a level that it does not have.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no label image at {path}.")
    try:
        with tifffile.TiffFile(path) as tiff:
            xml = tiff.ome_metadata
            names, mpp = _names_and_mpp(xml) if xml else ((), 0.0)
            pages = [series.keyframe for series in tiff.series[0].levels] if xml else []
            colormap = pages[0].colormap if pages else None
            if not names or colormap is None or any(page.dtype != np.uint8 for page in pages):
                raise ValueError(f"{path.name} is no label image: it names no classes, or has no palette of 8 bits.")
            if not -len(pages) <= level < len(pages):
                raise ValueError(f"{path.name} has levels 0 to {len(pages) - 1}, not {level}.")
            palette = (colormap[:, : len(names)].T >> 8).astype(np.uint8)
            shapes = tuple((page.imagelength, page.imagewidth) for page in pages)
            return LabelImage(pages[level].asarray(), mpp * 2 ** (level % len(pages)), names, palette, shapes)
    except (tifffile.TiffFileError, ET.ParseError, OSError, RuntimeError) as error:  # of imagecodecs the last
        raise ValueError(f"{path.name} is not a readable OME-TIFF ({error}).") from error


def _colormap(palette: Palette) -> np.ndarray:
    """TIFF's ColorMap, (3, 256) of 16 bits."""
    table = np.full((256, 3), GREY, np.uint16)
    table[: len(palette)] = palette
    return np.ascontiguousarray(table.T * 257)


def _checked(bands: Iterable[np.ndarray], shape: tuple[int, int], n_classes: int) -> Iterator[np.ndarray]:
    rows = 0
    for band in bands:
        if band.ndim != 2 or band.shape[1] != shape[1] or band.dtype != np.uint8:
            raise ValueError(f"a band is uint8 (rows, {shape[1]}); got {band.dtype} {band.shape}.")
        known = band[band != IGNORE]
        if known.size and known.max() >= n_classes:
            raise ValueError(f"class {known.max()} has no name and no colour: there are {n_classes} classes.")
        rows += len(band)
        yield band
    if rows != shape[0]:
        raise ValueError(f"the bands make up {rows} rows, but the label image has {shape[0]}.")


def _tiles(blocks: Iterable[np.ndarray], tile: int, half: BinaryIO) -> Iterator[np.ndarray]:
    """Blocks of ``tile`` rows cut into tiles, padded at the borders; every other pixel goes to the file ``half``."""
    for block in blocks:
        half.write(block[::2, ::2].tobytes())
        for left in range(0, block.shape[1], tile):
            part = block[:, left : left + tile]
            yield np.pad(part, [(0, tile - side) for side in part.shape])


def _read_blocks(file: BinaryIO, width: int, rows: int) -> Iterator[np.ndarray]:
    file.seek(0)
    while content := file.read(rows * width):
        yield np.frombuffer(content, np.uint8).reshape(-1, width)


def _names_and_mpp(xml: str) -> tuple[tuple[str, ...], float]:
    root = ET.fromstring(xml)
    pixels, own = root.find(".//{*}Pixels"), f".//{{*}}MapAnnotation[@Namespace='{NAMESPACE}']//{{*}}M"
    size = pixels.get("PhysicalSizeX") if pixels is not None else None
    names = tuple(entry.text or "" for entry in root.iterfind(own))
    return (names, float(size)) if size else ((), 0.0)
