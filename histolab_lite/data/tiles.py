"""Tiles: pictures with a class id for every pixel, and the patches cut from them.

A `TileSet` knows where its images and masks lie, what the classes are called, and which patient or slide each
tile comes from. Pictures are read when asked for. Splits go by that group: two tiles of one patient look
alike, and a score across them says how well the patient, not the tissue, was learnt.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pooch
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image, UnidentifiedImageError
from sklearn.model_selection import GroupKFold, GroupShuffleSplit

from histolab_lite.data import phantom
from histolab_lite.data.manifests import Manifest, TileFolder, load_manifest

IGNORE = 255


class TileError(ValueError):
    """A tile, mask or request that cannot be used. The message says what to do."""


@dataclass(frozen=True)
class Tile:
    """One picture, read when asked for.

    group : the patient or slide it comes from.
    mask_values : value in the mask file -> class id; empty where the file holds class ids.
    mask_threshold : for masks kept as JPEG, whose edges hold every grey: class 1 from this value on, else 0.
    n_classes : class ids are 0 to n_classes - 1, and 255 for ignore.
    """

    name: str
    image_path: Path
    mask_path: Path | None
    group: str
    n_classes: int = 0
    mask_values: Mapping[int, int] = field(default_factory=dict)
    mask_threshold: int | None = None

    def read_image(self) -> np.ndarray:
        """uint8 RGB (H, W, 3)."""
        return np.asarray(_open(self.image_path).convert("RGB"))

    def read_mask(self) -> np.ndarray:
        """Class ids, uint8 (H, W), 255 for ignore.

        Raises
        ------
        TileError : no mask, unreadable, not of the image's size, or a value that means no class.
        """
        if self.mask_path is None:
            raise TileError(f"{self.name} has no mask: this data set comes without labels.")
        if not self.mask_path.is_file():
            raise TileError(f"{self.name} has no mask: {self.mask_path} is missing.")
        values = np.asarray(_open(self.mask_path))
        if values.ndim == 3 and (values[..., :1] == values[..., :3]).all():
            values = values[..., 0]  # grey, saved as colour
        if values.ndim != 2:
            raise TileError(f"{self.mask_path} is a colour picture; a mask holds one number a pixel.")
        width, height = _open(self.image_path).size
        if values.shape != (height, width):
            raise TileError(
                f"{self.mask_path} is {values.shape[1]} x {values.shape[0]}, its image {width} x {height}."
            )
        if self.mask_threshold is not None:
            return (values >= self.mask_threshold).astype(np.uint8)
        meaning = self.mask_values or {i: i for i in [*range(self.n_classes), IGNORE]}
        mask = np.empty(values.shape, dtype=np.uint8)
        for value in np.unique(values):
            if int(value) not in meaning:
                raise TileError(
                    f"{self.mask_path} holds the value {int(value)}, which means no class. "
                    f"Known values: {', '.join(map(str, sorted(meaning)))}."
                )
            mask[values == value] = meaning[int(value)]
        return mask


@dataclass(frozen=True)
class TileSet:
    """Tiles of one data set. `palette` is uint8 (K, 3), a colour a class; `mpp` is None if unknown."""

    name: str
    tiles: tuple[Tile, ...]
    class_names: tuple[str, ...]
    palette: np.ndarray
    mpp: float | None

    def __len__(self) -> int:
        return len(self.tiles)

    def __iter__(self) -> Iterator[Tile]:
        return iter(self.tiles)

    def __getitem__(self, index: int) -> Tile:
        return self.tiles[index]

    @property
    def groups(self) -> np.ndarray:
        """The group of every tile, str (N,)."""
        return np.array([tile.group for tile in self.tiles])

    def subset(self, indices: Sequence[int] | np.ndarray) -> TileSet:
        """The tiles at these indices, in this order."""
        tiles = tuple(self.tiles[int(index)] for index in indices)
        return TileSet(self.name, tiles, self.class_names, self.palette, self.mpp)

    def split(self, test_share: float = 1 / 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Indices (train, test), about `test_share` of the groups in test and no group on both sides.

        Raises
        ------
        TileError : fewer than two groups, or a share that is not between 0 and 1.
        """
        groups = self.groups
        if len(np.unique(groups)) < 2 or not 0 < test_share < 1:
            raise TileError(
                f"{self.name} has {len(np.unique(groups))} group(s); a split needs two and a share in (0, 1), "
                f"not {test_share}."
            )
        splitter = GroupShuffleSplit(1, test_size=test_share, random_state=seed)
        train, test = next(splitter.split(groups, groups=groups))
        return train, test

    def read(self, mpp: float | None = None) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """All images, uint8 (H, W, 3), and masks, uint8 (H, W), brought to `mpp`; None leaves their size.

        Raises
        ------
        TileError : the scale of the data set is not known, or a mask is missing or wrong.
        """
        factor = self._factor(mpp)
        return self.read_images(mpp), [
            _rescale(tile.read_mask(), factor, Image.Resampling.NEAREST) for tile in self.tiles
        ]

    def read_images(self, mpp: float | None = None) -> list[np.ndarray]:
        """As `read`, the images alone: for data without masks."""
        factor = self._factor(mpp)
        return [_rescale(tile.read_image(), factor, Image.Resampling.BICUBIC) for tile in self.tiles]

    def _factor(self, mpp: float | None) -> float:
        if mpp is None:
            return 1.0
        if self.mpp is None:
            raise TileError(f"{self.name} does not say its µm per pixel; mpp=None leaves the pixels as they are.")
        return self.mpp / mpp


