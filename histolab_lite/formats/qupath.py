"""Masks as outlines that QuPath opens (File > Import objects from file), and back.

The format is GeoJSON, RFC 7946, with the properties that QuPath adds: ``objectType`` and ``classification {name,
color}``. Coordinates are (x, y) pixels of the full image, y points down, and a pixel is the unit square [x, x + 1].
The outlines run along the sides of pixels, so that drawing them gives exactly the mask again. Pixels that touch only
at a corner belong to two parts.

QuPath: Bankhead et al., "QuPath: Open source software for digital pathology image analysis", Scientific Reports 2017.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from histolab_lite.data import IGNORE
from histolab_lite.files import read_json, write_atomically
from histolab_lite.formats.masks import Palette, check_ids

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://qupath.github.io/histolab-lite")
Pair = tuple[float, float]  # (x, y)


def polygons(region: np.ndarray) -> np.ndarray:
    """Outline a bool mask (H, W) by valid shapely polygons with holes, one per 4-connected part.

    Shapely forms the faces enclosed by the sides between pixels inside and outside; the faces inside are kept.
    """
    inside = np.pad(np.asarray(region, dtype=bool), 1)
    level, upright = inside[1:] != inside[:-1], inside[:, 1:] != inside[:, :-1]  # (H + 1, W + 2), (H + 2, W + 1)
    crossing = (level[:, :-1] & level[:, 1:]) & (upright[:-1] & upright[1:])  # (H + 1, W + 1) corners of four sides
    y, x0, x1 = _runs(level[:, 1:-1], crossing)
    x, y0, y1 = _runs(upright[1:-1].T, crossing.T)
    ends = [np.stack([x0, y, x1, y], 1), np.stack([x, y0, x, y1], 1)]
    sides = shapely.linestrings(np.concatenate(ends).reshape(-1, 2, 2).astype(float))
    faces = shapely.get_parts(shapely.polygonize(sides))
    if not len(faces):
        return faces
    within = np.floor(shapely.get_coordinates(shapely.point_on_surface(faces))).astype(int)
    return faces[inside[1:-1, 1:-1][within[:, 1], within[:, 0]]]


def _runs(sides: np.ndarray, crossing: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Straight runs of unit sides along each row (R, N), cut at crossings (R, N + 1): row, first and last corner."""
    joined = sides[:, :-1] & sides[:, 1:] & ~crossing[:, 1:-1]
    never = np.zeros((len(sides), 1), bool)
    row, first = np.nonzero(sides & ~np.hstack([never, joined]))
    _, last = np.nonzero(sides & ~np.hstack([joined, never]))
    return row, first, last + 1


def to_geojson(
    mask: np.ndarray,
    class_names: Sequence[str],
    palette: Palette,
    *,
    origin: Pair = (0, 0),
    downsample: float | Pair = 1.0,
    ignore: Sequence[int] = (IGNORE,),
    background: int | None = None,
) -> dict[str, Any]:
    """Return a FeatureCollection with one annotation, a Polygon or a MultiPolygon, per class in the mask.

    The same mask and names give the same annotation ids, by which QuPath recognises an annotation.

    Parameters
    ----------
    mask : (H, W)
        Class ids.
    class_names, palette
        Name and colour of class 0, 1, ….
    origin
        Full-image (x, y) of the mask's upper left corner.
    downsample
        Full-image pixels per mask pixel, one number or (x, y).
    ignore, background
        Class ids that get no outline.

    Raises
    ------
    ValueError
        A class id has no name or no colour, or the downsample is not positive.
    """
    ids = check_ids(mask)
    _check_downsample(downsample)
    features = []
    for class_id in np.unique(ids).tolist():
        if class_id in ignore or class_id == background:
            continue
        if class_id >= min(len(class_names), len(palette)):
            raise ValueError(
                f"class {class_id} has no name or no colour: {len(class_names)} names, {len(palette)} colours."
            )
        rings = [_rings(polygon, origin, downsample) for polygon in polygons(ids == class_id)]
        single = len(rings) == 1
        geometry = {"type": "Polygon" if single else "MultiPolygon", "coordinates": rings[0] if single else rings}
        name, colour = class_names[class_id], [int(value) for value in palette[class_id]]
        features.append(
            {
                "type": "Feature",
                "id": str(uuid.uuid5(NAMESPACE, json.dumps([class_id, name, geometry]))),
                "geometry": geometry,
                "properties": {
                    "objectType": "annotation",
                    "name": name,
                    "classification": {"name": name, "color": colour},
                },
            }
        )
    return {"type": "FeatureCollection", "features": features}


def _check_downsample(downsample: float | Pair) -> None:
    if np.shape(downsample) not in ((), (2,)) or not (np.asarray(downsample) > 0).all():
        raise ValueError(f"downsample is a positive number, or two for x and y, not {downsample}.")


