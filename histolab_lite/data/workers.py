"""Worker processes that end with the process that started them; joblib's own would wait five minutes for work."""

from __future__ import annotations

import os
import time
from threading import Thread
from typing import Any

from joblib import Parallel


def parallel(n_jobs: int, **options: Any) -> Parallel:
    """Return joblib's `Parallel` with such worker processes; `options` are passed on."""
    return Parallel(n_jobs=n_jobs, initializer=_end_with, initargs=(os.getpid(),), **options)


def _end_with(parent: int) -> None:
    Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
