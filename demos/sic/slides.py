"""A slide to drop seeds on: its patches, their embeddings, and what is computed from them once for all visitors.

Chelebian et al., "Seeded iterative clustering for histology region identification", 2022, Sect. 2: patches of
256 pixels at 20×, 128 µm, with an overlap of one half. Here they are of 64 µm, as in the training of the default
encoder, and overlap by one half unless there would be more than ``MOST_PATCHES``.
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
MOST_DECODED = 6 * 10**9  # pixels under the patches: for each of 4,000, a tile of 1024 pixels and neighbours
MOST_SECONDS = 300.0  # of working time; a good slide takes a minute on two slow cores, or two if others use them too
CLASSES = ("tumour", "other")
TOO_SLOW = (
    f"This slide takes more than {MOST_SECONDS / 60:.0f} minutes to prepare, the longest that is allowed here. "
    "Export a part of it, or export it again with tiles of 256 pixels as JPEG."
)


@dataclass(frozen=True, eq=False)
class SeedSlide:
    """key: a sample's name, or the digest of an upload. table: the embeddings and positions of the patches. pitch:
    level-0 pixels from one patch to the next. umap: float (N, 2), to look at only. colours: uint8 (N, 3), of a UMAP in
    three dimensions. thumbnail: uint8 (h, w, 3). classes: the first names. note: for the visitor."""

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
        """Level-0 (x, y) of the grid's upper left corner. A cell is as wide as the pitch and centred on its patch."""
        x, y = self.table.coords.min(0) + (self.table.patch_size_level0 - self.pitch) / 2
        return float(x), float(y)

    @cached_property
    def cells(self) -> np.ndarray:
        """The (row, column) of each patch on the grid, int64 (N, 2)."""
        return sic.paint(np.zeros(len(self)), self.table.coords, self.pitch)[1]

    @cached_property
    def prepared(self) -> torch.Tensor:
        """The vectors that are clustered, float32 (N, R)."""
        return sic.prepare(self.table.features.astype(np.float32), self.table.coords)


@dataclass(frozen=True)
class Progress:
    """text: the current step. share: of the whole work that is done, 0 to 1."""

    text: str
    share: float


class SlideCache:
    """The prepared slides that were used last, by key. Visitors share it; it holds nothing that a visitor did."""

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
    """Corners of the patches that show tissue, level-0 (x, y), int64 (N, 2), and the stride in pixels at MPP.

    There are at most MOST_PATCHES. They overlap by one half if possible, else they lie side by side, else there are
    gaps between them, and each patch stands for the grid cell around it. check: called before each further look at the
    whole slide. UploadError if there is too little tissue.
    """
    area = math.prod(slide.dimensions) * (slide.mpp / MPP) ** 2
    stride = PATCH // 2
    while area / stride**2 > 8 * MOST_PATCHES:  # too many patches unless little of it is tissue
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
            f"No patch of {PATCH * MPP:.0f} µm at {MPP:g} µm per pixel can be cut from this slide: it is too small or "
            "too coarse, or its file is damaged."
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
    """Prepare a slide, half a minute or more: yield the progress and return the SeedSlide.

    UploadError says what is wrong with the slide, such as that it takes more than MOST_SECONDS.
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
                for x, y in corners[first : first + BATCH].tolist():
                    check()
                    patches.append(slide.read(x, y, PATCH, MPP))
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
        raise UploadError("All patches of this slide look the same, so they cannot be clustered.")
    umap, colours = yield from look(table)
    return SeedSlide(key, title, table, pitch, umap, colours, thumbnail, classes, caption, note=_note(stride))


def look(table: SlideEmbeddings) -> Generator[Progress, None, tuple[np.ndarray, np.ndarray]]:
    """Return a UMAP within 0 to 1, float32 (N, 2), and colours, uint8 (N, 3). The first call takes a minute."""
    from histolab_lite.plots import to_plane  # imported here because UMAP takes seconds to import

    prepared = sic.prepare(table.features.astype(np.float32), table.coords)
    yield Progress("Computing the map of patches (UMAP)", 0.75)
    plane = to_plane(prepared.numpy())
    yield Progress("Computing the embedding colours (UMAP)", 0.88)
    (colours,) = sic.umap_colours([prepared])
    lowest, span = plane.min(0), max(float(np.ptp(plane, axis=0).max()), 1e-9)
    return ((plane - lowest) / span).astype(np.float32), colours


def _note(stride: int) -> str:
    if stride <= PATCH // 2:
        return ""
    apart = stride * MPP
    gaps = ". There are gaps between them, so each patch stands for the area around it" if stride > PATCH else ""
    return (
        f"This slide is large. It is covered by at most {MOST_PATCHES:,} patches of {PATCH * MPP:.0f} µm, one every "
        f"{apart:.0f} µm{gaps}."
    )
