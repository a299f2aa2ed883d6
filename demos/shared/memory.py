"""What a visitor did, and what the visitor's browser keeps of it. A browser may report or hand back anything: what fits
is taken, item by item, and the rest is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

VERSION = 1
LONGEST_KEY = 100
LONGEST_PAUSE = 600.0  # seconds

Change = TypeVar("Change")
Read = TypeVar("Read")
Work = TypeVar("Work")


class History(tuple[Change, ...]):
    """Changes, the oldest first. Nothing changes in place."""

    def add(self, change: Change, most: int, full: str = "") -> History[Change]:
        """ValueError, with the sentence ``full``, where there are as many as there may be; without it the oldest is
        forgotten."""
        if full and len(self) >= most:
            raise ValueError(full)
        return History((*self, change)[-most:])

    def undo(self) -> History[Change]:
        """Without the last change, if there is one."""
        return History(self[:-1])


def used_last(works: Mapping[str, Work], key: str, work: Work, most: int | None = None) -> dict[str, Work]:
    """With this work under its key, at the end. most: how many are kept, those that were used last."""
    others = {other: own for other, own in works.items() if other != key}
    return dict([*others.items(), (key, work)][-(most or 0) :])


class Unfit(ValueError):
    """What the page cannot have written."""


def to_memory(**kept: Any) -> dict[str, Any]:
    """What a browser keeps."""
    return {"version": VERSION, **kept}


def from_memory(memory: Any) -> Mapping[str, Any]:
    """What ``to_memory`` made; empty for anything else, and for another version."""
    return memory if isinstance(memory, Mapping) and memory.get("version") == VERSION else {}


def fitting(items: Iterable[Any], read: Callable[[Any], Read]) -> list[Read]:
    """What ``read`` makes of each item. What it refuses, by a ValueError, is left out."""
    done = []
    for item in items:
        with suppress(ValueError):
            done.append(read(item))
    return done


def works(entry: Any, read: Callable[[Any], Work], most: int) -> dict[str, Work]:
    """By key, those used last. read: of one work."""

    def one(item: tuple[Any, Any]) -> tuple[str, Work]:
        key, work = item
        if not isinstance(key, str) or len(key) > LONGEST_KEY:
            raise Unfit
        return key, read(work)

    return dict(fitting(list(entry.items())[-most:] if isinstance(entry, Mapping) else [], one))


def listed(entry: Any) -> list[Any]:
    """Empty for what is no list."""
    return entry if isinstance(entry, list) else []


def text(entry: Any) -> str | None:
    return entry if isinstance(entry, str) else None


def numbers(entry: Any, *within: range) -> tuple[int, ...]:
    """A list of as many whole numbers, each within its range. Raises Unfit for anything else."""
    if not isinstance(entry, list) or len(entry) != len(within):
        raise Unfit
    if not all(is_whole(number) and number in allowed for number, allowed in zip(entry, within, strict=True)):
        raise Unfit
    return tuple(entry)


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Finite, and neither True nor False."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and -1e300 < value < 1e300  # JSON has whole numbers that no float holds


def clean_seconds(value: Any) -> float:
    """Seconds, within reason."""
    return round(min(max(float(value), 0.0), LONGEST_PAUSE), 2) if is_number(value) else 0.0
