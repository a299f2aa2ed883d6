"""Check whether a folder is the challenge's data set: list each bad file, and why it is bad (Sect. III-D, Fig. 4)."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from histolab_lite.methods.wsss4luad.challenge.files import (
    BACKGROUNDS,
    IMAGES,
    MASKS,
    PALETTE,
    SPLITS,
    TRAINING,
    number,
    parse_name,
)
from histolab_lite.methods.wsss4luad.challenge.images import (
    ImageError,
    decode_background,
    decode_ids,
    decode_rgb,
    read_bytes,
)

#: Sides in pixels, which the paper gives as "around"; other sides get a warning.
PATCH_SIDES = (150, 300)
SMALL_SIDES, LARGE_SIDES = (200, 500), (1500, 5000)


class Problem(NamedTuple):
    """One thing that is wrong with a data set or a submission.

    Attributes
    ----------
    path
        Path within the checked folder or archive.
    reason
        A sentence that says what is wrong.
    level
        "error", or "warning" for a file that is only unusual.
    """

    path: str
    reason: str
    level: str = "error"

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def check_dataset(root: str | Path) -> list[Problem]:
    """List all problems of a data set's folder, in the order of its files.

    The checks cover names, tags, sizes, formats, palettes and values. Each image must have its two masks, no place may
    be cut twice, and no image may occur twice, not even in two splits. Every pixel is read, one image at a time. A bad
    file is listed; it never raises. The names of validation and testing images do not say the slide, so a slide in two
    splits cannot be found.

    Returns
    -------
    list of Problem
        Empty if the data set is whole.
    """
    root = Path(root)
    if not root.is_dir():
        return [Problem(".", f"there is no folder {root}.")]
    seen: dict[bytes, str] = {}
    problems = list(_check_training(root, seen))
    for folder in SPLITS.values():
        problems += _check_split(root, folder, seen)
    return problems


def _check_training(root: Path, seen: dict[bytes, str]) -> Iterator[Problem]:
    if not (root / TRAINING).is_dir():
        yield Problem(TRAINING, "the folder is missing.")
        return
    places: dict[tuple[str, int, int], str] = {}
    paths = sorted((root / TRAINING).iterdir())
    if not paths:
        yield Problem(TRAINING, "the folder is empty.")
    for path in paths:
        name = f"{TRAINING}/{path.name}"
        try:
            slide, x, y, _ = parse_name(path.name)
            first = places.setdefault((slide, x, y), path.name)
            if first != path.name:
                yield Problem(name, f"has the same place {x}, {y} on slide {slide} as {first}.")
        except ValueError as error:
            yield Problem(name, str(error).removeprefix(f"{path.name} "))
        try:
            image = decode_rgb(read_bytes(path))
        except ImageError as error:
            yield Problem(name, str(error))
            continue
        yield from _twice(name, image, seen)
        if not all(PATCH_SIDES[0] <= side <= PATCH_SIDES[1] for side in image.shape[:2]):
            expected = f"{PATCH_SIDES[0]} to {PATCH_SIDES[1]}"
            yield Problem(name, f"{_size(image)}; patches have sides of {expected}.", "warning")


def _check_split(root: Path, folder: str, seen: dict[bytes, str]) -> Iterator[Problem]:
    names: dict[str, set[str]] = {}
    for kind in (IMAGES, MASKS, BACKGROUNDS):
        there = (root / folder / kind).is_dir()
        names[kind] = {path.name for path in (root / folder / kind).iterdir()} if there else set()
        if not there:
            yield Problem(f"{folder}/{kind}", "the folder is missing.")
    if not names[IMAGES] and (root / folder / IMAGES).is_dir():
        yield Problem(f"{folder}/{IMAGES}", "the folder is empty.")
    for name in sorted(set.union(*names.values()), key=lambda name: number(Path(name))):
        if not is_numbered(name):
            for kind in (kind for kind in names if name in names[kind]):
                yield Problem(f"{folder}/{kind}/{name}", "is not named by a number, such as 00.png.")
            continue
        for kind in (IMAGES, MASKS, BACKGROUNDS):
            if name not in names[kind] and (root / folder / kind).is_dir():
                yield Problem(f"{folder}/{kind}/{name}", "is missing, but others of this name are there.")
        size = None
        if name in names[IMAGES]:
            where = f"{folder}/{IMAGES}/{name}"
            try:
                image = decode_rgb(read_bytes(root / where))
            except ImageError as error:
                yield Problem(where, str(error))
            else:
                size = (image.shape[0], image.shape[1])
                yield from _twice(where, image, seen)
                if not any(low <= min(size) and max(size) <= high for low, high in (SMALL_SIDES, LARGE_SIDES)):
                    expected = " or ".join(f"{low} to {high}" for low, high in (SMALL_SIDES, LARGE_SIDES))
                    yield Problem(where, f"{_size(image)}; images have sides of {expected}.", "warning")
        decoders: dict[str, Callable[[bytes, tuple[int, int] | None], np.ndarray]] = {
            MASKS: lambda content, size: decode_ids(content, PALETTE, size),
            BACKGROUNDS: decode_background,
        }
        for kind, decode in decoders.items():
            if name in names[kind]:
                try:
                    decode(read_bytes(root / folder / kind / name), size)
                except ImageError as error:
                    yield Problem(f"{folder}/{kind}/{name}", str(error))


def is_numbered(name: str) -> bool:
    """Tell whether a name is a number with the suffix png, such as 00.png."""
    stem, dot, suffix = name.rpartition(".")
    return dot == "." and suffix == "png" and stem.isascii() and stem.isdigit()


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]} x {image.shape[0]} px"


def _twice(name: str, image: np.ndarray, seen: dict[bytes, str]) -> Iterator[Problem]:
    """Report the same pixels under another name: a leak between splits, or a copy."""
    first = seen.setdefault(hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest(), name)
    if first != name:
        yield Problem(name, f"is the same image as {first}.")
