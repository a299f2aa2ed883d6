"""Masks as palette PNG: every pixel holds a class id, every viewer shows the class's colour.

255 is "ignore": nobody said what is there, or it is not certain. It is mid-grey in the palette.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from histolab_lite.data import IGNORE
from histolab_lite.files import write_atomically

GREY = (128, 128, 128)
Palette = Sequence[Sequence[int]] | np.ndarray  # (K, 3) uint8, a colour a class id


def check_ids(mask: np.ndarray) -> np.ndarray:
    """A mask as uint8 (H, W). ValueError if it is no picture of whole numbers from 0 to 255."""
    mask = np.asarray(mask)
    if mask.ndim != 2 or 0 in mask.shape:
        raise ValueError(f"a mask holds one number a pixel, (H, W); this one is {mask.shape}.")
    if mask.dtype == bool:
        return mask.astype(np.uint8)
    if not np.issubdtype(mask.dtype, np.integer) or mask.min() < 0 or mask.max() > IGNORE:
        raise ValueError(f"class ids are whole numbers from 0 to {IGNORE}; this mask is {mask.dtype}, or beyond them.")
    return mask.astype(np.uint8)


def mask_png(mask: np.ndarray, palette: Palette) -> bytes:
    """A PNG of mode P. mask: class ids (H, W), 255 for ignore. palette: RGB of class 0, 1, ….

    ValueError for values that are no class ids, a class without a colour, or a palette that is not (K, 3) bytes.
    """
    ids, colours = check_ids(mask), np.asarray(palette)
    if colours.ndim != 2 or colours.shape[1] != 3 or not 1 <= len(colours) <= IGNORE:
        raise ValueError(f"a palette is 1 to {IGNORE} colours, (K, 3); this one is {colours.shape}.")
    if colours.min() < 0 or colours.max() > 255:
        raise ValueError("a palette holds red, green and blue from 0 to 255.")
    known = ids[ids != IGNORE]
    if known.size and known.max() >= len(colours):
        raise ValueError(f"class {known.max()} has no colour: the palette has {len(colours)}.")
    table = np.full((256, 3), GREY, np.uint8)
    table[: len(colours)] = colours
    picture = Image.fromarray(ids, mode="P")
    picture.putpalette(table.tobytes())
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return file.getvalue()


def write_mask(path: str | Path, mask: np.ndarray, palette: Palette) -> Path:
    """``mask_png`` in a file, which is written whole or not at all."""
    return write_atomically(path, mask_png(mask, palette))


def read_mask(path: str | Path) -> np.ndarray:
    """Class ids, uint8 (H, W), of a palette or grey PNG.

    FileNotFoundError where there is none; ValueError for what is no picture, or one of colours instead of ids.
    """
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            if picture.mode not in ("P", "L"):
                raise ValueError(f"{Path(path).name} is a picture of mode {picture.mode}; a mask is of mode P or L.")
            return np.array(picture)
    except FileNotFoundError:
        raise FileNotFoundError(f"no mask at {path}.") from None
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"{Path(path).name} is not a readable PNG ({error}).") from error
