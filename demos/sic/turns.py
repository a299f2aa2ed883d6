"""Who works next, where several pieces of work share one worker: in turns, first come first served, a slice each.

A piece of work is a generator; a slice of it is what it does up to its next ``yield``. So long a piece slows the others
down and holds none of them up. One who waits says so every ``PATIENCE`` seconds, so that a visitor who has left, whose
generator is closed, gives up the place.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

PLACES, PLACES_EACH = 8, 4  # pieces of work at a time, and of one address, from which many visitors may come
PATIENCE = 2.0  # seconds

Said, Done = TypeVar("Said"), TypeVar("Done")


class Busy(ValueError):
    """There is no place. The message is for the visitor."""


class Superseded(Exception):
    """The visitor has begun something else."""


@dataclass(frozen=True)
class Visitor:
    """address: of the network. session: of the page that is open, chosen by the browser."""

    address: str
    session: str


@dataclass(frozen=True)
class Waiting:
    """others: pieces of work that take turns with this one."""

    others: int

    def __str__(self) -> str:
        return "another slide" if self.others == 1 else f"{self.others} other slides"


@dataclass(eq=False)
class _Place:
    visitor: Visitor
    number: int = 0
    ended: bool = False


class Turns:
    """places: pieces of work at a time. each: of one address. patience: seconds."""

    def __init__(self, places: int = PLACES, each: int = PLACES_EACH, patience: float = PATIENCE) -> None:
        self.places, self.each, self.patience = places, each, patience
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._taken: list[_Place] = []
        self._asking: list[
            _Place
        ] = []  # those whose thread waits now: a visitor who never comes back must not block the others
        self._working = False

    def __len__(self) -> int:
        return len(self._taken)

    def end(self, visitor: Visitor) -> None:
        """Whatever this visitor has begun ends at its next turn: Superseded is raised from it."""
        with self._changed:
            for place in self._taken:
                place.ended = place.ended or place.visitor == visitor
            self._taken = [place for place in self._taken if not place.ended]
            self._changed.notify_all()

    def share(self, work: Generator[Said, None, Done], visitor: Visitor) -> Generator[Said | Waiting, None, Done]:
        """The same work, in turns with that of others. It ends what this visitor began before. Busy without a place."""
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
                raise Busy(f"{self.each} slides from your network are being prepared. Come back in some minutes.")
            if len(self._taken) >= self.places:
                raise Busy("Many slides are being prepared just now. Come back in some minutes.")
            place = _Place(visitor, next(self._numbers))
            self._taken.append(place)
            return place

    def _begin(self, place: _Place) -> bool:
        """Whether it is this one's turn, which lasts until ``_pause``; False once patience is at its end."""
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
