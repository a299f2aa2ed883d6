"""An image to click on, and its features, which are computed once for all visitors."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from demos.shared.uploads import read_pixels
from histolab_lite.data.slides import tissue_mask
from histolab_lite.methods import cvm

LARGEST_VIEW = 2**20  # pixels; a larger image is shown and segmented at this size
FINEST_MPP = 0.5  # µm per pixel of the encoder's training; finer images are shrunk to it
LARGEST_GRID = 192 * 192  # places on the feature grid: 75 MB of features
CACHE_BYTES = 400 * 10**6  # features of five or six images; a dropped one is computed again in two seconds


@dataclass(frozen=True, eq=False)
class InputImage:
    """view: uint8 (h, w, 3), the image or a smaller copy. size: (rows, columns) of the full image, in whose pixels
    points and outlines are given. mpp: µm per pixel of the full image, None if unknown."""

    key: str  # a sample's name, or an upload's digest
    title: str
    view: np.ndarray
    size: tuple[int, int]
    mpp: float | None = None
    caption: str = ""  # source and licence
    note: str = ""  # tells the visitor how the file was read

    @property
    def downsample(self) -> tuple[float, float]:
        """Full pixels per pixel of the view, (x, y)."""
        return self.size[1] / self.view.shape[1], self.size[0] / self.view.shape[0]

    @property
    def work_size(self) -> tuple[int, int]:
        """(rows, columns) at which features are computed."""
        factor = 1.0 if self.mpp is None else min(1.0, self.mpp * self.downsample[0] / FINEST_MPP)
        height, width = (max(32, round(side * factor)) for side in self.view.shape[:2])
        return height, width


@dataclass(frozen=True, eq=False)
class Prepared:
    """features: (C, h, w) float32. tissue: bool, of the view's size."""

    features: torch.Tensor
    tissue: np.ndarray

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        return self.features.nbytes + self.tissue.nbytes


def make_image(rgb: np.ndarray, key: str, title: str, **more: object) -> InputImage:
    """An image with a view of at most LARGEST_VIEW pixels. rgb: uint8 (H, W, 3)."""
    height, width = rgb.shape[:2]
    factor = min(1.0, (LARGEST_VIEW / (height * width)) ** 0.5)
    view = _resize(rgb, (max(1, int(height * factor)), max(1, int(width * factor))))
    return InputImage(key, title, view, (height, width), **more)  # type: ignore[arg-type]


def read_upload(path: str | Path, forget: bool = False) -> InputImage:
    """A visitor's image, with the digest of its content as key. forget, UploadError: see ``shared.uploads``."""
    upload = read_pixels(path, forget)
    return make_image(upload.rgb, upload.digest, "Your image", mpp=upload.mpp, note=upload.note)


def prepare(image: InputImage) -> Prepared:
    """The slow half, some seconds: features, and where there is tissue."""
    height, width = image.work_size
    stride = max(4, math.ceil((height * width / LARGEST_GRID) ** 0.5))
    features = cvm.encode(_resize(image.view, image.work_size), stride=stride)
    tissue = tissue_mask(image.view)
    return Prepared(features, tissue if tissue.any() else np.ones_like(tissue))


def _resize(rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if rgb.shape[:2] == size:
        return rgb
    return np.asarray(Image.fromarray(rgb).resize(size[::-1], Image.Resampling.BOX))


class PreparedCache:
    """The prepared images that were used last, up to a number of bytes. Visitors who ask at once wait for one result.

    All visitors share it: it holds features by image, and no visitor's work.
    """

    def __init__(self, limit: int = CACHE_BYTES, make: Callable[[InputImage], Prepared] = prepare) -> None:
        self.limit, self._make = limit, make
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[str, tuple[int, int]], Future[Prepared]] = OrderedDict()

    def ready(self, image: InputImage) -> Prepared | None:
        """The prepared image if it is there already, else None, without waiting."""
        with self._lock:
            entry = self._entries.get((image.key, image.work_size))
            return entry.result() if entry and entry.done() and not entry.exception() else None

    def __call__(self, image: InputImage) -> Prepared:
        key = image.key, image.work_size
        with self._lock:
            entry = self._entries.get(key)
            mine = entry is None
            if entry is None:
                entry = self._entries[key] = Future()
            self._entries.move_to_end(key)
        if mine:
            try:
                entry.set_result(self._make(image))
            except BaseException as error:
                with self._lock:
                    self._entries.pop(key, None)
                entry.set_exception(error)
                raise
            self._trim()
        return entry.result()

    def _trim(self) -> None:
        with self._lock:
            done = {key: entry.result().nbytes for key, entry in self._entries.items() if entry.done()}
            for key in list(done)[:-1]:  # the newest stays, however large
                if sum(done.values()) <= self.limit:
                    return
                del self._entries[key], done[key]

    def __len__(self) -> int:
        return len(self._entries)
