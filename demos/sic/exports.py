"""The files that a visitor can save: outlines for QuPath, patches for scanpy and TissUUmaps, and a label image."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from demos.shared.saving import pack
from demos.sic.results import Iteration
from demos.sic.session import Work
from demos.sic.slides import SeedSlide
from demos.sic.views import PALETTE
from histolab_lite.data import IGNORE
from histolab_lite.formats.anndata import Labels, to_anndata
from histolab_lite.formats.ome_tiff import write_labels
from histolab_lite.formats.qupath import to_geojson
from histolab_lite.methods import sic

FINENESS = 4  # pixels of the label image per side of a grid cell
ROWS = 512  # per band that is written at a time


def qupath(slide: SeedSlide, work: Work, found: Iteration) -> str:
    """GeoJSON of the outlines in level-0 pixels; like all files here, packed for ``saving.SAVE_JS``."""
    grid = _grid(slide, found)
    content = to_geojson(grid, work.classes, PALETTE, origin=slide.origin, downsample=slide.pitch)
    return pack("seeds.geojson", "application/geo+json", json.dumps(content, ensure_ascii=False).encode())


def h5ad(slide: SeedSlide, work: Work, found: Iteration) -> str:
    """AnnData with the embeddings, classes, seeds, confidence and the map of patches."""
    names, palette = work.classes, PALETTE[: len(work.classes)]
    labels = {
        "class": Labels(found.labels.astype(np.int64), names, palette),
        "seed": Labels(work.labels, names, palette),
    }
    data = to_anndata(slide.table, labels, slide.umap, slide.thumbnail)
    data.obs["confidence"] = found.confidence
    data.obsm["X_rgb_umap"] = slide.colours
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seeds.h5ad"
        data.write_h5ad(path, compression="gzip")
        return pack(path.name, "application/x-hdf5", path.read_bytes())


def label_image(slide: SeedSlide, work: Work, found: Iteration) -> str:
    """Class ids of the whole slide as OME-TIFF, four pixels per side of a grid cell; 255 where no patch is."""
    step = slide.pitch / FINENESS  # level-0 pixels
    width, height = (max(1, round(side / step)) for side in slide.size)
    names, palette = work.classes, PALETTE[: len(work.classes)]
    assert slide.table.slide_mpp is not None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seeds.ome.tif"
        write_labels(
            path,
            _bands(slide, _grid(slide, found), (height, width), step),
            (height, width),
            mpp=slide.table.slide_mpp * step,
            class_names=names,
            palette=palette,
        )
        return pack(path.name, "image/tiff", path.read_bytes())


def _grid(slide: SeedSlide, found: Iteration) -> np.ndarray:
    """Class ids, one pixel per grid cell: uint8 (rows, columns)."""
    return sic.paint(found.labels, slide.table.coords, slide.pitch, fill=IGNORE)[0]


def _bands(slide: SeedSlide, grid: np.ndarray, shape: tuple[int, int], step: float) -> Iterator[np.ndarray]:
    """The label image in bands of rows; each pixel takes the class of the grid cell under its centre."""
    x, y = slide.origin
    framed = np.pad(grid, 1, constant_values=IGNORE)
    rows, columns = (
        np.floor(((np.arange(side) + 0.5) * step - start) / slide.pitch).astype(int).clip(-1, cells) + 1
        for side, start, cells in zip(shape, (y, x), grid.shape, strict=True)
    )
    for first in range(0, shape[0], ROWS):
        yield framed[rows[first : first + ROWS]][:, columns]
