"""The fast half: from points to an outline, in one call without state."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from skimage.measure import find_contours

from demos.cvm.images import InputImage, Prepared
from histolab_lite.data import IGNORE
from histolab_lite.methods import cvm

# η and λ, as the method sets them.
DEFAULTS = {name: inspect.signature(cvm.segment).parameters[name].default for name in ("eta", "lam")}


@dataclass(frozen=True, eq=False)
class Outline:
    """contrast: float (h, w) in [0, 1], on the feature grid. regions: class id -> closed lines (N, 2), (x, y) in pixels
    of the full image, to be filled by the even-odd rule. ids: uint8, of the view's size, 255 for unsure."""

    contrast: np.ndarray
    regions: dict[int, list[np.ndarray]]
    ids: np.ndarray


def outline(
    image: InputImage,
    prepared: Prepared,
    points: Mapping[int, Sequence[tuple[int, int]]],
    eta: float,
    lam: float,
    margin: float,
    shown: int,
) -> Outline:
    """Segment an image. points: class id -> (row, column) in pixels of the full image, two classes or more. shown: the
    class whose contrast is returned."""
    _, height, width = prepared.features.shape
    cells = {name: cvm.to_grid(clicked, image.size, (height, width)) for name, clicked in points.items()}
    scores = cvm.segment_classes(prepared.features, cells, eta=eta, lam=lam)
    contrast = scores.contrast[scores.classes.index(shown)].numpy()
    ids = scores.ids(prepared.tissue.shape, margin).numpy()
    maps = scores.scores.numpy()
    regions = {}
    for index, name in enumerate(scores.classes):
        lead = maps[index] - np.delete(maps, index, axis=0).max(0)
        regions[name] = _lines(lead, margin, image.size)
    return Outline(contrast, regions, ids)


def _lines(lead: np.ndarray, level: float, size: tuple[int, int]) -> list[np.ndarray]:
    """The lines along which a map (h, w) crosses a level, interpolated between the centres of its cells."""
    padded = np.pad(np.pad(lead, 1, mode="edge"), 1, constant_values=-1.0)
    scale = np.array([size[1] / lead.shape[1], size[0] / lead.shape[0]])
    lines = find_contours(padded, max(level, 1e-6))
    return [np.clip((line[:, ::-1] - 2 + 0.5) * scale, 0, size[::-1]) for line in lines]


def shares(ids: np.ndarray, tissue: np.ndarray) -> dict[int, tuple[float, float]]:
    """Class id -> (share of the image, share of the tissue), with 255 if there are unsure pixels."""
    counts = np.bincount(ids.ravel(), minlength=IGNORE + 1)
    within = np.bincount(ids[tissue], minlength=IGNORE + 1)
    return {int(name): (counts[name] / ids.size, within[name] / within.sum()) for name in np.flatnonzero(counts)}