def _rings(polygon: shapely.Polygon, origin: Pair, downsample: float | Pair) -> list[list[list[float]]]:
    rings = [shapely.get_coordinates(ring) * downsample + origin for ring in (polygon.exterior, *polygon.interiors)]
    return [ring.astype(int).tolist() if (ring == np.floor(ring)).all() else ring.tolist() for ring in rings]


def write_geojson(
    path: str | Path, mask: np.ndarray, class_names: Sequence[str], palette: Palette, **where: Any
) -> Path:
    """Write `to_geojson(mask, class_names, palette, **where)` to a file, atomically, and return its path."""
    text = json.dumps(to_geojson(mask, class_names, palette, **where), ensure_ascii=False)
    return write_atomically(path, text.encode())


def read_geojson(
    source: str | Path | Mapping[str, Any],
    shape: tuple[int, int],
    class_names: Sequence[str],
    *,
    origin: Pair = (0, 0),
    downsample: float | Pair = 1.0,
    background: int = 0,
) -> np.ndarray:
    """Draw annotations as class ids, uint8 (H, W).

    A pixel takes the class of the last annotation that holds its centre.

    Parameters
    ----------
    source
        A GeoJSON file, or its content.
    shape
        (H, W) of the result.
    class_names
        Names of class 0, 1, ….
    origin, downsample
        As in `to_geojson`.
    background
        Class id of the pixels outside all annotations.

    Raises
    ------
    ValueError
        The source is no GeoJSON of polygons, or an annotation has another class.
    """
    _check_downsample(downsample)
    mask = np.full(shape, background, np.uint8)
    for feature in _features(source):
        name = _class_name(feature)
        if name not in class_names:
            raise ValueError(f"an annotation is classified as {name!r}; known classes: {', '.join(class_names)}.")
        rings = [(ring - origin) / downsample for ring in _all_rings(feature)]
        mask[_fill(rings, shape)] = class_names.index(name)
    return mask


def _features(source: str | Path | Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = source if isinstance(source, Mapping) else read_json(source)
    if isinstance(content, Mapping) and content.get("type") == "Feature":
        return [content]
    # QuPath also writes a bare list of features.
    features = content.get("features") if isinstance(content, Mapping) else content
    if not isinstance(features, list) or not all(isinstance(feature, Mapping) for feature in features):
        raise ValueError("this is no GeoJSON FeatureCollection: it has no list of features.")
    return features


def _class_name(feature: Mapping[str, Any]) -> str | None:
    inner: Any = feature
    for key in ("properties", "classification", "name"):
        inner = inner.get(key) if isinstance(inner, Mapping) else None
    return inner


def _all_rings(feature: Mapping[str, Any]) -> Iterator[np.ndarray]:
    """Yield closed rings (N, 2). The even-odd rule needs no distinction between outlines and holes."""
    geometry: Any = feature.get("geometry")
    kind = geometry.get("type") if isinstance(geometry, Mapping) else None
    if kind not in ("Polygon", "MultiPolygon"):
        raise ValueError(f"an annotation is a {kind}; only Polygon and MultiPolygon enclose pixels.")
    try:
        parts = [geometry["coordinates"]] if kind == "Polygon" else geometry["coordinates"]
        rings = [np.asarray(ring, dtype=float)[:, :2] for part in parts for ring in part]
    except (KeyError, TypeError, IndexError, ValueError):
        raise ValueError(f"the coordinates of a {kind} are not rings of [x, y].") from None
    for ring in rings:
        if ring.shape[1:] != (2,) or len(ring) < 4 or not np.isfinite(ring).all() or (ring[0] != ring[-1]).any():
            raise ValueError(f"a ring of a {kind} is not closed, or not of four or more points [x, y].")
        yield ring


def _fill(rings: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Find the pixels whose centres lie in closed rings of (x, y), by the even-odd rule: bool (H, W).

    A side that crosses a row of centres turns inside into outside, or back, for all centres to its right.
    """
    height, width = shape
    turns = np.zeros((height, width + 1), np.int32)
    for ring in rings:
        (x0, y0), (x1, y1) = ring[:-1].T, ring[1:].T
        first, last = (np.clip(np.ceil(edge(y0, y1) - 0.5), 0, height).astype(int) for edge in (np.minimum, np.maximum))
        rows = last - first
        side = np.repeat(np.arange(len(rows)), rows)
        row = np.arange(rows.sum()) - np.repeat(rows.cumsum() - rows, rows) + first[side]
        along = (row + 0.5 - y0[side]) / (y1 - y0)[side]
        column = np.clip(np.ceil(x0[side] + along * (x1 - x0)[side] - 0.5), 0, width).astype(int)
        np.add.at(turns, (row, column), 1)
    return np.cumsum(turns, axis=1)[:, :-1] % 2 == 1
