"""Tiles: images with a class id for every pixel.

A `TileSet` knows where its images and masks are, the names of the classes, and from which patient or slide each tile
comes. Images are read when needed. Splits keep each patient (group) on one side: two tiles of one patient look alike,
and a score across them would tell how well the patient, not the tissue, was learnt.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from sklearn.model_selection import GroupKFold, GroupShuffleSplit

from histolab_lite.data import IGNORE, phantom
from histolab_lite.data.manifests import Manifest, TileFolder, load_manifest
from histolab_lite.data.phantom_cache import phantom_files


class TileError(ValueError):
    """A tile, mask or request that cannot be used. The message says what to do."""


@dataclass(frozen=True)
class Tile:
    """One image and its mask, read when needed.

    Attributes
    ----------
    group
        The patient or slide from which it comes.
    n_classes
        Class ids are 0 to n_classes - 1, and 255 for ignore.
    mask_values, mask_threshold
        As in `Manifest`.
    """

    name: str
    image_path: Path
    mask_path: Path | None
    group: str
    n_classes: int = 0
    mask_values: Mapping[int, int] = field(default_factory=dict)
    mask_threshold: int | None = None

    def read_image(self) -> np.ndarray:
        """Read the image, uint8 RGB (H, W, 3)."""
        return np.asarray(_open(self.image_path).convert("RGB"))

    def read_mask(self) -> np.ndarray:
        """Read the class ids, uint8 (H, W), 255 for ignore.

        Raises
        ------
        TileError
            If there is no mask, or it is unreadable, is not of the image's size, or holds a value without a class.
        """
        if self.mask_path is None:
            raise TileError(f"{self.name} has no mask: this data set comes without labels.")
        if not self.mask_path.is_file():
            raise TileError(f"{self.name} has no mask: {self.mask_path} is missing.")
        values = np.asarray(_open(self.mask_path))
        if values.ndim == 3 and (values[..., :1] == values[..., :3]).all():
            values = values[..., 0]  # grey, saved as colour
        if values.ndim != 2:
            raise TileError(f"{self.mask_path} is a colour image; a mask holds one number per pixel.")
        width, height = _open(self.image_path).size
        if values.shape != (height, width):
            raise TileError(f"{self.mask_path} is {values.shape[1]} x {values.shape[0]}, its image {width} x {height}.")
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
    """Tiles of one data set. `palette` is uint8 (K, 3), one colour per class; `mpp` is None if unknown."""

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
        """Return the tiles at these indices, in this order."""
        tiles = tuple(self.tiles[int(index)] for index in indices)
        return TileSet(self.name, tiles, self.class_names, self.palette, self.mpp)

    def split(self, test_share: float = 1 / 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return indices (train, test): about `test_share` of the groups in test, no group on both sides.

        Raises
        ------
        TileError
            For fewer than two groups, or a share that is not between 0 and 1.
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

    def splits(
        self, seeds: Sequence[int], test_share: float = 1 / 3, apart: bool = False
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Split once per random seed.

        Parameters
        ----------
        seeds, test_share
            As for `split`.
        apart
            First divide the groups among the seeds, so that no two seeds share one and their scores are independent.

        Raises
        ------
        TileError
            As `split` and, with `apart`, as `group_folds`.
        """
        shares = [np.arange(len(self))] * len(seeds)
        if apart and len(seeds) > 1:
            shares = [share for _, share in group_folds(self.groups, len(seeds))]
        parts = [self.subset(share).split(test_share, seed) for share, seed in zip(shares, seeds, strict=True)]
        return [(share[train], share[test]) for share, (train, test) in zip(shares, parts, strict=True)]

    def read(self, mpp: float | None = None) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Read all images, uint8 (H, W, 3), and masks, uint8 (H, W), resampled to `mpp`; None leaves their size.

        Raises
        ------
        TileError
            If the scale of the data set is not known, or a mask is missing or wrong.
        """
        factor = self._factor(mpp)
        return self.read_images(mpp), [
            _rescale(tile.read_mask(), factor, Image.Resampling.NEAREST) for tile in self.tiles
        ]

    def read_images(self, mpp: float | None = None) -> list[np.ndarray]:
        """Read the images alone, as `read` does: for data without masks."""
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
    """Find the tiles of a data set and verify them against its manifest.

    Parameters
    ----------
    name
        "phantom", or a data set with tiles such as "glas", "ocdc", "oscc"; or a manifest of your own.
    root
        The data folder; None for `data_root()`.
    split
        One of the manifest's splits; None for all.
    n_slides, size, seed, mpp
        Phantom only: number of slides, pixels per side, random seed and scale. Two seeds give two disjoint sets. The
        slides are cached, so that the next call reads them.

    Raises
    ------
    FileNotFoundError
        If the data are not there; the message says where to get them.
    TileError
        For a data set without tiles, an unknown split, or a tile without group.
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


def group_folds(groups: Sequence[str] | np.ndarray, n_folds: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return folds of similar sizes with no group on both sides: a list of (train, test) index arrays.

    The largest groups go first, each to the smallest fold (scikit-learn's GroupKFold); the seed shuffles groups of
    equal size.

    Raises
    ------
    TileError
        If n_folds is below 2 or above the number of groups.
    """
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    if not 2 <= n_folds <= len(names):
        raise TileError(f"n_folds={n_folds} must be at least 2 and at most the number of groups, {len(names)}.")
    shuffled = np.random.default_rng(seed).permutation(len(names))[index]
    return list(GroupKFold(n_folds).split(shuffled, groups=shuffled))


def _rescale(array: np.ndarray, factor: float, resample: Image.Resampling) -> np.ndarray:
    if factor == 1:
        return array
    height, width = (max(1, round(side * factor)) for side in array.shape[:2])
    return np.asarray(Image.fromarray(array).resize((width, height), resample))


def _open(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
        image.load()
    except (UnidentifiedImageError, OSError) as error:
        raise TileError(f"{path} is not a readable image: {error}.") from error
    return image


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
    """Sort train_2 before train_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _phantom_tiles(n_slides: int, size: int, seed: int, mpp: float) -> TileSet:
    if not 1 <= n_slides <= 1000:
        raise TileError(f"n_slides is between 1 and 1000, not {n_slides}.")
    kept = phantom_files(range(seed * 1000, seed * 1000 + n_slides), size, mpp)
    tiles = tuple(Tile(name, image, mask, name, len(phantom.CLASS_NAMES)) for name, (image, mask) in kept.items())
    palette = np.array(phantom.PALETTE, dtype=np.uint8)
    return TileSet("phantom", tiles, tuple(phantom.CLASS_NAMES), palette, mpp)
