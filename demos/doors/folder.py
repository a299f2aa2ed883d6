"""The server's own folder for temporary files. It is deleted when the server ends; after a killed server, the next one
deletes it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX, LOCK = "histolab-demos-", "in-use.lock"


@contextlib.contextmanager
def own_folder(inside: Path | None = None) -> Iterator[Path]:
    """Make a folder for uploads, inside one that ``tempfile`` uses. inside: by default the system's folder."""
    before = tempfile.tempdir, os.environ.get("GRADIO_TEMP_DIR")
    parent = Path(inside or before[1] or tempfile.gettempdir())
    remove_abandoned(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
        uploads = folder / "uploads"
        uploads.mkdir()
        tempfile.tempdir, os.environ["GRADIO_TEMP_DIR"] = str(folder), str(uploads)
        yield uploads
    finally:
        tempfile.tempdir = before[0]
        os.environ.pop("GRADIO_TEMP_DIR")
        if before[1] is not None:
            os.environ["GRADIO_TEMP_DIR"] = before[1]
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(parent: Path) -> None:
    """Delete the folders of servers that no longer run: the system releases their locks, however they ended."""
    for folder in parent.glob(f"{PREFIX}*"):
        mine = folder.is_dir() and not folder.is_symlink() and folder.stat().st_uid == os.getuid()
        if mine and (folder / LOCK).is_file():
            with contextlib.suppress(Timeout, OSError), FileLock(folder / LOCK, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
