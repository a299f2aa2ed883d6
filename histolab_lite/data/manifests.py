"""Data sets by manifest: where tissue comes from, under which licence, and whether the files are the right ones.

Each data set has one YAML file in `data_manifests/`. `load_manifest(name).fetch()` compares every listed file with its
sha256 and returns the folder that holds them. Files with a URL are downloaded. Where the source asks for a
registration, the manifest is verify-only: the error says where to get the files and where to put them. The folder is
`$HISTOLAB_DATA`, or the user cache; it may be read-only when nothing is missing.

Reference: pooch, L. Uieda et al., JOSS 5(45):1943 (2020), https://www.fatiando.org/pooch/
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pooch

from histolab_lite.data.download import HashCache, download
from histolab_lite.files import extract, read_yaml

ACCESS = ("download", "manual", "generated")
_PACKAGE = Path(__file__).resolve().parents[1]
_FOLDERS = (_PACKAGE / "data_manifests", _PACKAGE.parent / "data_manifests")  # an installed wheel, a checkout


class ManifestError(ValueError):
    """A manifest that is not valid, or a file that differs from the one its manifest describes."""


@dataclass(frozen=True)
class DataFile:
    """One file: its path under the data folder, its sha256, and its URL, if it can be downloaded."""

    path: str
    sha256: str
    url: str | None = None


@dataclass(frozen=True)
class Archive:
    """A zip or tar to download, compare with its sha256 and unpack into the folder `into`."""

    url: str
    sha256: str
    into: str


@dataclass(frozen=True)
class TileFolder:
    """Where the tiles of one split are, under the data folder.

    With neither `group` nor `group_csv`, every tile is its own group (patient or slide).

    Attributes
    ----------
    images
        A glob.
    masks
        A path in which {stem} stands for the image's name; None without masks.
    group
        A regular expression; its first group in the stem is the tile's group.
    group_csv, group_column
        A table; the tile's group is in this column of the row whose `name` is the stem.
    """

    images: str
    masks: str | None = None
    group: str | None = None
    group_csv: str | None = None
    group_column: str | None = None


@dataclass(frozen=True)
class Manifest:
    """The content of `data_manifests/<name>.yaml`, key by key.

    Attributes
    ----------
    access
        "download" (by HTTP), "manual" (verify-only, `obtain` says how) or "generated".
    mpp
        Micrometres per pixel; None where the images differ or the source does not say.
    mask_values
        Value in the mask file -> class id; 255 is ignore. Empty: the file holds class ids.
    mask_threshold
        For masks in JPEG files, whose edges hold all grey values: class 1 from this value on, else 0.
    counts
        Glob -> how many files it must find, for data sets whose files are not listed one by one.
    tiles
        Split -> where its images and masks are.
    """

    name: str
    title: str
    version: str
    homepage: str
    licence: str
    redistribution: bool
    citation: str
    access: str
    split_rule: str
    sources: tuple[str, ...] = ()
    obtain: str = ""
    notes: str = ""
    classes: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()
    mpp: float | None = None
    mask_values: Mapping[int, int] = field(default_factory=dict)
    mask_threshold: int | None = None
    files: tuple[DataFile, ...] = ()
    archives: tuple[Archive, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    tiles: Mapping[str, TileFolder] = field(default_factory=dict)

    def fetch(self, root: str | Path | None = None, download: bool = True) -> Path:
        """Make sure that every file is there and right, and return the data folder.

        Parameters
        ----------
        root
            The data folder; None for `data_root()`.
        download
            Whether missing files may be downloaded.

        Raises
        ------
        FileNotFoundError
            If a file is missing and cannot, or must not, be downloaded.
        ManifestError
            If a file differs from the one the manifest describes. The file is not removed.
        DownloadError, ArchiveError
            As `histolab_lite.data.download`.
        """
        root = Path(root) if root is not None else data_root()
        missing = self._missing(root)
        if missing and download and self.access == "download":
            self._download(root, missing)
            missing = self._missing(root)
        if missing:
            raise FileNotFoundError(self._how_to_get(root, missing))
        self._verify(root)
        return root

    def is_available(self, root: str | Path | None = None) -> bool:
        """Tell whether `fetch` would succeed without a download."""
        try:
            self.fetch(root, download=False)
        except (FileNotFoundError, ManifestError):
            return False
        return True

    def path(self, root: str | Path | None = None) -> Path:
        """Fetch a data set of a single file, such as one slide, and return that file."""
        if len(self.files) != 1:
            raise ManifestError(f"{self.name} has {len(self.files)} files, not one; use the folder of fetch().")
        return self.fetch(root) / self.files[0].path

    def _missing(self, root: Path) -> list[str]:
        missing = [file.path for file in self.files if not (root / file.path).is_file()]
        for pattern, count in self.counts.items():
            found = sum(1 for _ in root.glob(pattern))
            if found < count:
                missing.append(f"{pattern} ({found} of {count} files)")
        return missing

    def _download(self, root: Path, missing: list[str]) -> None:
        for file in self.files:
            if file.url and file.path in missing:
                download(file.url, root / file.path, file.sha256)
        for archive in self.archives:
            packed = root / archive.into / archive.url.rsplit("/", 1)[-1]
            download(archive.url, packed, archive.sha256)
            try:
                extract(packed, root / archive.into)
            finally:
                packed.unlink()

    def _verify(self, root: Path) -> None:
        hashes = HashCache()
        for file in self.files:
            found = hashes.sha256(root / file.path)
            if found != file.sha256:
                raise ManifestError(
                    f"{root / file.path} is not the file that {self.name}.yaml describes: its sha256 is "
                    f"{found}, not {file.sha256}. Remove it and get it again from {self.homepage}."
                )
        hashes.save()

    def _how_to_get(self, root: Path, missing: list[str]) -> str:
        total = len(self.files) + len(self.counts)
        get = self.obtain or f"See {self.homepage}."
        return (
            f"{self.title}: {len(missing)} of {total} entries are missing under {root}, first {missing[0]}. "
            f"{get.strip()} Paths are relative to {root}; set HISTOLAB_DATA to use another folder. "
            f"Terms: {self.licence}"
        )


def data_root() -> Path:
    """Return the folder of all data sets: $HISTOLAB_DATA, or the user cache."""
    return Path(os.environ.get("HISTOLAB_DATA") or pooch.os_cache("histolab-lite"))


def list_manifests() -> list[str]:
    """Return the names of all data sets, sorted."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def load_manifest(name: str | Path) -> Manifest:
    """Load and check a manifest by its name, or your own by the path of its YAML file.

    Raises
    ------
    FileNotFoundError
        If there is no such manifest; the message lists the existing ones.
    ManifestError
        If it is not valid; the message names the file and the key.
    """
    path = Path(name) if isinstance(name, Path) or str(name).endswith(".yaml") else _folder() / f"{name}.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"There is no data set {str(name)!r}. Choose from {', '.join(list_manifests())}.")
    try:
        text = read_yaml(path)
    except ValueError as error:
        raise ManifestError(str(error)) from error
    return _parse(text, path)


