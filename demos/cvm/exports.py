"""Files for the visitor: outlines for QuPath, the mask, and an image with the outline."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy.ndimage import binary_erosion

from demos.cvm.images import InputImage
from demos.cvm.outline import Outline
from demos.cvm.session import OUTSIDE
from demos.shared.colours import PALETTE
from demos.shared.markup import image_file
from demos.shared.saving import pack
from histolab_lite.data import IGNORE
from histolab_lite.formats.masks import mask_png
from histolab_lite.formats.qupath import to_geojson
from histolab_lite.plots import overlay


def qupath(image: InputImage, found: Outline, names: Sequence[str]) -> str:
    """The outlines of the tissues in pixels of the full image, packed for ``saving.SAVE_JS``."""
    content = to_geojson(found.ids, names, PALETTE, downsample=image.downsample, background=OUTSIDE)
    return pack("outlines.geojson", "application/geo+json", json.dumps(content, ensure_ascii=False).encode())


def mask(image: InputImage, found: Outline) -> str:
    """Class ids at the full image's size: 0 outside, 1 to 3 the tissues, 255 unsure."""
    full = Image.fromarray(found.ids).resize(image.size[::-1], Image.Resampling.NEAREST)
    return pack("mask.png", "image/png", mask_png(np.asarray(full), PALETTE))


def figure(image: InputImage, found: Outline, opacity: float) -> str:
    """The image with its fills and outlines, at the size that the page shows."""
    shown = np.where(found.ids == OUTSIDE, IGNORE, found.ids)
    pixels = overlay(image.view, shown, PALETTE, opacity)
    for name in np.unique(shown[shown != IGNORE]):
        region = shown == name
        pixels[region & ~binary_erosion(region, iterations=2, border_value=1)] = PALETTE[name]
    return pack("outline.png", "image/png", image_file(Image.fromarray(pixels), "png"))
