"""A slide to drop seeds on: patches, their embeddings, and what is computed from them once, for every visitor.

Chelebian et al., "Seeded iterative clustering for histology region identification", 2022, Sect. 2: patches of
256 pixels at 20×, 128 µm, half of each shared with the next. Here they are of 64 µm, which the default encoder was
trained on, and half overlapping as long as they are no more than ``MOST_PATCHES``.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import openslide
import torch

from demos.shared.uploads import UploadError
from demos.sic.deadline import Deadline
from demos.sic.decoding import Pyramid
from demos.sic.opening import MPP, PATCH, THUMBNAIL, open_slide
from histolab_lite.data.slides import Slide, SlideError, patch_grid
from histolab_lite.embed.settings import encoder_revision
from histolab_lite.formats.embeddings import SlideEmbeddings
from histolab_lite.methods import sic
from histolab_lite.models.encoder import load_encoder

MOST_PATCHES, FEWEST_PATCHES = 4000, 20
BATCH = 64
MOST_DECODED = 6 * 10**9  # pixels under the patches: 4,000 times a tile of 1024 pixels, and those beside it
MOST_SECONDS = 300.0  # of its own work: a good slide takes a minute on two slow cores, two where others use them too
CLASSES = ("tumour", "other")
TOO_SLOW = (
    f"This slide takes more than {MOST_SECONDS / 60:.0f} minutes to prepare, longer than can be spent on it here. "
    "Export a part of it, or export it again with tiles of 256 pixels as JPEG."
)


@dataclass(frozen=True, eq=False)
class SeedSlide:
    """key: a sample's name, or the digest of an upload. table: embeddings, and where the patches lie. pitch: level-0
    pixels from a patch to the next. umap: float (N, 2), for looking only. colours: uint8 (N, 3), of a UMAP in three
    dimensions. thumbnail: uint8 (h, w, 3). classes: to begin with. note: what to know about how it was read."""

    key: str
    title: str
    table: SlideEmbeddings
    pitch: float
    umap: np.ndarray
    colours: np.ndarray
    thumbnail: np.ndarray
    classes: tuple[str, ...] = CLASSES
    caption: str = ""
    note: str = ""

    def __len__(self) -> int:
        return len(self.table)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), level-0 pixels."""
        assert self.table.slide_size is not None
        return self.table.slide_size

    @property
    def origin(self) -> tuple[float, float]:
        """Level-0 (x, y) of the grid's upper left corner: a cell, as wide as the pitch, lies in the middle of its
        patch."""
        x, y = self.table.coords.min(0) + (self.table.patch_size_level0 - self.pitch) / 2
        return float(x), float(y)

    @cached_property
    def cells(self) -> np.ndarray:
        """(row, column) of each patch on the grid: int64 (N, 2)."""
        return sic.paint(np.zeros(len(self)), self.table.coords, self.pitch)[1]

    @cached_property
    def prepared(self) -> torch.Tensor:
        """What is clustered, (N, R) float32."""
        return sic.prepare(self.table.features.astype(np.float32), self.table.coords)

    @property
    def nbytes(self) -> int:
        return self.table.features.nbytes + self.thumbnail.nbytes + 100 * len(self)


@dataclass(frozen=True)
class Progress:
    """What is being done, and how much of it is: 0 to 1."""

    text: str
    share: float


class SlideCache:
    """Slides that were prepared, those used last, by the digest of their content. It is shared and holds nothing that
    a visitor did."""

    def __init__(self, limit: int = 12) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._slides: OrderedDict[str, SeedSlide] = OrderedDict()

    def get(self, key: str) -> SeedSlide | None:
        with self._lock:
            if key in self._slides:
                self._slides.move_to_end(key)
            return self._slides.get(key)

    def add(self, slide: SeedSlide) -> None:
        with self._lock:
            self._slides[slide.key] = slide
            self._slides.move_to_end(slide.key)
            while len(self._slides) > self.limit:
                self._slides.popitem(last=False)


def lay_grid(slide: Slide, check: Callable[[], None] = lambda: None) -> tuple[np.ndarray, int]:
    """Corners of patches that show tissue, int64 (N, 2), and the pixels at MPP from one to the next.

    At most MOST_PATCHES: half overlapping where that many will do, else side by side, else with gaps; then each stands
    for the cell of the grid around it. check: is called each time before the slide is looked at as a whole again.
    UploadError without tissue enough.
    """
    area = math.prod(slide.dimensions) * (slide.mpp / MPP) ** 2
    stride = PATCH // 2
    while area / stride**2 > 8 * MOST_PATCHES:  # hopeless, unless hardly any of it is tissue
        stride += PATCH // 2
    try:
        corners = _corners(slide, stride)
        if len(corners) > MOST_PATCHES:
            stride = math.ceil(stride * math.sqrt(len(corners) / MOST_PATCHES) / 8) * 8
            corners = _corners(slide, stride)
        while len(corners) > MOST_PATCHES:
            check()
            stride += 8
            corners = _corners(slide, stride)
    except SlideError:
        raise UploadError(
            f"No patch of {PATCH * MPP:.0f} µm at {MPP:g} µm per pixel can be cut from this slide: it is too small, "
            "too coarse, or damaged."
        ) from None
    if len(corners) < FEWEST_PATCHES:
        raise UploadError(
            f"Only {len(corners)} patches of this slide show tissue; {FEWEST_PATCHES} are needed. Is its scale right?"
        )
    return corners, stride


