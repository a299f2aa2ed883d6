"""Patch embeddings of one slide on disk: HDF5 in TRIDENT's layout, which other people's tools read and write::

    features  (N, D) float    attributes: name, savetodir; ours besides: encoder, encoder_revision, and of the slide's
                              file slide_bytes, slide_modified (ns since 1970), slide_sha256
    coords    (N, 2) int64    level-0 (x, y) of each patch's top left corner; attributes: patch_size and overlap (pixels
                              at the patches' scale), patch_size_level0, level0_magnification, target_magnification,
                              name, savetodir, level0_width, level0_height; ours besides: mpp, level0_mpp, min_tissue

A magnification is 10 divided by the micrometres per pixel, as TRIDENT has it, and exact here rather than nominal, so
that `patch_size * level0_magnification / target_magnification` is `patch_size_level0`, but for rounding. CLAM's feature
files hold the same two arrays without attributes; its patch files say `patch_size` and `downsample` on `coords`.

Files written here are told from damaged ones by a digest (see `hdf5`), and by every reader of HDF5 by its own checksums
of both arrays.

References
----------
- TRIDENT: A. Zhang et al., "Accelerating Data Processing and Benchmarking of AI Models for Pathology", 2025;
  https://github.com/mahmoodlab/TRIDENT
- CLAM: M. Y. Lu et al., Nat Biomed Eng 5:555-570 (2021); https://github.com/mahmoodlab/CLAM
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from histolab_lite.data.slide_files import SlideFile
from histolab_lite.formats.hdf5 import open_hdf5, write_hdf5

NUMBERS = (
    *("patch_size", "patch_size_level0", "level0_magnification", "target_magnification", "overlap"),
    *("level0_width", "level0_height", "mpp", "level0_mpp", "min_tissue", "downsample"),
)
SLIDE_FILE = ("slide_bytes", "slide_modified", "slide_sha256")


@dataclass(frozen=True, eq=False)
class SlideEmbeddings:
    """The patches of one slide as vectors, and where they lie.

    name : of the slide, usually its file name without suffix.
    features : float (N, D), finite.
    coords : int64 (N, 2), level-0 (x, y) of each patch's top left corner.
    patch_size : side of a patch in pixels at `mpp`; `patch_size_level0` : the same side in level-0 pixels.
    mpp : micrometres per pixel of the patches; `slide_mpp` : of level 0, None for what the patch sizes say.
    overlap : pixels at `mpp` that neighbouring patches share.
    slide_size : (width, height) at level 0, or None where it is not known.
    encoder, encoder_revision : what made the features; empty where it is not known.
    min_tissue : the least share of tissue a patch was asked to show, or None.
    slide_file : which file the slide was, or None.

    Raises ValueError for shapes that do not fit, features that are not finite and patches outside the slide.
    """

    name: str
    features: np.ndarray
    coords: np.ndarray
    patch_size: int
    patch_size_level0: int
    mpp: float
    overlap: int = 0
    slide_mpp: float | None = None
    slide_size: tuple[int, int] | None = None
    encoder: str = ""
    encoder_revision: str = ""
    min_tissue: float | None = None
    slide_file: SlideFile | None = None

    def __post_init__(self) -> None:
        features, coords = np.asarray(self.features), np.asarray(self.coords)
        _check_shapes(features, coords, self.name)
        if not self.name:
            raise ValueError("embeddings need the name of their slide.")
        if min(self.patch_size, self.patch_size_level0) < 1 or not 0 <= self.overlap < self.patch_size:
            raise ValueError(
                f"{self.name}: patches of {self.patch_size} px ({self.patch_size_level0} px at level 0) that share "
                f"{self.overlap} px with their neighbours are not possible."
            )
        slide_mpp = self.mpp * self.patch_size / self.patch_size_level0 if self.slide_mpp is None else self.slide_mpp
        if not all(math.isfinite(scale) and scale > 0 for scale in (self.mpp, slide_mpp)):
            raise ValueError(f"{self.name}: mpp is in µm per pixel and positive, not {self.mpp} and {slide_mpp}.")
        if np.issubdtype(coords.dtype, np.floating) and not np.equal(coords, np.rint(coords)).all():
            raise ValueError(f"{self.name}: coords are level-0 pixels, whole numbers; these have fractions.")
        coords = coords.astype(np.int64)
        ends = np.iinfo(np.int64).max if self.slide_size is None else np.asarray(self.slide_size, dtype=np.int64)
        outside = ((coords <= -self.patch_size_level0) | (coords >= ends)).any(axis=1).sum()
        if outside:
            where = "" if self.slide_size is None else f" of {self.slide_size[0]} x {self.slide_size[1]} level-0 pixels"
            raise ValueError(
                f"{self.name}: {outside} of {len(coords)} patches lie outside the slide{where}. "
                "Coordinates are level-0 (x, y) corners; were these made for another slide or level?"
            )
        bad = len(features) - int(np.isfinite(features).all(axis=1).sum())
        if bad:
            raise ValueError(f"{self.name}: {bad} of {len(features)} patches have features that are no finite numbers.")
        for field, value in (("features", features), ("coords", coords), ("slide_mpp", slide_mpp)):
            object.__setattr__(self, field, value)

    def __len__(self) -> int:
        return len(self.coords)

    def __repr__(self) -> str:
        count, dimensions = self.features.shape
        return f"SlideEmbeddings({self.name!r}, {count} patches x {dimensions}, {self.encoder or 'unknown encoder'})"

    @property
    def centres(self) -> np.ndarray:
        """Level-0 (x, y) of each patch's centre: float64 (N, 2)."""
        return self.coords + self.patch_size_level0 / 2

    def save(self, path: str | Path) -> Path:
        """Write HDF5 in TRIDENT's layout, atomically; returns the path. Of the folder only its name is kept."""
        folder = Path(path).absolute().parent.name
        return write_hdf5(path, lambda file: self._write(file, folder), sealed=True)

    def _write(self, file: h5py.File, folder: str) -> None:
        assert self.slide_mpp is not None  # __post_init__ has set it
        common = {"name": self.name, "savetodir": folder}
        geometry: dict[str, Any] = {
            "patch_size": self.patch_size,
            "patch_size_level0": self.patch_size_level0,
            "level0_magnification": _magnification(self.slide_mpp),
            "target_magnification": _magnification(self.mpp),
            "overlap": self.overlap,
            "mpp": float(self.mpp),
            "level0_mpp": float(self.slide_mpp),
        }
        if self.slide_size is not None:
            geometry |= dict(zip(("level0_width", "level0_height"), self.slide_size, strict=True))
        if self.min_tissue is not None:
            geometry["min_tissue"] = float(self.min_tissue)
        made_by: dict[str, Any] = {"encoder": self.encoder, "encoder_revision": self.encoder_revision}
        if self.slide_file is not None:
            made_by |= dict(zip(SLIDE_FILE, astuple(self.slide_file), strict=True))
        file.create_dataset("features", data=self.features, fletcher32=True).attrs.update(common | made_by)
        file.create_dataset("coords", data=self.coords, fletcher32=True).attrs.update(common | geometry)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        patch_size: int | None = None,
        patch_size_level0: int | None = None,
        mpp: float | None = None,
    ) -> SlideEmbeddings:
        """Read our own, TRIDENT's or CLAM's HDF5 of patch features; also features of shape (1, N, D).

        patch_size, patch_size_level0, mpp : win over the file, and are needed where it says nothing, as CLAM's.

        Raises FileNotFoundError; DamagedError for a damaged file of ours; or ValueError for anything but patch features
        with their coordinates: no HDF5, a part of a file, other contents, one vector for the whole slide, or no patch
        size and scale from anywhere.
        """
        path = Path(path)
        with open_hdf5(path) as file:
            features, coords = (_dataset(file, key, path.name) for key in ("features", "coords"))
            said = _attributes(file)
            try:
                rows, corners = (part[0] if part.ndim == 3 else part[()] for part in (features, coords))
            except OSError as error:
                raise ValueError(f"{path.name} is damaged. Copy it again from its source, or embed anew.") from error
        given = {"patch_size": patch_size, "patch_size_level0": patch_size_level0, "mpp": mpp}
        numbers = {key: _number(said.get(key), key, path.name) for key in NUMBERS}
        numbers |= {key: value for key, value in given.items() if value is not None}
        width, height = numbers["level0_width"], numbers["level0_height"]
        patch, side, scale, slide_scale = _geometry(numbers, path.name)
        return cls(
            name=str(said.get("name") or path.stem),
            features=rows,
            coords=corners,
            patch_size=patch,
            patch_size_level0=side,
            mpp=scale,
            overlap=round(numbers["overlap"] or 0),
            slide_mpp=slide_scale,
            slide_size=None if width is None or height is None else (round(width), round(height)),
            encoder=str(said.get("encoder") or ""),
            encoder_revision=str(said.get("encoder_revision") or ""),
            min_tissue=numbers["min_tissue"],
            slide_file=slide_file(said),
        )