def load_tiles(
    name: str | Manifest,
    root: str | Path | None = None,
    split: str | None = None,
    *,
    n_slides: int = 8,
    size: int = 1024,
    seed: int = 0,
    mpp: float = 0.5,
) -> TileSet:
    """The tiles of a data set, verified against its manifest.

    Parameters
    ----------
    name : "phantom", or a data set with tiles such as "glas", "ocdc", "oscc"; or a manifest of your own.
    root : the data folder; default `data_root()`.
    split : one of the manifest's splits; None takes all.
    n_slides, size, seed, mpp : phantom only: how many slides, pixels a side, which ones, and their scale. Two
        seeds give two disjoint sets. Generated slides are kept, so the next call reads them.

    Raises
    ------
    FileNotFoundError : the data are not there; the message says where to get them.
    TileError : a data set without tiles, an unknown split, a tile without group.
    """
    if name == "phantom":
        return _phantom_tiles(n_slides, size, seed, mpp)
    manifest = name if isinstance(name, Manifest) else load_manifest(name)
    if not manifest.tiles:
        raise TileError(f"{manifest.name} holds slides, not tiles. Open them with histolab_lite.data.slides.")
    if split is not None and split not in manifest.tiles:
        raise TileError(f"{manifest.name} has no split {split!r}. It has: {', '.join(manifest.tiles)}.")
    folder = manifest.fetch(root)
    tiles = [
        tile
        for key, where in manifest.tiles.items()
        if split in (None, key)
        for tile in _find_tiles(manifest, where, folder)
    ]
    palette = np.array(manifest.palette, dtype=np.uint8).reshape(-1, 3)
    return TileSet(manifest.name, tuple(tiles), manifest.classes, palette, manifest.mpp)


