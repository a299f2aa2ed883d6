"""Reading HDF5 files of patch features, as this package, TRIDENT and CLAM write them.

The layout is::

    features  (N, D) float    TRIDENT's attributes: name, savetodir; ours: encoder, encoder_revision, and of the slide's
                              file slide_bytes, slide_modified (ns since 1970), slide_sha256
    coords    (N, 2) int64    level-0 (x, y) of each patch's top left corner; TRIDENT's attributes: patch_size and
                              overlap (pixels at the scale of the patches), patch_size_level0, level0_magnification,
                              target_magnification, name, savetodir, level0_width, level0_height; ours: mpp,
                              level0_mpp, min_tissue

A magnification is 10 divided by the micrometres per pixel, as in TRIDENT. Here it is exact rather than nominal, so that
`patch_size * level0_magnification / target_magnification`, rounded, is `patch_size_level0`. CLAM's feature files hold
the same two arrays without attributes; its patch files state `patch_size` and `downsample` on `coords`.

A digest shows whether a file written here is damaged (see `hdf5`). Checksums of both arrays show it to every other
reader of HDF5.

References
----------
- TRIDENT: A. Zhang et al., "Accelerating Data Processing and Benchmarking of AI Models for Pathology", 2025;
  https://github.com/mahmoodlab/TRIDENT
- CLAM: M. Y. Lu et al., Nat Biomed Eng 5:555-570 (2021); https://github.com/mahmoodlab/CLAM
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from histolab_lite.data.slide_files import SlideFile
from histolab_lite.formats.hdf5 import open_hdf5

NUMBERS = (
    *("patch_size", "patch_size_level0", "level0_magnification", "target_magnification", "overlap"),
    *("level0_width", "level0_height", "mpp", "level0_mpp", "min_tissue", "downsample"),
)
SLIDE_FILE = ("slide_bytes", "slide_modified", "slide_sha256")


def read_attributes(path: str | Path) -> dict[str, Any]:
    """Read the attributes of `features` and `coords`, and the number of patches, but not the arrays.

    Also compares the file with its digest. Raises as `SlideEmbeddings.load` for a file without patch features.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        features, _ = (dataset(file, key, path.name) for key in ("features", "coords"))
        return attributes(file) | {"n_patches": features.shape[-2]}


def slide_file(stated: Mapping[str, Any]) -> SlideFile | None:
    """Return the slide's file as stated by the attributes that `read_attributes` returns, or None."""
    size, modified, digest = (stated.get(key) for key in SLIDE_FILE)
    if isinstance(size, int) and isinstance(modified, int) and isinstance(digest, str):
        return SlideFile(size, modified, digest)
    return None


def dataset(file: h5py.File, key: str, name: str) -> h5py.Dataset:
    """Return the dataset of that name, which must lie in this file and have been written."""
    # A link or external storage could bring the content of another file of this computer into the result.
    found = file[key] if isinstance(file.get(key, getlink=True), h5py.HardLink) else None
    if not isinstance(found, h5py.Dataset) or found.external or found.is_virtual:
        raise ValueError(
            f"{name} holds no dataset {key!r}; it has {sorted(file)[:8]}. Files of patch embeddings, such as TRIDENT's "
            "and CLAM's, have 'features' (N, D) and 'coords' (N, 2)."
        )
    if found.ndim == 1 and key == "features":
        raise ValueError(f"{name} holds one vector for the whole slide. Give the file that holds one per patch.")
    if found.ndim not in (2, 3) or (found.ndim == 3 and found.shape[0] != 1):
        raise ValueError(f"{name}: {key!r} has the shape {found.shape}, but one row per patch is expected.")
    if found.size and not found.id.get_storage_size():
        raise ValueError(f"{name}: {key!r} was never written; the program was probably stopped. Embed the slide again.")
    return found


def attributes(file: h5py.File) -> dict[str, Any]:
    """Return the attributes of `features` and `coords` as Python values."""
    stated: dict[str, Any] = {}
    for key in ("features", "coords"):
        for attribute, value in file[key].attrs.items():
            if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.size == 1):
                value = value.item()
            value = value.decode(errors="replace") if isinstance(value, bytes) else value
            stated[attribute] = None if isinstance(value, str) and value == "None" else value
    return stated


def number(value: Any, key: str, name: str) -> float | None:
    """Return an attribute as a number of at least 0, or None where the file does not state it."""
    try:
        # CLAM's downsample is (x, y), two nearly equal numbers
        found = None if value is None else float(np.mean(np.asarray(value, dtype=float)))
    except (TypeError, ValueError):
        found = math.nan
    if found is not None and not 0 <= found < math.inf:
        raise ValueError(f"{name}: the attribute {key} must be a number of at least 0, not {value!r}.")
    return found


def geometry(stated: dict[str, float | None], name: str) -> tuple[int, int, float, float | None]:
    """Return patch_size, patch_size_level0, mpp and slide_mpp from our, TRIDENT's or CLAM's attributes."""
    level0, target, patch, downsample = (
        stated[key] for key in ("level0_magnification", "target_magnification", "patch_size", "downsample")
    )
    if level0 and target:
        downsample = level0 / target
    side = stated["patch_size_level0"] or (patch * downsample if patch and downsample else None)
    mpp = stated["mpp"] or (10 / target if target else None)
    found = {"patch_size": patch, "patch_size_level0": side, "mpp": mpp}
    missing = [key for key, value in found.items() if not value]
    if not (patch and side and mpp):
        raise ValueError(
            f"{name} does not state {' and '.join(missing)}. Give what is missing: "
            f"SlideEmbeddings.load(path, {', '.join(f'{key}=...' for key in missing)})."
        )
    slide_mpp = stated["level0_mpp"] or (10 / level0 if level0 else None)
    return round(patch), round(side), mpp, slide_mpp