def _corners(slide: Slide, stride: int) -> np.ndarray:
    cell = max(PATCH, stride)
    inset = round((cell - PATCH) / 2 * MPP / slide.mpp)
    return patch_grid(slide, cell, MPP, stride) + inset


def prepare(
    path: Path,
    key: str,
    title: str,
    mpp: float | None = None,
    caption: str = "",
    classes: tuple[str, ...] = CLASSES,
) -> Generator[Progress, None, SeedSlide]:
    """The slow half, half a minute or more: yields how far it is, and returns the SeedSlide.

    UploadError says why there is none, such as that it takes more than MOST_SECONDS.
    """
    deadline = Deadline(MOST_SECONDS, lambda: UploadError(TOO_SLOW))
    return deadline.watch(_prepare(path, key, title, mpp, caption, classes, deadline.check))


def _prepare(
    path: Path,
    key: str,
    title: str,
    mpp: float | None,
    caption: str,
    classes: tuple[str, ...],
    check: Callable[[], None],
) -> Generator[Progress, None, SeedSlide]:
    yield Progress("Looking for tissue", 0.0)
    with open_slide(path, mpp) as slide:
        corners, stride = lay_grid(slide, check)
        if Pyramid.of(path).under(corners, PATCH, MPP / slide.mpp) > MOST_DECODED:
            raise UploadError("This slide's tiles are too large to read so many patches. Export it with smaller tiles.")
        encoder = load_encoder("default")
        features = []
        try:
            for first in range(0, len(corners), BATCH):
                yield Progress(f"Embedding {len(corners):,} patches", 0.05 + 0.7 * first / len(corners))
                patches = []
                for corner in corners[first : first + BATCH]:
                    check()
                    patches.append(slide.read(*corner, PATCH, MPP))
                features.append(encoder.embed(np.stack(patches)).numpy())
            check()
            thumbnail = slide.thumbnail(max_size=THUMBNAIL)
        except (SlideError, openslide.OpenSlideError):
            raise UploadError("A part of this slide is damaged. Copy it again from its source.") from None
        table = SlideEmbeddings(
            name=key[:16],
            features=np.concatenate(features),
            coords=corners,
            patch_size=PATCH,
            patch_size_level0=round(PATCH * MPP / slide.mpp),
            mpp=MPP,
            overlap=max(0, PATCH - stride),
            slide_mpp=slide.mpp,
            slide_size=slide.dimensions,
            encoder=encoder.name,
            encoder_revision=encoder_revision(encoder),
            min_tissue=0.5,
        )
        pitch = stride * MPP / slide.mpp
    if not np.ptp(table.features, axis=0).any():
        raise UploadError("All patches of this slide look the same: there is nothing to tell apart.")
    umap, colours = yield from look(table)
    return SeedSlide(key, title, table, pitch, umap, colours, thumbnail, classes, caption, note=_note(stride))


def look(table: SlideEmbeddings) -> Generator[Progress, None, tuple[np.ndarray, np.ndarray]]:
    """Returns a UMAP, float32 (N, 2) within 0 to 1, and colours, uint8 (N, 3); the first time that takes a minute."""
    from histolab_lite.plots import to_plane  # here, since it and UMAP take long to import

    prepared = sic.prepare(table.features.astype(np.float32), table.coords)
    yield Progress("Laying out the map of patches (UMAP)", 0.75)
    plane = to_plane(prepared.numpy())
    yield Progress("Colouring patches by likeness (UMAP)", 0.88)
    (colours,) = sic.umap_colours([prepared])
    lowest, span = plane.min(0), max(float(np.ptp(plane, axis=0).max()), 1e-9)
    return ((plane - lowest) / span).astype(np.float32), colours


def _note(stride: int) -> str:
    if stride <= PATCH // 2:
        return ""
    apart = stride * MPP
    gaps = " with gaps between, so each stands for what lies around it" if stride > PATCH else ""
    return (
        f"This slide is large: it is looked at by {MOST_PATCHES:,} patches at most, of {PATCH * MPP:.0f} µm, one every "
        f"{apart:.0f} µm{gaps}."
    )