def group_folds(
    groups: Sequence[str] | np.ndarray, n_folds: int, seed: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds of like sizes with no group on both sides: a list of (train, test) index arrays.

    The largest groups go first, each to the smallest fold (scikit-learn's GroupKFold); the seed shuffles
    groups of equal size.

    Raises
    ------
    TileError : n_folds below 2 or above the number of groups.
    """
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    if not 2 <= n_folds <= len(names):
        raise TileError(
            f"n_folds={n_folds} must be at least 2 and at most the number of groups, {len(names)}."
        )
    shuffled = np.random.default_rng(seed).permutation(len(names))[index]
    return list(GroupKFold(n_folds).split(shuffled, groups=shuffled))


def grid_patches(image: np.ndarray, patch: int, stride: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Cut (H, W[, C]) on a grid: patches (N, patch, patch[, C]), int64 (row, col) corners (N, 2).

    Patches lie wholly inside; `stride` None means patch, without overlap.
    """
    stride = patch if stride is None else stride
    if min(patch, stride) < 1 or patch > min(image.shape[:2]):
        raise TileError(f"A patch of {patch} px at stride {stride} does not fit a picture {image.shape[:2]}.")
    windows = sliding_window_view(image, (patch, patch), axis=(0, 1))[::stride, ::stride]  # (R, C[, 3], p, p)
    if image.ndim == 3:
        windows = np.moveaxis(windows, 2, -1)
    rows, cols = windows.shape[:2]
    row, col = np.meshgrid(np.arange(rows) * stride, np.arange(cols) * stride, indexing="ij")
    coords = np.stack([row.ravel(), col.ravel()], axis=1).astype(np.int64)
    return windows.reshape(rows * cols, *windows.shape[2:]), coords


def pure_patches(
    image: np.ndarray, mask: np.ndarray, patch: int, stride: int | None = None, purity: float = 0.95
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The grid patches of which one class covers at least `purity` of the area.

    Returns patches uint8 (N, patch, patch, 3), labels int64 (N,), (row, col) corners int64 (N, 2). Pixels to
    ignore count as area but as no class.
    """
    if image.shape[:2] != mask.shape:
        raise TileError(f"The image is {image.shape[:2]}, its mask {mask.shape}.")
    if not 0.5 < purity <= 1:
        raise TileError(f"purity is a share above 0.5, so that one class leads, not {purity}.")
    windows, coords = grid_patches(mask, patch, stride)
    labels = np.full(len(windows), -1, dtype=np.int64)
    for value in np.setdiff1d(np.unique(mask), [IGNORE]):
        labels[(windows == value).mean(axis=(1, 2)) >= purity] = value
    pure = labels >= 0
    patches, _ = grid_patches(image, patch, stride)
    return patches[pure], labels[pure], coords[pure]


def labelled_patches(
    images: Sequence[np.ndarray], masks: Sequence[np.ndarray], patch: int, n_classes: int, n: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """At most `n` patches drawn at random from the half-overlapping grids of all images, and what they show.

    Returns patches uint8 (n, patch, patch, 3) and the share of each class in them, float64 (n, n_classes); a row sums
    to less than 1 where pixels are to be ignored. Raises TileError for a picture smaller than a patch.
    """
    places = [
        (index, int(row), int(col))
        for index, mask in enumerate(masks)
        for row, col in grid_patches(mask, patch, max(patch // 2, 1))[1]
    ]
    chosen = np.random.default_rng(seed).permutation(len(places))[:n]
    windows = [(i, slice(row, row + patch), slice(col, col + patch)) for i, row, col in (places[j] for j in chosen)]
    patches = np.stack([images[i][rows, cols] for i, rows, cols in windows])
    parts = [masks[i][rows, cols] for i, rows, cols in windows]
    fractions = np.stack([np.bincount(part.ravel(), minlength=256)[:n_classes] / part.size for part in parts])
    return patches, fractions


def _rescale(array: np.ndarray, factor: float, resample: Image.Resampling) -> np.ndarray:
    if factor == 1:
        return array
    height, width = (max(1, round(side * factor)) for side in array.shape[:2])
    return np.asarray(Image.fromarray(array).resize((width, height), resample))


def _open(path: Path) -> Image.Image:
    try:
        picture = Image.open(path)
        picture.load()
    except (UnidentifiedImageError, OSError) as error:
        raise TileError(f"{path} is not a readable picture: {error}.") from error
    return picture


def _find_tiles(manifest: Manifest, where: TileFolder, root: Path) -> Iterator[Tile]:
    table: dict[str, str] = {}
    if where.group_csv:
        with open(root / where.group_csv, newline="", encoding="utf-8") as file:
            table = {row["name"]: row[where.group_column] for row in csv.DictReader(file)}
    for path in sorted(root.glob(where.images), key=_natural):
        stem = path.stem
        match = re.match(where.group, stem) if where.group else None
        if (where.group and not match) or (where.group_csv and stem not in table):
            raise TileError(f"{path}: {manifest.name}.yaml gives no group (patient or slide) for this tile.")
        group = table[stem] if where.group_csv else match[1] if match else stem
        mask = root / where.masks.format(stem=stem) if where.masks else None
        values, threshold = manifest.mask_values, manifest.mask_threshold
        yield Tile(stem, path, mask, group, len(manifest.classes), values, threshold)


def _natural(path: Path) -> list[tuple[int, str]]:
    """train_2 before train_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _phantom_tiles(n_slides: int, size: int, seed: int, mpp: float) -> TileSet:
    if not 1 <= n_slides <= 1000:
        raise TileError(f"n_slides is between 1 and 1000, not {n_slides}.")
    folder = _phantom_folder() / f"{size}px-{mpp:g}mpp"
    folder.mkdir(parents=True, exist_ok=True)
    tiles = []
    for slide_seed in range(seed * 1000, seed * 1000 + n_slides):
        name = f"phantom_{slide_seed:06d}"
        image_path, mask_path = folder / f"{name}.png", folder / f"{name}_mask.png"
        if not (image_path.exists() and mask_path.exists()):
            slide = phantom.phantom_slide(slide_seed, size=size, mpp=mpp)
            _save_png(slide.image, image_path)
            _save_png(slide.mask, mask_path)
        tiles.append(Tile(name, image_path, mask_path, name, len(phantom.CLASS_NAMES)))
    palette = np.array(phantom.PALETTE, dtype=np.uint8)
    return TileSet("phantom", tuple(tiles), tuple(phantom.CLASS_NAMES), palette, mpp)


def _phantom_folder() -> Path:
    """In the user cache, under a digest of the generator's source: a changed generator makes new slides."""
    digest = hashlib.sha256()
    for source in sorted(Path(phantom.__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return Path(pooch.os_cache("histolab-lite")) / "phantom" / digest.hexdigest()[:12]


def _save_png(array: np.ndarray, path: Path) -> None:
    """Two lessons may make one slide at once: each writes a file of its own, the last replaces the first."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            Image.fromarray(array).save(file, format="PNG", compress_level=3)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
