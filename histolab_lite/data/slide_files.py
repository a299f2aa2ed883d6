"""The files of a slide, and a digest that tells the slide from another one of the same name.

OpenSlide's own `openslide.quickhash-1` covers only a slide's smallest level and its properties, and some slides have
none.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from histolab_lite.data.download import sha256


@dataclass(frozen=True)
class SlideFile:
    """What identifies a slide.

    Attributes
    ----------
    size
        Bytes; for a slide of several files their sum.
    modified
        Time of the last change, nanoseconds since 1970.
    sha256
        Digest of the content; for a slide of several files that of the output of `sha256sum` for them.
    """

    size: int
    modified: int
    sha256: str


def identify(path: str | Path) -> SlideFile:
    """Return a slide's size, time of change and sha256. The slide is read to its end, once until it changes."""
    files = slide_files(path)
    size, modified = _size_and_time(files)
    return SlideFile(size, modified, _sha256(files, size, modified))


def is_same(path: str | Path, known: SlideFile) -> bool:
    """Tell whether a slide is the known one. It is read only if its time differs, as that of a copy does."""
    size, modified = _size_and_time(slide_files(path))
    return size == known.size and (modified == known.modified or identify(path).sha256 == known.sha256)


def slide_files(path: str | Path) -> tuple[Path, ...]:
    """List the files that OpenSlide reads for a slide: the named one first, then the others by name.

    Some formats have several: .mrxs all files in the folder of the same name; .vms and .vmu the files beside it that it
    names; .dcm all .dcm files beside it, so that a folder of DICOM files is one slide.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    others: list[Path] = []
    if suffix == ".mrxs":
        others = list(path.with_suffix("").rglob("*"))
    elif suffix in (".vms", ".vmu"):
        text = path.read_text(encoding="utf-8", errors="replace")
        others = [other for other in path.parent.iterdir() if other.name in text]
    elif suffix == ".dcm":
        others = [other for other in path.parent.iterdir() if other.suffix.lower() == ".dcm"]
    return path, *sorted(other for other in others if other != path and other.is_file())


def _size_and_time(files: tuple[Path, ...]) -> tuple[int, int]:
    states = [file.stat() for file in files]
    return sum(state.st_size for state in states), max(state.st_mtime_ns for state in states)


@cache
def _sha256(files: tuple[Path, ...], size: int, modified: int) -> str:
    """Read the files; the cache holds while their size and time stay the same."""
    digests = [sha256(path) for path in files]
    if len(files) == 1:
        return digests[0]
    names = [path.relative_to(files[0].parent).as_posix() for path in files]
    listing = "".join(f"{digest}  {name}\n" for digest, name in zip(digests, names, strict=True))
    return hashlib.sha256(listing.encode()).hexdigest()
