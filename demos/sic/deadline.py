"""A time limit for a task that takes turns with others: only its own working time counts, not the waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from typing import TypeVar

Said = TypeVar("Said")
Done = TypeVar("Done")


class Deadline:
    """seconds: of working time. late: makes the error that is raised when the time is up."""

    def __init__(
        self, seconds: float, late: Callable[[], Exception], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._left, self._late, self._clock = seconds, late, clock
        self._since = clock()

    def check(self) -> None:
        """Raise the error if the time is up; a task calls this between two ``yield`` that are far apart."""
        if self._clock() - self._since > self._left:
            raise self._late()

    def watch(self, work: Generator[Said, None, Done]) -> Generator[Said, None, Done]:
        """The same task, with a check at every ``yield``. A task that ends is never late."""
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
