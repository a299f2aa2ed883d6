"""Label images of whole slides: class ids as a tiled, pyramidal OME-TIFF, written in bounded memory.

The file has one channel of uint8 ids, with 255 for "ignore" as in `formats.masks`. TIFF's palette gives the ids their
colours; the OME-XML gives their names (a MapAnnotation) and the size of a pixel. Coarser levels are SubIFDs, as in
OME-TIFF since 2019. Each keeps every other pixel of the level before (nearest neighbour), so that no level holds an id
that the mask does not hold. Bio-Formats (QuPath, Fiji), tifffile and Pillow read such files.

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
from histolab_lite.formats.masks import Palette, colour_table

TILE = 512  # pixels per side of a tile
NAMESPACE = "histolab-lite/class-names"
_CLASSIC = 1 << 32  # bytes; a file that could grow larger is written as BigTIFF


@dataclass(frozen=True)
class LabelImage:
    """One level of a label image.

    Parameters
    ----------
    ids : (H, W) uint8
        Class ids, 255 for "ignore".
    mpp
        Micrometres per pixel of this level.
    class_names
        Names of class 0, 1, ….
    palette : (K, 3) uint8
        Red, green and blue of class 0, 1, ….
    levels
        (H, W) of every level in the file, the finest first.
    """

    ids: np.ndarray
    mpp: float
    class_names: tuple[str, ...]
    palette: np.ndarray
    levels: tuple[tuple[int, int], ...]


def level_shapes(shape: tuple[int, int], tile: int = TILE) -> tuple[tuple[int, int], ...]:
    """Return (H, W) of the levels of a pyramid: sides are halved, rounded up, until the level fits into one tile."""
    shapes = [shape]
    while max(shapes[-1]) > tile:
        height, width = shapes[-1]
        shapes.append(((height + 1) // 2, (width + 1) // 2))
    return tuple(shapes)


def check_label_file(path: str | Path, class_names: Sequence[str], palette: Palette) -> Path:
    """Check what `write_labels` will be given, before the hours of work that make a mask, and return the path.

    Raises
    ------
    ValueError
        The file has another suffix, or the classes do not have one name and one colour each.
    """
    path, n_classes = Path(path), len(class_names)
    if not path.name.lower().endswith((".ome.tif", ".ome.tiff")):
        raise ValueError(f"{path.name}: viewers know an OME-TIFF by its name; let it end in .ome.tif or .ome.tiff.")
    if not 1 <= n_classes <= IGNORE or len(palette) != n_classes:
        raise ValueError(
            f"1 to {IGNORE} classes need one name and one colour each; got {n_classes} names and a palette of "
            f"{len(palette)} colours."
        )
    colour_table(palette)
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
    """Write class ids that come in bands of rows, atomically, and return the path.

    It needs memory for a few bands and rows of tiles, and while it writes H × W / 3 bytes of disk beside the file.

    Parameters
    ----------
    path
        Ends in .ome.tif or .ome.tiff.
    bands
        uint8 (rows, W), from the top; their heights add up to H.
    shape
        (H, W).
    mpp
        Micrometres per pixel.
    class_names, palette
        Name and colour of class 0, 1, …; 255 is grey.
    tile
        Pixels per side of a tile, a multiple of 16.

    Raises
    ------
    ValueError
        An id has no name, the bands do not add up to the shape, or as `check_label_file`.
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
        "colormap": np.ascontiguousarray(colour_table(palette).T * np.uint16(257)),  # (3, 256) of 16 bits
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
                # On the disk of the output, because the system's folder for temporary files is often in memory.
                half = stack.enter_context(tempfile.TemporaryFile(dir=path.parent))
                per_cm = 1e4 / (mpp * 2**level)
                own = reduced if level else full
                tiff.write(_tiles(blocks, tile, half), shape=size, resolution=(per_cm, per_cm), **options, **own)
                blocks = _read_blocks(half, (size[1] + 1) // 2, tile)

    return write_atomically(path, write)


def regroup(bands: Iterable[np.ndarray], rows: int) -> Iterator[np.ndarray]:
    """Regroup bands (any height, W) into blocks (rows, W); the last block holds what is left."""
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
    """Read one level of a file that `write_labels` wrote; level 0 is the finest, -1 the coarsest.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is another kind of file, is damaged, or does not have that level.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no label image at {path}.")
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
    except (tifffile.TiffFileError, ET.ParseError, OSError, RuntimeError) as error:  # imagecodecs: RuntimeError
        raise ValueError(f"{path.name} is not a readable OME-TIFF ({error}).") from error


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
        raise ValueError(f"the bands add up to {rows} rows, but the label image has {shape[0]}.")


def _tiles(blocks: Iterable[np.ndarray], tile: int, half: BinaryIO) -> Iterator[np.ndarray]:
    """Cut blocks of `tile` rows into tiles, padded at the borders; every other pixel goes to the file `half`."""
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