def stack(slides: Sequence[SlideEmbeddings]) -> tuple[np.ndarray, np.ndarray]:
    """The patches of several slides as one: features (N, D), index of the slide of each row int64 (N,).

    Raises ValueError for slides embedded by different encoders or at different scales: their features mean different
    things. Files that name no encoder, as TRIDENT's, can be told apart by the length of their features only.
    """
    if not slides:
        raise ValueError("there are no embeddings to stack.")
    made = [(s.encoder, s.encoder_revision, s.features.shape[1], s.patch_size, round(s.mpp, 4)) for s in slides]
    for other, how in zip(slides, made, strict=True):
        if how != made[0]:
            raise ValueError(
                f"{slides[0].name} and {other.name} cannot be compared: the one has {_describe(made[0])}, the other "
                f"{_describe(how)}. Embed them alike."
            )
    index = np.repeat(np.arange(len(slides)), [len(slide) for slide in slides])
    return np.concatenate([slide.features for slide in slides]), index


def read_attributes(path: str | Path) -> dict[str, Any]:
    """What a file says of its patches, without reading them: the attributes of `features` and `coords` together.

    The file is compared with its digest all the same. Raises as `SlideEmbeddings.load` for a file that holds no patch
    features.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        features, coords = (_dataset(file, key, path.name) for key in ("features", "coords"))
        rows, columns = features.shape[-2:]
        return _attributes(file) | {"n_patches": rows, "n_features": columns, "n_coords": coords.shape[-2]}


def slide_file(said: Mapping[str, Any]) -> SlideFile | None:
    """Which file a slide was, of what `read_attributes` returns; None where that is not said."""
    size, modified, digest = (said.get(key) for key in SLIDE_FILE)
    if isinstance(size, int) and isinstance(modified, int) and isinstance(digest, str):
        return SlideFile(size, modified, digest)
    return None


def _describe(made: tuple[str, str, int, int, float]) -> str:
    encoder, revision, length, patch, mpp = made
    return f"{encoder or 'an unknown encoder'} {revision} with {length} features of {patch} px at {mpp:g} µm/px"


def _magnification(mpp: float) -> int | float:
    exact = 10 / mpp
    return round(exact) if math.isclose(exact, round(exact), rel_tol=1e-9) else exact


def _check_shapes(features: np.ndarray, coords: np.ndarray, name: str) -> None:
    if features.ndim != 2 or features.shape[1] < 1 or not np.issubdtype(features.dtype, np.floating):
        raise ValueError(f"{name}: features are floats of shape (N, D), not {features.dtype} {features.shape}.")
    if coords.ndim != 2 or coords.shape[1] != 2 or coords.dtype.kind not in "iuf":
        raise ValueError(f"{name}: coords are level-0 (x, y) corners (N, 2), not {coords.dtype} {coords.shape}.")
    if len(features) != len(coords):
        raise ValueError(f"{name}: there are {len(features)} features but {len(coords)} coordinates.")


def _dataset(file: h5py.File, key: str, name: str) -> h5py.Dataset:
    """The dataset of that name, which lies in this very file and was written."""
    # A link or an external storage would read another file of this machine into the result.
    dataset = file[key] if isinstance(file.get(key, getlink=True), h5py.HardLink) else None
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise ValueError(
            f"{name} holds no dataset {key!r}; it has {sorted(file)[:8]}. Files of patch embeddings, such as TRIDENT's "
            "and CLAM's, have 'features' (N, D) and 'coords' (N, 2)."
        )
    if dataset.ndim == 1 and key == "features":
        raise ValueError(f"{name} holds one vector for the whole slide. Give the file that holds one a patch.")
    if dataset.ndim not in (2, 3) or (dataset.ndim == 3 and dataset.shape[0] != 1):
        raise ValueError(f"{name}: {key!r} is {dataset.shape}, where one row a patch is expected.")
    if dataset.size and not dataset.id.get_storage_size():
        raise ValueError(f"{name}: {key!r} was never written; its program was probably stopped. Embed the slide anew.")
    return dataset


def _attributes(file: h5py.File) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for key in ("features", "coords"):
        for attribute, value in file[key].attrs.items():
            if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.size == 1):
                value = value.item()
            value = value.decode(errors="replace") if isinstance(value, bytes) else value
            said[attribute] = None if isinstance(value, str) and value == "None" else value
    return said


def _number(value: Any, key: str, name: str) -> float | None:
    try:
        # CLAM's downsample is (x, y), which are nearly alike
        number = None if value is None else float(np.mean(np.asarray(value, dtype=float)))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: the attribute {key} is a number of at least 0, not {value!r}.") from error
    if number is not None and not 0 <= number < math.inf:
        raise ValueError(f"{name}: the attribute {key} is a number of at least 0, not {value!r}.")
    return number


def _geometry(said: dict[str, float | None], name: str) -> tuple[int, int, float, float | None]:
    """patch_size, patch_size_level0, mpp and slide_mpp from what we, TRIDENT or CLAM wrote."""
    level0, target, patch, downsample = (
        said[key] for key in ("level0_magnification", "target_magnification", "patch_size", "downsample")
    )
    if level0 and target:
        downsample = level0 / target
    side = said["patch_size_level0"] or (patch * downsample if patch and downsample else None)
    mpp = said["mpp"] or (10 / target if target else None)
    found = {"patch_size": patch, "patch_size_level0": side, "mpp": mpp}
    missing = [key for key, value in found.items() if not value]
    if not (patch and side and mpp):
        raise ValueError(
            f"{name} does not say {' and '.join(missing)}, as CLAM's files do not. Give what is missing: "
            f"SlideEmbeddings.load(path, {', '.join(f'{key}=...' for key in missing)})."
        )
    slide_mpp = said["level0_mpp"] or (10 / level0 if level0 else None)
    return round(patch), round(side), mpp, slide_mpp
