"""What a page computes before its first visitor asks: while the server answers already, one page after the other."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

_worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="warming")


def soon(work: Callable[[], object]) -> None:
    """Do this once what was asked for earlier is done. An error is told in the server's log."""
    _worker.submit(work).add_done_callback(Future.result)
