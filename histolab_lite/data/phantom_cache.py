"""Phantom slides in the user's cache: made once, read by every lesson."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pooch
from joblib import delayed
from PIL import Image

from histolab_lite.data import phantom
from histolab_lite.data.workers import parallel
from histolab_lite.files import write_atomically


def phantom_files(seeds: Iterable[int], size: int, mpp: float) -> dict[str, tuple[Path, Path]]:
    """Return the image and the mask of `phantom_slide` for each seed, as PNG files.

    Slides that are not in the cache are made, in one process per core.

    Parameters
    ----------
    seeds, size, mpp
        As for `phantom_slide`.

    Returns
    -------
    files : dict
        Name of the slide -> (image, mask).

    Raises
    ------
    ValueError
        As `phantom_slide`.
    """
    folder = _folder() / f"{size}px-{mpp:g}mpp"
    folder.mkdir(parents=True, exist_ok=True)
    files = {seed: (folder / f"{_name(seed)}.png", folder / f"{_name(seed)}_mask.png") for seed in seeds}
    missing = {seed: pair for seed, pair in files.items() if not all(path.exists() for path in pair)}
    parallel(min(os.cpu_count() or 1, max(len(missing), 1)))(
        delayed(_draw)(seed, size, mpp, *pair) for seed, pair in missing.items()
    )
    return {_name(seed): pair for seed, pair in files.items()}


def _name(seed: int) -> str:
    return f"phantom_{seed:06d}"


def _draw(seed: int, size: int, mpp: float, image: Path, mask: Path) -> None:
    slide = phantom.phantom_slide(seed, size=size, mpp=mpp)
    save_png(slide.image, image)
    save_png(slide.mask, mask)


def _folder() -> Path:
    """Name the folder by a digest of the generator's source: a changed generator makes new slides."""
    digest = hashlib.sha256()
    for source in sorted(Path(phantom.__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return Path(pooch.os_cache("histolab-lite")) / "phantom" / digest.hexdigest()[:12]


def save_png(array: np.ndarray, path: Path) -> None:
    """Write a PNG atomically: where two lessons make one slide at once, the last file replaces the first."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, format="PNG", compress_level=3)
    write_atomically(path, file.getbuffer())
