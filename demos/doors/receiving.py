"""Uploads: each in its own folder, under a random name that only its visitor may use."""

from __future__ import annotations

import errno
import json
import re
import secrets
import shutil
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from anyio.to_thread import run_sync
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.responses import Response

from demos.doors.refusal import Refusal

SPARE = 500 * 10**6  # bytes that uploads leave free on the disk
LONGEST_NAME = 100
FULL = "The server has no room for this file just now. Try again in a few minutes."
NOT_YOURS = "The server no longer has this file. Upload it again."


@dataclass(frozen=True)
class _Kept:
    path: Path
    visitor: str
    address: str
    size: int


class Uploads:
    """folder: the server's. room: bytes for all visitors together; one address may take half of them, and one visitor
    a fifth. An upload that is still coming counts with its largest possible size."""

    def __init__(self, folder: Path, room: int) -> None:
        self.folder, self.room = folder, room
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}
        self._coming: list[tuple[str, str, int]] = []  # visitor, address, bytes

    def own(self, visitor: str, name: str) -> Path:
        """The path of the upload of that name. Raises Refusal if it is not there, or belongs to another visitor."""
        kept = self._kept.get(name.partition("/")[0])
        if kept is None or kept.visitor != visitor or not kept.path.is_file():
            raise Refusal(400, NOT_YOURS)
        return kept.path

    async def receive(
        self, headers: Headers, body: AsyncGenerator[bytes, None], size: int, visitor: str, address: str
    ) -> Response:
        """Keep the one file of a form, and answer with its name, as Gradio's program in the browser expects.

        size: bytes, at most. Raises Refusal for any other form, or if there is no room.
        """
        with self._place(visitor, address, size):
            try:
                parser = MultiPartParser(headers, body, max_files=1, max_fields=0)
                form = await parser.parse()
                try:
                    files = [value for value in form.values() if isinstance(value, UploadFile)]
                    if len(files) != 1:
                        raise Refusal(400, "One file was expected.")
                    name = await run_sync(self._keep, files[0], visitor, address)
                finally:
                    await form.close()
            except (MultiPartException, KeyError):  # KeyError: a form without a boundary
                raise Refusal(400, "This upload cannot be understood. Upload the file again.") from None
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE):
                    raise Refusal(507, FULL) from None
                raise
        return Response(json.dumps([name]), media_type="application/json")

    def _keep(self, file: UploadFile, visitor: str, address: str) -> str:
        token = secrets.token_urlsafe(24)
        path = self.folder / token / _plain(file.filename or "")
        path.parent.mkdir()
        try:
            with path.open("xb") as target:
                shutil.copyfileobj(file.file, target, 2**20)
        except BaseException:
            shutil.rmtree(path.parent, ignore_errors=True)
            raise
        with self._lock:
            self._kept[token] = _Kept(path, visitor, address, path.stat().st_size)
        return f"{token}/{path.name}"

    @contextmanager
    def _place(self, visitor: str, address: str, size: int) -> Iterator[None]:
        coming = (visitor, address, size)
        with self._lock:
            self._kept = {token: kept for token, kept in self._kept.items() if kept.path.exists()}
            held = [*self._coming, *((kept.visitor, kept.address, kept.size) for kept in self._kept.values())]
            shares = (
                (sum(taken for _, _, taken in held), self.room),
                (sum(taken for _, of, taken in held if of == address), self.room / 2),
                (sum(taken for of, _, taken in held if of == visitor), self.room / 5),
            )
            full = any(taken + size > share for taken, share in shares)
            if full or shutil.disk_usage(self.folder).free < size + SPARE:
                raise Refusal(507, FULL)
            self._coming.append(coming)
        try:
            yield
        finally:
            with self._lock:
                self._coming.remove(coming)


def _plain(name: str) -> str:
    """A file name of letters, digits and a few signs. The extension is kept, because pages check it."""
    name = re.sub(r"[^\w. -]", "_", re.split(r"[/\\]", name)[-1]).strip(". ")
    stem, dot, suffix = name.rpartition(".")
    return f"{stem[: LONGEST_NAME - 1 - len(suffix)]}{dot}{suffix}"[-LONGEST_NAME:] or "file"
