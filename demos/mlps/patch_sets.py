"""The patches to tag: those of phantom slides, whose truth is known, or those of a visitor's own image."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from demos.mlps.log import Header
from demos.shared import phantoms
from demos.shared.uploads import Upload, UploadError
from histolab_lite.data.patches import grid_patches
from histolab_lite.data.slides import tissue_mask
from histolab_lite.methods.mlps import tags_of_masks
from histolab_lite.methods.mlps.pretrained import LEAST, MPP, TISSUES, to_classes

SIZE = 224  # pixels per side for the networks, at 1 µm per pixel; the page shows the same patch with twice as many
SIZES = (112, 224)
MOST_PATCHES = 100  # per upload, as in Table V of the paper


@dataclass(frozen=True, eq=False)
class PatchSet:
    """jpegs: the patches as the page shows them, ``header.size`` pixels per side. corners: their (row, column) in the
    image. mpp: µm per pixel of the JPEGs. note: for the visitor. Where the truth is known, pixels: uint8 (N, P, P, 3),
    for the networks, and truth: class ids, uint8 (N, P, P)."""

    header: Header
    jpegs: tuple[bytes, ...]
    corners: tuple[tuple[int, int], ...]
    mpp: float | None = None
    note: str = ""
    pixels: np.ndarray | None = None
    truth: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.jpegs)


def sample_set() -> PatchSet:
    """Patches of 224 µm from phantom slides, four per slide, in an order in which no slide follows itself."""
    tiles = phantoms.bundled()
    fine = [grid_patches(image, 2 * SIZE) for image in tiles.read_images()]
    images, masks = tiles.read(MPP)
    pixels = np.stack([grid_patches(image, SIZE)[0] for image in images], axis=1)  # (place, slide, P, P, 3)
    truth = np.stack([grid_patches(to_classes(mask), SIZE)[0] for mask in masks], axis=1)
    pixels, truth = (array.reshape(-1, *array.shape[2:]) for array in (pixels, truth))
    shown = np.stack([patches for patches, _ in fine], axis=1).reshape(-1, 2 * SIZE, 2 * SIZE, 3)
    corners = np.stack([places for _, places in fine], axis=1).reshape(-1, 2)
    kept = tags_of_masks(truth, len(TISSUES), LEAST).any(1)
    header = Header(f"phantom-{phantoms.SLIDES}-{phantoms.SEED}", "Phantom patches", TISSUES, int(kept.sum()), 2 * SIZE)
    places = tuple((int(row), int(column)) for row, column in corners[kept])
    jpegs = tuple(map(_jpeg, shown[kept]))
    return PatchSet(header, jpegs, places, tiles.mpp, pixels=pixels[kept], truth=truth[kept])


def cut(upload: Upload, classes: tuple[str, ...], size: int) -> PatchSet:
    """Cut an image into patches and keep those with tissue, at most 100, evenly spread. UploadError if none has."""
    height, width = upload.rgb.shape[:2]
    if min(height, width) < size:
        raise UploadError(f"This image has {width} × {height} pixels; a patch of {size} does not fit into it.")
    patches, corners = grid_patches(upload.rgb, size)
    tissue = np.array([tissue_mask(patch[::4, ::4]).mean() > 0.1 for patch in patches])
    if not tissue.any():
        raise UploadError("No patch of this image shows tissue. Upload an image of stained tissue, in colour.")
    chosen = np.flatnonzero(tissue)
    notes = [upload.note] if upload.note else []
    if len(chosen) > MOST_PATCHES:
        notes.append(f"{len(chosen)} patches show tissue; the page shows {MOST_PATCHES} of them, evenly spread.")
        chosen = chosen[np.linspace(0, len(chosen) - 1, MOST_PATCHES).round().astype(int)]
    named = hashlib.sha256("\n".join(classes).encode()).hexdigest()[:8]
    header = Header(f"{upload.digest[:40]}-{size}-{named}", "Your image", classes, len(chosen), size)
    places = tuple((int(row), int(column)) for row, column in corners[chosen])
    return PatchSet(header, tuple(_jpeg(patches[i]) for i in chosen), places, upload.mpp, " ".join(notes))


def _jpeg(patch: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(patch).save(file, format="JPEG", quality=90)
    return file.getvalue()