def _folder() -> Path:
    for folder in _FOLDERS:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"The data manifests are in none of {', '.join(map(str, _FOLDERS))}. Reinstall.")


def _parse(text: Any, path: Path) -> Manifest:
    def fail(what: str) -> ManifestError:
        return ManifestError(f"{path}: {what}")

    def build(kind: type, value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise fail(f"{where} must be a mapping, not {value!r}")
        fields = dataclasses.fields(kind)
        unknown = sorted(set(map(str, value)) - {f.name for f in fields})
        if unknown:
            raise fail(f"unknown key {unknown[0]!r} in {where}")
        for f in fields:
            required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
            if required and value.get(f.name) in (None, ""):
                raise fail(f"missing key {f.name!r} in {where}")
        for key, item in value.items():
            hint = str(kind.__annotations__[key])
            if hint.startswith("str") and not (isinstance(item, str) or (item is None and "None" in hint)):
                raise fail(f"{key} in {where} must be text, not {item!r} (quote it)")
        return kind(**value)

    if not isinstance(text, dict):
        raise fail("a manifest is a mapping of keys")
    text = dict(text)
    if text.get("name") != path.stem:
        raise fail(f"name is {text.get('name')!r}, but the file is {path.name}")
    for key in ("files", "counts", "tiles", "mask_values"):
        if not isinstance(text.setdefault(key, {}), dict):
            raise fail(f"{key} must be a mapping")
    for key in ("archives", "sources", "classes", "palette"):
        if not isinstance(text.setdefault(key, []), list):
            raise fail(f"{key} must be a list")
    # A file is `path: sha256`, or `path: {sha256: ..., url: ...}` where it can be downloaded.
    files = {key: value if isinstance(value, dict) else {"sha256": value} for key, value in text["files"].items()}
    text["files"] = tuple(build(DataFile, {"path": key, **value}, f"files {key}") for key, value in files.items())
    text["archives"] = tuple(build(Archive, value, "archives") for value in text["archives"])
    text["tiles"] = {key: build(TileFolder, value, f"tiles {key}") for key, value in text["tiles"].items()}
    text["classes"], text["sources"] = tuple(text["classes"]), tuple(text["sources"])
    text["palette"] = tuple(tuple(colour) for colour in text["palette"])
    manifest: Manifest = build(Manifest, text, "the manifest")

    _check_paths([file.path for file in manifest.files] + [a.into for a in manifest.archives], fail)
    for tiles in manifest.tiles.values():
        _check_paths([p for p in (tiles.images, tiles.masks, tiles.group_csv) if p], fail)
        if bool(tiles.group_csv) != bool(tiles.group_column):
            raise fail("group_csv and group_column go together")
    for digest in [file.sha256 for file in manifest.files] + [archive.sha256 for archive in manifest.archives]:
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise fail(f"{digest!r} is not a sha256 of 64 hexadecimal digits")
    if manifest.access not in ACCESS:
        raise fail(f"access must be one of {', '.join(ACCESS)}, not {manifest.access!r}")
    if manifest.access == "manual" and not manifest.obtain:
        raise fail("missing key 'obtain': a verify-only data set must say how to get it")
    if not isinstance(manifest.redistribution, bool):
        raise fail("redistribution must be true or false")
    if manifest.mpp is not None and not (isinstance(manifest.mpp, int | float) and manifest.mpp > 0):
        raise fail(f"mpp must be positive micrometres per pixel, not {manifest.mpp!r}")
    if len(manifest.palette) != len(manifest.classes):
        raise fail(f"palette has {len(manifest.palette)} colours for {len(manifest.classes)} classes")
    if any(len(c) != 3 or not all(isinstance(v, int) and 0 <= v <= 255 for v in c) for c in manifest.palette):
        raise fail("palette colours are three whole numbers from 0 to 255")
    allowed = {*range(len(manifest.classes)), 255}
    if not set(manifest.mask_values.values()) <= allowed:
        raise fail(f"mask_values must lead to class ids {sorted(allowed)}")
    return manifest


def _check_paths(paths: Iterable[str], fail: Any) -> None:
    for path in paths:
        if path.startswith("/") or "\\" in path or ":" in path or ".." in path.split("/"):
            raise fail(f"{path!r} must be a relative path inside the data folder")
