"""Masks as palette PNG: every pixel holds a class id, every viewer shows the colour of the class.

The id 255 means "ignore": the class of the pixel is unknown or uncertain. It is mid-grey in the palette.
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
Palette = Sequence[Sequence[int]] | np.ndarray  # (K, 3) uint8, one colour per class id


def check_ids(mask: np.ndarray) -> np.ndarray:
    """Return a mask as uint8 class ids (H, W).

    Parameters
    ----------
    mask : (H, W)
        Bool, or whole numbers from 0 to 255.

    Raises
    ------
    ValueError
        The mask has another shape, is empty, or holds other values.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2 or 0 in mask.shape:
        raise ValueError(f"a mask holds one class id per pixel, (H, W); this one is {mask.shape}.")
    if mask.dtype == bool:
        return mask.astype(np.uint8)
    if not np.issubdtype(mask.dtype, np.integer) or mask.min() < 0 or mask.max() > IGNORE:
        raise ValueError(f"class ids are whole numbers from 0 to {IGNORE}; this {mask.dtype} mask holds other values.")
    return mask.astype(np.uint8)


def colour_table(palette: Palette) -> np.ndarray:
    """Return a colour for every id from 0 to 255, uint8 (256, 3): grey for ids beyond the palette.

    Parameters
    ----------
    palette : (K, 3)
        Red, green and blue from 0 to 255 of class 0, 1, …; K from 1 to 255.

    Raises
    ------
    ValueError
        The palette has another shape or holds other values.
    """
    colours = np.asarray(palette)
    if colours.ndim != 2 or colours.shape[1] != 3 or not 1 <= len(colours) <= IGNORE:
        raise ValueError(f"a palette is 1 to {IGNORE} colours, (K, 3); this one is {colours.shape}.")
    if colours.min() < 0 or colours.max() > 255:
        raise ValueError("a palette holds red, green and blue from 0 to 255.")
    table = np.full((256, 3), GREY, np.uint8)
    table[: len(colours)] = colours
    return table


def mask_png(mask: np.ndarray, palette: Palette) -> bytes:
    """Encode a mask as a PNG of mode P.

    Parameters
    ----------
    mask : (H, W)
        Class ids, 255 for "ignore".
    palette : (K, 3)
        Red, green and blue of class 0, 1, ….

    Raises
    ------
    ValueError
        As `check_ids` and `colour_table`, and for a class without a colour.
    """
    ids, table = check_ids(mask), colour_table(palette)
    known = ids[ids != IGNORE]
    if known.size and known.max() >= len(palette):
        raise ValueError(f"class {known.max()} has no colour: the palette has {len(palette)}.")
    image = Image.fromarray(ids, mode="P")
    image.putpalette(table.tobytes())
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return file.getvalue()


def write_mask(path: str | Path, mask: np.ndarray, palette: Palette) -> Path:
    """Write `mask_png(mask, palette)` to a file, atomically, and return its path."""
    return write_atomically(path, mask_png(mask, palette))


def read_mask(path: str | Path) -> np.ndarray:
    """Read the class ids, uint8 (H, W), of a palette PNG or a grey PNG.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is no PNG, or its pixels are colours instead of ids.
    """
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.mode not in ("P", "L"):
                raise ValueError(f"{Path(path).name} is an image of mode {image.mode}; a mask has mode P or L.")
            return np.array(image)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no mask at {path}.") from None
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"{Path(path).name} is not a readable PNG ({error}).") from error
