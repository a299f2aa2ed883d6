"""Work that a page does before its first visitor comes, in the background, one page after the other."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

_worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="warming")


def soon(work: Callable[[], object]) -> None:
    """Do this after all earlier work. An error is written to the server's log."""
    _worker.submit(work).add_done_callback(Future.result)
