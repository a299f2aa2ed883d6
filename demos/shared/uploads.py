"""Read a visitor's own image, which may be damaged or hostile.

The type is detected from the content, not from the name. Every error is one sentence for the visitor, without a path
and without a traceback.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

LARGEST_FILE, LARGEST_SLIDE = 20 * 10**6, 200 * 10**6  # bytes
LARGEST_IMAGE = 25 * 10**6  # pixels
SMALLEST_SIDE = 32
FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
PLAUSIBLE_MPP = (0.05, 20.0)  # many programs write 96 dpi by default; that would be 265 µm
TURNED = "The image is turned here, as the file says. In programs that do not turn it, the outline will not fit."
RESOLUTION_UNIT, UNITS = 296, {2: 25_400.0, 3: 10_000.0}  # TIFF tag; µm per inch, per centimetre


class UploadError(ValueError):
    """A file that cannot be used. The message is for the visitor."""


@dataclass(frozen=True, eq=False)
class Upload:
    """rgb: uint8 (H, W, 3). digest: of the file's content. note: tells the visitor how the file was read."""

    rgb: np.ndarray
    digest: str
    mpp: float | None
    note: str


def read_file(path: str | Path, largest: int = LARGEST_FILE, forget: bool = False) -> bytes:
    """The content of an uploaded file. largest: bytes. forget: delete the file.

    UploadError for a larger file, or if there is no such file.
    """
    path = Path(path)
    try:
        if not path.is_file():  # a device might never end
            raise UploadError("The file did not arrive. Upload it again.")
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except OSError:
        raise UploadError("The file did not arrive. Upload it again.") from None
    finally:
        if forget:
            path.unlink(missing_ok=True)
    if len(content) > largest:
        raise UploadError(f"This file has more than {largest / 1e6:.0f} MB, the largest size that can be read here.")
    return content


def read_pixels(path: str | Path, forget: bool = False) -> Upload:
    """The image in a file, whatever its name. forget: delete the file. UploadError says why it cannot be read."""
    content = read_file(path, forget=forget)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about images that are refused below, and about odd metadata
        image = _open(content)
        mpp = _mpp(image)  # before the image is turned, which drops the tags
        notes = []
        frames = _frames(image)
        if frames > 1:
            notes.append(f"The file holds {frames} images; this is the first.")
        rgb, turned = _decode(image)
    if turned:
        notes.append(TURNED)
    digest = hashlib.sha256(content).hexdigest()
    return Upload(rgb, digest, mpp, " ".join(notes))


def given_scale(given: Any) -> float | None:
    """µm per pixel as the visitor wrote it; None for an empty field. UploadError for a scale that no microscope has."""
    text = "" if given is None else str(given).strip().replace(",", ".")
    if text in ("", "0"):
        return None
    low, high = PLAUSIBLE_MPP
    try:
        mpp = float(text)
    except ValueError:
        mpp = float("nan")
    if not low <= mpp <= high:
        raise UploadError(
            f"A scale is a number from {low:g} to {high:g} µm per pixel; 20× scans have about 0.5. Leave the field "
            "empty if the file states its scale."
        )
    return mpp


def _open(content: bytes) -> Image.Image:
    """Read the header only; an image that is too large is refused before its pixels are decoded."""
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError:
        raise UploadError(_too_large()) from None
    except UnidentifiedImageError:
        raise UploadError(
            "This file is not an image that can be read here. Upload a PNG, JPEG, TIFF, WebP or BMP file."
        ) from None
    except Exception:  # hostile bytes can make a decoder raise anything
        raise UploadError(_broken()) from None
    width, height = image.size
    if width * height > LARGEST_IMAGE:
        raise UploadError(f"This image has {width:,} × {height:,} pixels. {_too_large()}")
    if min(width, height) < SMALLEST_SIDE:
        raise UploadError(f"This image is only {width} × {height} pixels; it needs {SMALLEST_SIDE} on each side.")
    return image


def _decode(image: Image.Image) -> tuple[np.ndarray, bool]:
    """uint8 (H, W, 3) of the first frame, and whether it was turned as its EXIF tag says."""
    try:
        image.load()
        turned = image.getexif().get(0x0112, 1) in range(2, 9)
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith(("F", "I")):
            values = np.asarray(upright)
            if upright.mode == "F" or values.min() < 0 or values.max() > 65535:  # not 16-bit grey
                raise UploadError("This image holds measurements, not colours. Save it as an 8-bit RGB image.")
            upright = Image.fromarray((values >> 8).astype(np.uint8))
        if upright.has_transparency_data:
            layers = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers)
        return np.asarray(upright.convert("RGB")), turned
    except UploadError:
        raise
    except Exception:  # as above
        raise UploadError(_broken()) from None


def _frames(image: Image.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # a damaged second frame does not concern the first
        return 1


def _mpp(image: Image.Image) -> float | None:
    """µm per pixel from a TIFF's resolution tags, if they are plausible: square pixels, and a microscope's scale."""
    if image.format != "TIFF":
        return None
    try:
        tags = image.tag_v2  # type: ignore[attr-defined]
        unit = UNITS.get(tags.get(RESOLUTION_UNIT))
        x, y = (float(tags.get(tag, 0)) for tag in (282, 283))
    except Exception:  # as above
        return None
    if unit is None or not (x > 0 and y > 0 and abs(x - y) <= 0.01 * x):
        return None
    mpp = unit / x
    return round(mpp, 4) if PLAUSIBLE_MPP[0] <= mpp <= PLAUSIBLE_MPP[1] else None


def _too_large() -> str:
    return f"At most {LARGEST_IMAGE / 1e6:.0f} million pixels can be read here: crop it, or save it smaller."


def _broken() -> str:
    return "This file is damaged or incomplete and cannot be read. Save the image again and upload the new file."
