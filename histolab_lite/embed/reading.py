"""Reading ahead: while the encoder works on one batch of patches, the next batches are read from the slide."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future, wait
from pathlib import Path
from types import TracebackType

import numpy as np
from openslide import OpenSlideError

from histolab_lite.data.slide_files import identify
from histolab_lite.data.slides import SlideError, patch_grid, read_patches
from histolab_lite.embed.settings import Settings

PIECE = 8  # patches per task of a reader: few, so that the first batch is ready soon
AHEAD = 2  # batches; bounds the memory


class PatchStream:
    """The tissue patches of one slide in batches, read by the threads of `pool`. Use it as a context manager.

    All threads read through one handle and share its cache of tiles. Of OpenSlide's functions only closing must not
    overlap with others (openslide.h); `close` waits for the readers first.

    Attributes
    ----------
    slide
        The open slide.
    file
        The identity of its file.
    coords : (N, 2) int64
        Level-0 (x, y) corners of the patches.

    Raises
    ------
    SlideError
        As `Slide` and `patch_grid`, and during iteration if the slide is damaged.
    """

    def __init__(self, path: str | Path, settings: Settings, pool: Executor) -> None:
        self._settings, self._pool = settings, pool
        self._pending: deque[list[Future[np.ndarray]]] = deque()
        self.slide = settings.open(path)
        try:
            self.file = identify(path)
            self.coords = patch_grid(self.slide, settings.patch, settings.mpp, settings.stride, settings.min_tissue)
            self._starts = iter(range(0, len(self.coords), settings.batch_size))
            for _ in range(AHEAD):
                self._submit()
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield batches of patches in the order of `coords`, uint8 (B, P, P, 3), once."""
        while self._pending:
            batch = np.concatenate([piece.result() for piece in self._pending[0]])
            self._pending.popleft()
            self._submit()
            yield batch

    def __enter__(self) -> PatchStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading and release the slide."""
        pieces = [piece for batch in self._pending for piece in batch]
        self._pending.clear()
        wait([piece for piece in pieces if not piece.cancel()])
        self.slide.close()

    def _submit(self) -> None:
        start = next(self._starts, None)
        if start is None:
            return
        corners = self.coords[start : start + self._settings.batch_size]
        parts = (corners[first : first + PIECE] for first in range(0, len(corners), PIECE))
        self._pending.append([self._pool.submit(self._read, part) for part in parts])

    def _read(self, corners: np.ndarray) -> np.ndarray:
        try:
            return read_patches(self.slide, corners, self._settings.patch, self._settings.mpp)
        except OpenSlideError as error:  # once a slide failed, OpenSlide refuses all threads
            raise SlideError(f"{self.slide.path} is damaged ({error}). Copy it again from its source.") from error
