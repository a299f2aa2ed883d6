"""Patch embeddings of one slide: checked, joined with other slides, and stored as HDF5 in TRIDENT's layout.

`trident` describes the layout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from histolab_lite.data.slide_files import SlideFile
from histolab_lite.formats.hdf5 import open_hdf5, write_hdf5
from histolab_lite.formats.trident import NUMBERS, SLIDE_FILE, attributes, dataset, geometry, number, slide_file


@dataclass(frozen=True, eq=False)
class SlideEmbeddings:
    """The patches of one slide as vectors, and where they lie.

    Parameters
    ----------
    name
        Name of the slide, usually its file name without suffix.
    features : (N, D) float
        Finite vectors, one per patch.
    coords : (N, 2) int64
        Level-0 (x, y) of each patch's top left corner.
    patch_size
        Side of a patch in pixels at `mpp`.
    patch_size_level0
        The same side in level-0 pixels.
    mpp
        Micrometres per pixel of the patches.
    overlap
        Pixels at `mpp` that neighbouring patches share.
    slide_mpp
        Micrometres per pixel of level 0; None computes it from the patch sizes.
    slide_size
        (width, height) at level 0, or None if unknown.
    encoder, encoder_revision
        What made the features; empty if unknown.
    min_tissue
        The least share of tissue in a patch, or None if unknown.
    slide_file
        The slide's file, or None if unknown.

    Raises
    ------
    ValueError
        Shapes do not fit, a feature is not finite, or a patch lies outside the slide.
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
                f"{self.overlap} px with their neighbours are impossible."
            )
        slide_mpp = self.mpp * self.patch_size / self.patch_size_level0 if self.slide_mpp is None else self.slide_mpp
        if not all(math.isfinite(scale) and scale > 0 for scale in (self.mpp, slide_mpp)):
            raise ValueError(
                f"{self.name}: mpp is in micrometres per pixel and must be positive, not {self.mpp} and {slide_mpp}."
            )
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
            raise ValueError(f"{self.name}: {bad} of {len(features)} patches have NaN or infinite features.")
        for field, value in (("features", features), ("coords", coords), ("slide_mpp", slide_mpp)):
            object.__setattr__(self, field, value)

    def __len__(self) -> int:
        return len(self.coords)

    def __repr__(self) -> str:
        count, dimensions = self.features.shape
        return f"SlideEmbeddings({self.name!r}, {count} patches x {dimensions}, {self.encoder or 'unknown encoder'})"

    @property
    def centres(self) -> np.ndarray:
        """Level-0 (x, y) of the centre of each patch: float64 (N, 2)."""
        return self.coords + self.patch_size_level0 / 2

    def save(self, path: str | Path) -> Path:
        """Write HDF5 in TRIDENT's layout, atomically, and return its path.

        Of the folder's path only the last name is stored.
        """
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
        """Read an HDF5 file of patch features, written by `save`, TRIDENT or CLAM.

        Parameters
        ----------
        path
            The file; its features may have the shape (N, D) or (1, N, D).
        patch_size, patch_size_level0, mpp
            Replace what the file states. They are needed for files that state no scale, such as CLAM's.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        DamagedError
            A file written by `save` is damaged.
        ValueError
            The file is no HDF5 file of patch features with coordinates, or states no patch size and scale.
        """
        path = Path(path)
        with open_hdf5(path) as file:
            features, coords = (dataset(file, key, path.name) for key in ("features", "coords"))
            stated = attributes(file)
            try:
                rows, corners = (part[0] if part.ndim == 3 else part[()] for part in (features, coords))
            except OSError as error:
                raise ValueError(f"{path.name} is damaged. Copy it again from its source, or embed again.") from error
        given = {"patch_size": patch_size, "patch_size_level0": patch_size_level0, "mpp": mpp}
        numbers = {key: number(stated.get(key), key, path.name) for key in NUMBERS}
        numbers |= {key: value for key, value in given.items() if value is not None}
        width, height = numbers["level0_width"], numbers["level0_height"]
        patch, side, scale, slide_scale = geometry(numbers, path.name)
        return cls(
            name=str(stated.get("name") or path.stem),
            features=rows,
            coords=corners,
            patch_size=patch,
            patch_size_level0=side,
            mpp=scale,
            overlap=round(numbers["overlap"] or 0),
            slide_mpp=slide_scale,
            slide_size=None if width is None or height is None else (round(width), round(height)),
            encoder=str(stated.get("encoder") or ""),
            encoder_revision=str(stated.get("encoder_revision") or ""),
            min_tissue=numbers["min_tissue"],
            slide_file=slide_file(stated),
        )


def stack(slides: Sequence[SlideEmbeddings]) -> tuple[np.ndarray, np.ndarray]:
    """Join the patches of several slides.

    Files that name no encoder, such as TRIDENT's, are compared by feature length, patch size and scale alone.

    Returns
    -------
    features : (N, D)
        The rows of all slides.
    index : (N,) int64
        The position of each row's slide in `slides`.

    Raises
    ------
    ValueError
        There is no slide, or two were embedded by different encoders or at different scales, so that their features
        mean different things.
    """
    if not slides:
        raise ValueError("there are no embeddings to stack.")
    made = [(s.encoder, s.encoder_revision, s.features.shape[1], s.patch_size, round(s.mpp, 4)) for s in slides]
    for other, how in zip(slides, made, strict=True):
        if how != made[0]:
            raise ValueError(
                f"{slides[0].name} and {other.name} cannot be compared: the one has {_describe(made[0])}, the other "
                f"{_describe(how)}. Embed both with the same settings."
            )
    index = np.repeat(np.arange(len(slides)), [len(slide) for slide in slides])
    return np.concatenate([slide.features for slide in slides]), index


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
