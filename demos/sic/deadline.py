"""Seconds of its own that a piece of work may take; those in which it waits for its turn do not count."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from typing import TypeVar

Said, Done = TypeVar("Said"), TypeVar("Done")


class Deadline:
    """late: makes the error that is raised once the time is up."""

    def __init__(
        self, seconds: float, late: Callable[[], Exception], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._left, self._late, self._clock = seconds, late, clock
        self._since = clock()

    def check(self) -> None:
        """For work that takes long between two of its ``yield``."""
        if self._clock() - self._since > self._left:
            raise self._late()

    def watch(self, work: Generator[Said, None, Done]) -> Generator[Said, None, Done]:
        """The same work, which is late at a ``yield`` too. What is done is done, however late."""
        with closing(work):
            while True:
                self._since = self._clock()
                try:
                    said = next(work)
                except StopIteration as done:
                    return done.value
                self.check()
                self._left -= self._clock() - self._since
                yield said
