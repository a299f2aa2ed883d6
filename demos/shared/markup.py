"""Pieces of HTML and SVG that all pages use."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from html import escape

import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt

SMALLEST_REGIONS = 0.03  # a class with a smaller share of a mask gets no mark


def notice(text: str) -> str:
    """A message, which a screen reader reads out at once."""
    return f'<div class="notice" role="alert">{escape(text)}</div>'


def bar(pages: Mapping[str, str], here: str, more: Mapping[str, str] | None = None) -> str:
    """Links to all pages. pages: from the name in the address to the title. here: the page that shows the bar. more:
    further links about this page, from title to address."""
    links = (
        f'<a href="../{name}/"{" aria-current=page" if name == here else ""}>{escape(title)}</a>'
        for name, title in pages.items()
    )
    about = (
        f'<a href="{escape(address)}" target="_blank" rel="noopener">{escape(title)}</a>'
        for title, address in (more or {}).items()
    )
    rest = f'<span class="about">{"".join(about)}</span>' if more else ""
    return f'<nav class="pages" aria-label="Demos">{"".join(links)}{rest}</nav>'


def image_file(image: Image.Image, kind: str, **options: int) -> bytes:
    """An image as a file. kind: its format, such as "png"."""
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


def as_uri(content: bytes, kind: str) -> str:
    """A file as the address of itself. kind: its MIME type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def unseen(content: str) -> str:
    """SVG that is sent once and not shown, so that other SVG can refer to it by its ids."""
    return f'<svg class="gone" width="0" height="0" aria-hidden="true"><defs>{content}</defs></svg>'


def covering(size: tuple[int, int]) -> str:
    """Attributes of an SVG image that covers another of this size, (rows, columns)."""
    return f'width="{size[1]}" height="{size[0]}" preserveAspectRatio="none"'


def scale_bar(size: tuple[int, int], mpp: float | None) -> str:
    """A bar of a round length, at most a fifth of the width, in the lower right corner; "" if the scale is not known.

    size: (rows, columns) of the image, in whose pixels the SVG is drawn. mpp: µm per pixel.
    """
    if not mpp:
        return ""
    height, width = size
    wanted = width * mpp / 5  # µm
    power = 10.0 ** np.floor(np.log10(wanted))
    length = max(step * power for step in (1, 2, 5) if step * power <= wanted)
    text = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    bar, unit = length / mpp, width / 100
    x, y = width - bar - 3 * unit, height - 7 * unit
    return (
        f'<g class="scale" pointer-events="none"><rect x="{x - unit:.1f}" y="{y:.1f}" width="{bar + 2 * unit:.1f}" '
        f'height="{5.6 * unit:.1f}" rx="{unit / 2:.1f}" fill="#000" fill-opacity=".65"/>'
        f'<rect x="{x:.1f}" y="{y + 4.2 * unit:.1f}" width="{bar:.1f}" height="{0.7 * unit:.1f}" fill="#fff"/>'
        f'<text x="{x + bar / 2:.1f}" y="{y + 3.3 * unit:.1f}" fill="#fff" text-anchor="middle" '
        f'font-size="{2.7 * unit:.1f}">{text}</text></g>'
    )


def region_marks(ids: np.ndarray, texts: Mapping[int, str], size: tuple[int, int]) -> str:
    """The letter or number of each class, in the middle of its widest region, so that colour is never the only sign.

    ids: class ids (h, w). texts: by class id. size: (rows, columns) of the image, in whose pixels the SVG is drawn.
    """
    unit, marks = size[1] / 224, ""
    for name in np.unique(ids):
        if (ids == name).mean() < SMALLEST_REGIONS:
            continue
        inside = distance_transform_edt(np.pad(ids == name, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(inside.argmax(), inside.shape)
        x, y = (column + 0.5) * size[1] / ids.shape[1], (row + 0.5) * size[0] / ids.shape[0]
        x, y = (min(max(at, 11 * unit), side - 11 * unit) for at, side in ((x, size[1]), (y, size[0])))
        marks += (
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{9.5 * unit:.1f}" fill="#fff" stroke="#000" '
            f'stroke-width="{unit:.1f}"/><text x="{x:.1f}" y="{y + 4.5 * unit:.1f}" text-anchor="middle" '
            f'font-size="{13 * unit:.1f}" font-weight="700">{texts[int(name)]}</text>'
        )
    return marks
