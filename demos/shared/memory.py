"""What a visitor did, and what the visitor's browser keeps of it.

A browser may send anything. Each item is checked: valid ones are used, all others are left out.
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
    """A visitor's changes, the oldest first. No method changes the object; each returns a new one."""

    def add(self, change: Change, most: int, full: str = "") -> History[Change]:
        """With one more change. If there are ``most`` already: ValueError with the sentence ``full``, or without one
        the oldest change is forgotten."""
        if full and len(self) >= most:
            raise ValueError(full)
        return History((*self, change)[-most:])

    def undo(self) -> History[Change]:
        """Without the last change, if there is one."""
        return History(self[:-1])


def used_last(works: Mapping[str, Work], key: str, work: Work, most: int | None = None) -> dict[str, Work]:
    """The works with this one at the end. most: how many are kept, those that were used last."""
    others = {other: own for other, own in works.items() if other != key}
    return dict([*others.items(), (key, work)][-(most or 0) :])


class Unfit(ValueError):
    """An item that the page cannot have written."""


def to_memory(**kept: Any) -> dict[str, Any]:
    """The form in which a browser keeps its values."""
    return {"version": VERSION, **kept}


def from_memory(memory: Any) -> Mapping[str, Any]:
    """The values that ``to_memory`` wrote; empty for anything else, and for another version."""
    return memory if isinstance(memory, Mapping) and memory.get("version") == VERSION else {}


def fitting(items: Iterable[Any], read: Callable[[Any], Read]) -> list[Read]:
    """The results of ``read`` for each item, without those items for which it raises ValueError."""
    done = []
    for item in items:
        with suppress(ValueError):
            done.append(read(item))
    return done


def works(entry: Any, read: Callable[[Any], Work], most: int) -> dict[str, Work]:
    """The works by their keys, those that were used last. read: turns one entry into a work."""

    def one(item: tuple[Any, Any]) -> tuple[str, Work]:
        key, work = item
        if not isinstance(key, str) or len(key) > LONGEST_KEY:
            raise Unfit
        return key, read(work)

    return dict(fitting(list(entry.items())[-most:] if isinstance(entry, Mapping) else [], one))


def listed(entry: Any) -> list[Any]:
    """The entry if it is a list, else an empty list."""
    return entry if isinstance(entry, list) else []


def text(entry: Any) -> str | None:
    """The entry if it is a text."""
    return entry if isinstance(entry, str) else None


def numbers(entry: Any, *within: range) -> tuple[int, ...]:
    """A list of whole numbers, one within each range. Raises Unfit for anything else."""
    if not isinstance(entry, list) or len(entry) != len(within):
        raise Unfit
    if not all(is_whole(number) and number in allowed for number, allowed in zip(entry, within, strict=True)):
        raise Unfit
    return tuple(entry)


def is_whole(value: Any) -> bool:
    """Whether it is an int, but not True or False."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether it is a finite number, but not True or False."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and -1e300 < value < 1e300  # JSON allows whole numbers that are too large for a float


def clean_seconds(value: Any) -> float:
    """Seconds from 0 to LONGEST_PAUSE; 0 for anything that is not a number."""
    return round(min(max(float(value), 0.0), LONGEST_PAUSE), 2) if is_number(value) else 0.0
