"""Opens a visitor's own slide safely: one that would take too long or too much memory is refused before a pixel is
decoded.

The page never decodes a slide's label, macro image or thumbnail, and never applies its colour profile.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide

from demos.shared.uploads import LARGEST_SLIDE, UploadError
from demos.sic.decoding import Pyramid
from demos.sic.tiff import DAMAGED, NOT_TILED, check_tiff
from histolab_lite.data.slides import Slide, SlideError

PATCH, MPP = 64, 1.0  # pixels per side, µm per pixel
THUMBNAIL = 800  # pixels on the longer side
LOOK_MPP = PATCH * MPP / 16  # the finest scale at which ``patch_grid`` looks for tissue
LARGEST_LEVEL = 25 * 10**6  # pixels of the coarsest level; one tile of the viewer may need all of them
LARGEST_STEP = 16  # between levels; a tile of the viewer may need this many times as many pixels per side
MOST_DECODED_WHOLE = 250 * 10**6  # pixels of a level that is read whole; 600 mm² at 2 µm per pixel have 150 million
LARGEST_AREA = 600.0  # mm²
LONGEST_SIDE = 300_000  # pixels
FORMATS = ("aperio", "generic-tiff", "philips")  # as OpenSlide names them
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
UNKNOWN = "This file is not a slide that can be read here. Upload a .svs or a tiled, pyramidal .tif."


def open_slide(path: Path, mpp: float | None = None) -> Slide:
    """Open an untrusted file. mpp: µm per pixel, for a slide without a scale.

    UploadError, without a path, if the file is no slide, is damaged, has no scale, or would take too long to read.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(4)
    except OSError:
        raise UploadError("The file did not arrive. Upload it again.") from None
    if size > LARGEST_SLIDE:
        raise UploadError(f"This file has {size / 1e6:.0f} MB; at most {LARGEST_SLIDE / 1e6:.0f} MB can be read here.")
    if start not in TIFF:  # other formats consist of several files, and one file names the others
        raise UploadError(UNKNOWN)
    check_tiff(path)
    if openslide.OpenSlide.detect_format(path) not in (None, *FORMATS):
        raise UploadError(UNKNOWN)
    try:
        pyramid = Pyramid.of(path)
    except openslide.OpenSlideUnsupportedFormatError:
        raise UploadError(NOT_TILED) from None
    except (openslide.OpenSlideError, ValueError, KeyError):
        raise UploadError(DAMAGED) from None
    try:
        slide = Slide(path, mpp)
    except SlideError:
        raise UploadError(
            "This slide does not state its scale. Enter it under “µm per pixel”, about 0.25 at 40× and 0.5 at 20×, and "
            "upload the slide again."
        ) from None
    try:
        _check_size(pyramid, slide.mpp)
    except UploadError:
        slide.close()
        raise
    return slide


def _check_size(pyramid: Pyramid, mpp: float) -> None:
    (width, height), steps = pyramid.sizes[0], np.divide(pyramid.downsamples[1:], pyramid.downsamples[:-1])
    if max(width, height) > LONGEST_SIDE:
        raise UploadError(f"This slide is more than {LONGEST_SIDE:,} pixels wide or high, more than can be read here.")
    if width * height * (mpp / 1000) ** 2 > LARGEST_AREA:
        raise UploadError(f"This slide is larger than {LARGEST_AREA:,.0f} mm², more than can be read here.")
    looked_at = (LOOK_MPP / mpp, max(width, height) / THUMBNAIL)
    whole = max(pyramid.whole(pyramid.level(max(1.0, scale))) for scale in looked_at)
    if pyramid.whole(-1) > LARGEST_LEVEL or steps.max(initial=1) > LARGEST_STEP or whole > MOST_DECODED_WHOLE:
        raise UploadError("This slide has no smaller levels for an overview. Export it as a pyramidal .tif.")
