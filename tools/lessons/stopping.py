"""SIGINT, SIGTERM and SIGHUP are heard where it is safe to stop, so that what is being written is written whole."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stopped(Exception):
    """A signal stopped the run; `done` lessons had come to their end."""

    def __init__(self, number: int, done: int) -> None:
        super().__init__(f"Stopped by {signal.Signals(number).name}")
        self.done, self.status = done, 128 + number


@contextmanager
def stops() -> Iterator[list[int]]:
    """The signals that came, in a list that grows. One that the caller had ignored, as nohup does, stays ignored."""
    heard: list[int] = []
    before = {x: signal.getsignal(x) for x in SIGNALS if signal.getsignal(x) is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, lambda number, _: heard.append(number))
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
