"""The views of the page, as SVG in pixels of the full image: tissue below, outlines and points above.

The tissue is sent once, as ``<image id="tissue">``, and each view refers to it, so that a click sends lines only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from matplotlib import colormaps
from PIL import Image

from demos.cvm.images import InputImage
from demos.cvm.outline import Outline
from demos.cvm.session import OUTSIDE, Point
from demos.shared.colours import PALETTE, SYMBOLS, UNSURE, css_colour
from demos.shared.markup import as_uri, covering, image_file, scale_bar, unseen
from histolab_lite.data import IGNORE

CIVIDIS = (colormaps["cividis"](np.arange(256))[:, :3] * 255).round().astype(np.uint8)

# Sends a click inside a view, in pixels of the image. A ring shows it at once, until the answer comes.
ON_CLICK = """
element.addEventListener('click', (event) => {
  const svg = event.target.closest('svg[data-image]');
  if (!svg) return;
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  const [x, y] = [Math.floor(at.x), Math.floor(at.y)], box = svg.viewBox.baseVal;
  if (x < 0 || y < 0 || x >= box.width || y >= box.height) return;
  const ring = document.createElementNS('http://www.w3.org/2000/svg', 'circle');
  for (const [name, value] of Object.entries({cx: at.x, cy: at.y, r: box.width / 60, fill: 'none', stroke: '#fff',
       'stroke-width': 3, 'vector-effect': 'non-scaling-stroke', class: 'waiting'})) ring.setAttribute(name, value);
  svg.append(ring);
  trigger('select', {index: [x, y], value: svg.dataset.image});
});
"""


def tissue(image: InputImage) -> str:
    """The image itself, which the views refer to."""
    uri = as_uri(image_file(Image.fromarray(image.view), "jpeg", quality=88), "image/jpeg")
    return unseen(f'<image id="tissue" href="{uri}" {covering(image.size)}/>')


def _svg(image: InputImage, label: str, content: str) -> str:
    height, width = image.size
    return (
        f'<div class="view" style="--ratio:{width / height:.4f}"><svg viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(label)}" data-image="{escape(image.key)}"><use href="#tissue"/>{content}</svg></div>'
    )


def main_view(image: InputImage, points: Sequence[Point], found: Outline | None, names: Sequence[str]) -> str:
    """The image to click on, with outlines, points and scale bar. names: of the classes 0, 1, …."""
    lines = "".join(
        f'<path d="{path}" fill="none" stroke="#000" stroke-opacity=".7" stroke-width="4.5" {SCREEN}/>'
        f'<path d="{path}" fill="none" stroke="{css_colour(PALETTE[name])}" stroke-width="2.2" {SCREEN}/>'
        for name, path in _paths(found).items()
        if name != OUTSIDE
    )
    clicked = Counter(own for own, _, _ in points)
    counts = [f"{n} {'point' if n == 1 else 'points'} {names[name]}" for name, n in sorted(clicked.items())]
    height, width = image.size
    label = (
        f"{image.title}, {width} by {height} pixels. {', '.join(counts) or 'No points yet'}"
        f"{', with an outline' if found else ''}. Click to add a point."
    )
    marks = "".join(_mark(name, column + 0.5, row + 0.5, width / 48) for name, row, column in points)
    return _svg(image, label, lines + f'<g class="points">{marks}</g>' + scale_bar(image.size, image.mpp))


def contrast_view(image: InputImage, found: Outline | None, name: str) -> str:
    """A heat map, bright where the tissue resembles the points of ``name`` and not the others."""
    heat, label = "", "Contrast: click points inside and outside first"
    if found:
        bright = found.contrast / max(found.contrast.max(), 1e-6)
        colours = Image.fromarray((bright * 255).round().astype(np.uint8), mode="P")
        colours.putpalette(CIVIDIS.tobytes())
        uri = as_uri(image_file(colours, "png", compress_level=3), "image/png")
        heat = f'<image class="heat" href="{uri}" {covering(image.size)}/>'
        label = f"Contrast: bright where the tissue resembles the points {name} and not the others"
    return (
        '<p class="title">Contrast</p>'
        + _svg(image, label, heat)
        + '<p class="caption"><span class="ramp"></span>'
        + f"<span>brighter: more like the points {escape(name)}</span></p>"
    )


def segmentation_view(image: InputImage, found: Outline | None, names: Sequence[str]) -> str:
    """Each tissue filled with its colour; unsure places hatched."""
    height, width = image.size
    paths = _paths(found)
    fills = "".join(
        f'<path class="overlay" d="{path}" fill="{css_colour(PALETTE[name])}" fill-rule="evenodd"/>'
        for name, path in paths.items()
        if name != OUTSIDE
    )
    if found:
        # Regions never overlap, so what an even-odd fill of all of them and the whole image leaves is unsure.
        step, rest = width / 60, f"M0 0H{width}V{height}H0Z{''.join(paths.values())}"
        fills += (
            f'<defs><pattern id="hatch" width="{step:.1f}" height="{step:.1f}" patternUnits="userSpaceOnUse" '
            f'patternTransform="rotate(45)"><rect width="{step:.1f}" height="{step:.1f}" '
            f'fill="{css_colour(UNSURE)}" fill-opacity=".55"/>'
            f'<path d="M0 0H{step:.1f}" stroke="#fff" stroke-width="{step / 3:.1f}"/></pattern></defs>'
            f'<path d="{rest}" fill="url(#hatch)" fill-rule="evenodd"/>'
        )
    label = f"Segmentation: {', '.join(names[name] for name in paths if name != OUTSIDE) or 'nothing yet'}"
    return (
        '<p class="title">Segmentation</p>'
        + _svg(image, label, fills)
        + '<p class="caption">filled: inside the outline; hatched: unsure</p>'
    )


def numbers(
    image: InputImage,
    points: Sequence[Point],
    shares: Mapping[int, tuple[float, float]] | None,
    names: Sequence[str],
    pending: bool,
) -> str:
    """A table of shares and areas, or what to do next. pending: whether the features are still being computed."""
    if pending:
        text = "The image is being read; this takes some seconds. You can click already."
        return f'<p class="next waiting" data-state="reading">{text}</p>'
    if shares is None:
        return f'<p class="next" data-state="waiting">{_next_step(points)}</p>'
    area = image.size[0] * image.size[1] * (image.mpp or 0) ** 2 / 1e6  # mm²
    rows = []
    for name in [name for name in range(1, len(names)) if name in shares] + [OUTSIDE, IGNORE]:
        of_image, of_tissue = shares.get(name, (0.0, 0.0))
        size = f"{area * of_image:.4f} mm²" if image.mpp else "–"
        text = "unsure" if name == IGNORE else names[name]
        kind = "main" if name not in (OUTSIDE, IGNORE) else ""
        rows.append(
            f'<tr class="{kind}" data-class="{name}" data-share="{of_tissue:.6f}"><th scope="row">{_key(name)}'
            f"{escape(text)}</th><td>{of_tissue:.1%}</td><td>{size}</td></tr>"
        )
    head = '<thead><tr><th></th><th scope="col">share of tissue</th><th scope="col">area</th></tr></thead>'
    scale = "" if image.mpp else '<p class="small">The scale is not known: enter the µm per pixel for areas.</p>'
    return f'<table class="numbers" data-state="done">{head}<tbody>{"".join(rows)}</tbody></table>{scale}'


def _next_step(points: Sequence[Point]) -> str:
    names = {name for name, _, _ in points}
    if not names:
        return "Click a point <b>inside</b> the tissue that you want to outline."
    if names == {OUTSIDE}:
        return "Now choose <b>● inside</b> and click at least one point in the tissue that you want to outline."
    return "Now choose <b>✕ outside</b> and click at least one point in other tissue."


SCREEN = 'vector-effect="non-scaling-stroke" stroke-linejoin="round" stroke-linecap="round"'


def _paths(found: Outline | None) -> dict[int, str]:
    """Class id -> the lines as SVG's path data."""
    if found is None:
        return {}
    return {
        name: "".join("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in line.tolist()) + "Z" for line in lines)
        for name, lines in found.regions.items()
    }


def _mark(name: int, x: float, y: float, size: float) -> str:
    """The shape of a point at (x, y): its colour, with an edge that shows on any tissue."""
    colour, s = css_colour(PALETTE[name]), size / 1.5
    if name == OUTSIDE:
        d = f"M{x - s:.1f} {y - s:.1f}L{x + s:.1f} {y + s:.1f}M{x - s:.1f} {y + s:.1f}L{x + s:.1f} {y - s:.1f}"
        return (
            f'<g data-point="{name}"><path d="{d}" stroke="#fff" stroke-width="7" {SCREEN}/>'
            f'<path d="{d}" stroke="{colour}" stroke-width="3.6" {SCREEN}/></g>'
        )
    shapes = {
        1: f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{s:.1f}"',
        2: f'<rect x="{x - s:.1f}" y="{y - s:.1f}" width="{2 * s:.1f}" height="{2 * s:.1f}"',
        3: f'<path d="M{x:.1f} {y - 1.2 * s:.1f}L{x + 1.1 * s:.1f} {y + 0.8 * s:.1f}H{x - 1.1 * s:.1f}Z"',
    }
    return f'<g data-point="{name}">{shapes[name]} fill="{colour}" stroke="#000" stroke-width="2" {SCREEN}/></g>'


def _key(name: int) -> str:
    if name == IGNORE:
        body = (
            f'<rect width="20" height="20" fill="{css_colour(UNSURE)}"/><path d="M0 14L14 0M6 20L20 6" stroke="#fff"/>'
        )
    else:
        body = _mark(name, 10, 10, 12 if name else 8)
    return f'<svg class="key" viewBox="0 0 20 20" aria-hidden="true">{body}</svg>'


def label(name: int, text: str) -> str:
    """A class in a menu: its shape and its name."""
    return f"{SYMBOLS[name]} {text}"
