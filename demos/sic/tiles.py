"""Slides as DeepZoom tiles, made on request; each slide has a secret, random token.

OpenSlide: A. Goode et al., J Pathol Inform 4:27 (2013). OpenSeadragon, which shows the tiles, lies in ``vendor`` and is
served from here too, so that the page asks no other server for anything.
"""

from __future__ import annotations

import io
import secrets
import shutil
import tempfile
import threading
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import openslide
from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, Response
from openslide.deepzoom import DeepZoomGenerator

from demos.shared.uploads import UploadError

VIEWER = Path(__file__).resolve().parent / "vendor" / "openseadragon" / "openseadragon.min.js"
TILE, OVERLAP = 254, 1
QUALITY = 80
LIFETIME = 3000.0  # seconds since an uploaded slide was looked at last; it is deleted at most a fifth later
MOST_UPLOADS = 12  # of all visitors
CUTTERS, CUTTERS_EACH = 4, 2  # tiles that are cut at a time, and per slide; one may need 40 million pixels
GONE = "This slide is not kept any longer. Reload the page, and upload your own slide again."


@dataclass
class _Shown:
    generator: DeepZoomGenerator
    upload: Path | None  # a file that is deleted with the entry
    owner: str
    used: float
    cutters: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(CUTTERS_EACH))


class Tiles:
    """Slides by token. Samples stay. An upload is deleted when it is forgotten, when nobody has looked at it for an
    hour, or when there are too many: then the owner with the most uploads loses the one unused longest. All visitors
    share it, with a lock; whoever does not know a token cannot see its slide."""

    def __init__(self, lifetime: float = LIFETIME, most: int = MOST_UPLOADS) -> None:
        self.lifetime, self.most = lifetime, most
        self.cutters = anyio.CapacityLimiter(CUTTERS)
        self._lock = threading.Lock()
        self._samples: dict[Path, str] = {}
        self._shown: OrderedDict[str, _Shown] = OrderedDict()
        self._timer: threading.Timer | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def add_sample(self, path: Path) -> str:
        """Add a file that stays. Returns its token, the same for every visitor."""
        with self._lock:
            token = self._samples.get(path)
            if token is None:
                token = self._samples[path] = self._add(path)
            return token

    def add_upload(self, path: Path, owner: str = "") -> str:
        """Move a visitor's own file here, to be deleted later. Returns its token. owner: the visitor's address.
        UploadError if the disk is full."""
        with self._lock:
            self._expire()
            kept = self._keep(path)
            try:
                token = self._add(kept, kept, owner)
            except BaseException:
                kept.unlink(missing_ok=True)
                raise
            self._make_room(token)
            self._expire_later()
            return token

    def forget(self, token: str) -> None:
        """Delete an upload; a sample stays."""
        with self._lock:
            if token in self._shown and self._shown[token].upload:
                self._forget(token)

    def layout(self, token: str) -> dict[str, Any]:
        """What the viewer needs to know of a slide. KeyError if there is none."""
        generator = self._get(token).generator
        width, height = generator.level_dimensions[-1]
        size = {"Width": width, "Height": height}
        return {"Image": {"Format": "jpeg", "Overlap": OVERLAP, "TileSize": TILE, "Size": size}, "token": token}

    async def cut(self, token: str, level: int, column: int, row: int) -> bytes:
        """Call ``tile`` in a limited number of own threads, so that slow tiles do not stop the pages from answering."""
        async with self._get(token).cutters:
            return await anyio.to_thread.run_sync(self.tile, token, level, column, row, limiter=self.cutters)

    def tile(self, token: str, level: int, column: int, row: int) -> bytes:
        """Cut a tile, as JPEG. KeyError for a slide, level or place that does not exist."""
        generator = self._get(token).generator
        if not (level < generator.level_count):
            raise KeyError(level)
        columns, rows = generator.level_tiles[level]
        if not (column < columns and row < rows):
            raise KeyError(column, row)
        file = io.BytesIO()
        generator.get_tile(level, (column, row)).save(file, "JPEG", quality=QUALITY)
        return file.getvalue()

    def _keep(self, path: Path) -> Path:
        """Move a file to the folder of uploads; if that fails, nothing is left there."""
        kept = None
        try:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="histolab-seed-")
            kept = Path(self._folder.name) / secrets.token_hex(16)
            return Path(shutil.move(path, kept))
        except FileNotFoundError:
            raise UploadError("The file did not arrive. Upload it again.") from None
        except OSError:
            if kept:
                kept.unlink(missing_ok=True)
            raise UploadError("The server has no room for this slide now. Try again later.") from None

    def _make_room(self, newest: str) -> None:
        uploads = {token: shown.owner for token, shown in self._shown.items() if shown.upload}
        while len(uploads) > self.most:
            held = Counter(uploads.values())
            most = max(held.values())
            oldest = next(token for token, owner in uploads.items() if held[owner] == most and token != newest)
            self._forget(oldest)
            del uploads[oldest]

    def _add(self, path: Path, upload: Path | None = None, owner: str = "") -> str:
        token = secrets.token_urlsafe(24)
        generator = DeepZoomGenerator(openslide.OpenSlide(path), TILE, OVERLAP)
        self._shown[token] = _Shown(generator, upload, owner, time.monotonic())
        return token

    def _get(self, token: str) -> _Shown:
        with self._lock:
            self._expire()
            shown = self._shown[token]
            shown.used = time.monotonic()
            self._shown.move_to_end(token)
            return shown

    def _expire(self) -> None:
        before = time.monotonic() - self.lifetime
        for token in [token for token, shown in self._shown.items() if shown.upload and shown.used < before]:
            self._forget(token)

    def _forget(self, token: str) -> None:
        """Remove a slide. It is closed when the last of its tiles has been cut."""
        upload = self._shown.pop(token).upload
        if upload:
            upload.unlink(missing_ok=True)

    def _expire_later(self) -> None:
        """Delete uploads even if no request comes. There is one timer for all uploads."""
        if self._timer is None:
            self._timer = threading.Timer(self.lifetime / 5, self._expire_again)
            self._timer.daemon = True
            self._timer.start()

    def _expire_again(self) -> None:
        with self._lock:
            self._timer = None
            self._expire()
            if any(shown.upload for shown in self._shown.values()):
                self._expire_later()


TILES = Tiles()


def router(tiles: Tiles = TILES) -> APIRouter:
    """Serve the tiles and the viewer's program under /slides."""
    routes = APIRouter(prefix="/slides")

    @routes.get("/openseadragon.js")
    def viewer() -> FileResponse:
        return FileResponse(VIEWER, media_type="text/javascript", headers={"Cache-Control": "max-age=86400"})

    @routes.get("/{token}/{level}/{column}_{row}.jpeg")
    async def tile(token: str, level: str, column: str, row: str) -> Response:
        numbers = (level, column, row)
        if not all(number.isascii() and number.isdigit() and len(number) <= 6 for number in numbers):
            raise HTTPException(404, GONE)
        try:
            content = await tiles.cut(token, *map(int, numbers))
        except KeyError:
            raise HTTPException(404, GONE) from None
        except openslide.OpenSlideError:
            raise HTTPException(404, "This part of the slide is damaged.") from None
        return Response(content, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})

    return routes
