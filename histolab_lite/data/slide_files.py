"""The file behind a slide: what tells it from another one that has taken its name.

OpenSlide's own `openslide.quickhash-1` covers a slide's smallest picture and properties alone, and is missing for some.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class SlideFile:
    """size : bytes. modified : nanoseconds since 1970. sha256 : of the content. Of several files: see `identify`."""

    size: int
    modified: int
    sha256: str


def identify(path: str | Path) -> SlideFile:
    """A slide's size, time of change and sha256, for which it is read to its end, once as long as it does not change.

    A slide of several files has their size together, the latest time, and the sha256 of what `sha256sum` says of them.
    """
    files = slide_files(path)
    size, modified = _size_and_time(files)
    return SlideFile(size, modified, _sha256(files, size, modified))


def is_same(path: str | Path, known: SlideFile) -> bool:
    """Whether a slide is the known one. It is read only where the time differs, as that of a copy does."""
    size, modified = _size_and_time(slide_files(path))
    return size == known.size and (modified == known.modified or identify(path).sha256 == known.sha256)


def slide_files(path: str | Path) -> tuple[Path, ...]:
    """The files that OpenSlide reads for a slide: the named one first, then those of formats with several, by name.

    .mrxs: all in the folder of its name. .vms, .vmu: those beside it that it names. .dcm: all .dcm files beside it, so
    that a folder of DICOM files is one slide.
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
    """Of these files as they are while their size and time are these."""
    digests = []
    for path in files:
        with open(path, "rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    if len(files) == 1:
        return digests[0]
    names = [path.relative_to(files[0].parent).as_posix() for path in files]
    listing = "".join(f"{digest}  {name}\n" for digest, name in zip(digests, names, strict=True))
    return hashlib.sha256(listing.encode()).hexdigest()
