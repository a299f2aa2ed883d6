"""Several tasks share one worker in turns: first come, first served, one slice of work per turn.

A task is a generator, and a slice is its work up to the next ``yield``. So a long task slows the others down but does
not block them. A waiting task reports every ``PATIENCE`` seconds, so that the generator of a visitor who has left is
closed and gives up its place.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

PLACES, PLACES_EACH = 8, 4  # tasks at a time, and per address, which many visitors may share
PATIENCE = 2.0  # seconds

Said = TypeVar("Said")
Done = TypeVar("Done")


class Busy(ValueError):
    """There is no place for another task. The message is for the visitor."""


class Superseded(Exception):
    """The visitor has started another task."""


@dataclass(frozen=True)
class Visitor:
    """address: in the network. session: of the open page, chosen by the browser."""

    address: str
    session: str


@dataclass(frozen=True)
class Waiting:
    """others: the number of tasks that take turns with this one."""

    others: int

    def __str__(self) -> str:
        return "another slide" if self.others == 1 else f"{self.others} other slides"


@dataclass(eq=False)
class _Place:
    visitor: Visitor
    number: int = 0
    ended: bool = False


class Turns:
    """places: tasks at a time. each: tasks per address. patience: seconds."""

    def __init__(self, places: int = PLACES, each: int = PLACES_EACH, patience: float = PATIENCE) -> None:
        self.places, self.each, self.patience = places, each, patience
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._taken: list[_Place] = []
        # Only those whose thread waits now: a visitor who never comes back must not block the others.
        self._asking: list[_Place] = []
        self._working = False

    def __len__(self) -> int:
        return len(self._taken)

    def end(self, visitor: Visitor) -> None:
        """End the tasks of a visitor: each raises Superseded at its next turn."""
        with self._changed:
            for place in self._taken:
                place.ended = place.ended or place.visitor == visitor
            self._taken = [place for place in self._taken if not place.ended]
            self._changed.notify_all()

    def share(self, work: Generator[Said, None, Done], visitor: Visitor) -> Generator[Said | Waiting, None, Done]:
        """The same task, in turns with others. It ends the visitor's earlier tasks. Busy if there is no place."""
        with closing(work):
            self.end(visitor)
            place = self._enter(visitor)
            try:
                while True:
                    while not self._begin(place):
                        yield Waiting(len(self) - 1)
                    try:
                        said = next(work)
                    except StopIteration as done:
                        return done.value
                    finally:
                        self._pause(place)
                    yield said
            finally:
                self._leave(place)

    def _enter(self, visitor: Visitor) -> _Place:
        with self._changed:
            if sum(place.visitor.address == visitor.address for place in self._taken) >= self.each:
                raise Busy(f"{self.each} slides from your network are being prepared. Try again in a few minutes.")
            if len(self._taken) >= self.places:
                raise Busy("Many slides are being prepared now. Try again in a few minutes.")
            place = _Place(visitor, next(self._numbers))
            self._taken.append(place)
            return place

    def _begin(self, place: _Place) -> bool:
        """Wait for the turn, which lasts until ``_pause``. False if it has not come before patience ran out."""
        with self._changed:
            self._asking.append(place)
            try:
                self._changed.wait_for(lambda: place.ended or self._is_next(place), self.patience)
                if place.ended:
                    raise Superseded
                mine = self._is_next(place)
                self._working = self._working or mine
                return mine
            finally:
                self._asking.remove(place)
                self._changed.notify_all()

    def _is_next(self, place: _Place) -> bool:
        return not self._working and place.number == min(other.number for other in self._asking)

    def _pause(self, place: _Place) -> None:
        with self._changed:
            self._working = False
            place.number = next(self._numbers)
            self._changed.notify_all()

    def _leave(self, place: _Place) -> None:
        with self._changed:
            self._taken = [other for other in self._taken if other is not place]
            self._changed.notify_all()
