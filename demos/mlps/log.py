"""A visitor's tags as a log of changes, saved as JSON lines.

The first line names the patches and the classes. Every other line is one change: a class is there, is not there, or is
open again (null), or a patch is done. The latest change of each counts, so a program that reads the file need not know
about undo. A class that was left open on a patch that is done is not there.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from statistics import median
from typing import Any, TypeGuard

from demos.shared.class_names import NamesError, class_names
from demos.shared.memory import LONGEST_PAUSE, is_whole

VERSION = 1
MOST_PATCHES = 1000
LARGEST_PATCH = 4096  # pixels per side
MOST_RECORDS = 5000  # per set


class LogError(ValueError):
    """The log cannot be used. The message is for the visitor."""


@dataclass(frozen=True)
class Header:
    """key: identifies the patches. title: for people, not compared. patches: their number. size: pixels per side."""

    key: str
    title: str = field(compare=False)
    classes: tuple[str, ...]
    patches: int
    size: int

    def to_json(self) -> dict[str, Any]:
        return {
            "tags": VERSION,
            "set": self.key,
            "title": self.title,
            "classes": list(self.classes),
            "patches": self.patches,
            "size": self.size,
        }


@dataclass(frozen=True)
class Record:
    """One change. name: a class, or None for the patch as a whole. value: of a class, there, not there, or None for
    open again; of a patch, done or not. seconds: spent on the patch since the last record. undo: whether it takes the
    last change back. at: time, UTC."""

    patch: int
    name: str | None
    value: bool | None
    seconds: float = 0.0
    undo: bool = False
    at: str = ""

    def to_json(self) -> dict[str, Any]:
        what = {"done": self.value} if self.name is None else {"class": self.name, "present": self.value}
        undone = {"undo": True} if self.undo else {}
        return {"patch": self.patch, **what, **undone, "seconds": round(self.seconds, 2), "at": self.at}


@dataclass(frozen=True)
class Log:
    header: Header
    records: tuple[Record, ...] = ()

    @cached_property
    def _state(self) -> tuple[dict[int, dict[str | None, bool]], dict[int, float], list[tuple[int, str | None, Any]]]:
        """Values by patch and class (None: done), seconds by patch, and what undo brings back, the latest last."""
        values: dict[int, dict[str | None, bool]] = {}
        seconds: dict[int, float] = {}
        undoable: list[tuple[int, str | None, Any]] = []
        for record in self.records:
            own = values.setdefault(record.patch, {})
            if record.undo:
                undoable = undoable[:-1]
            else:
                undoable.append((record.patch, record.name, own.get(record.name)))
            if record.value is None:
                own.pop(record.name, None)
            else:
                own[record.name] = record.value
            seconds[record.patch] = seconds.get(record.patch, 0.0) + record.seconds
        return values, seconds, undoable

    def value(self, patch: int, name: str) -> bool | None:
        return self._state[0].get(patch, {}).get(name)

    @property
    def done(self) -> list[int]:
        """Patches that are done, in order."""
        return sorted(patch for patch, values in self._state[0].items() if values.get(None))

    def tagged(self, patch: int) -> list[str]:
        """Classes that are there, in order."""
        return [name for name in self.header.classes if self.value(patch, name)]

    def seconds(self, patch: int) -> float:
        return self._state[1].get(patch, 0.0)

    @property
    def median_seconds(self) -> float | None:
        """Median over the patches that are done and took time."""
        spent = [self.seconds(patch) for patch in self.done if self.seconds(patch) > 0]
        return median(spent) if spent else None

    def set(self, patch: int, name: str | None, value: bool | None, seconds: float) -> Log:
        """Add a change. LogError if there are too many."""
        return self._add(Record(patch, name, value, seconds))

    def undo(self, seconds: float) -> Log:
        """Take the last change back; the time spent is kept."""
        undoable = self._state[2]
        if not undoable:
            return self
        patch, name, before = undoable[-1]
        return self._add(Record(patch, name, bool(before) if name is None else before, seconds, undo=True))

    def _add(self, record: Record) -> Log:
        if len(self.records) >= MOST_RECORDS:
            raise LogError(f"This set has {MOST_RECORDS} changes, the most it can hold. Save the log, then start over.")
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return replace(self, records=(*self.records, replace(record, at=now)))

    def to_json(self) -> list[dict[str, Any]]:
        return [self.header.to_json(), *(record.to_json() for record in self.records)]


def to_lines(log: Log) -> bytes:
    """The log as JSON lines, to be saved and loaded again."""
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in log.to_json()).encode()


def to_table(log: Log, corners: Sequence[tuple[int, int]]) -> bytes:
    """CSV, one row per patch that is done: its number from 1, its corner, 1 or 0 per class, seconds."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["patch", "row", "column", *log.header.classes, "seconds"])
    for patch in log.done:
        tags = [int(bool(log.value(patch, name))) for name in log.header.classes]
        writer.writerow([patch + 1, *corners[patch], *tags, f"{log.seconds(patch):.1f}"])
    return file.getvalue().encode("utf-8-sig")  # the byte order mark tells spreadsheets that names are UTF-8


def from_lines(content: bytes) -> tuple[Log, bool]:
    """The log in a visitor's file, and whether its last line was cut off and skipped. LogError names the wrong line."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.reason != "unexpected end of data":
            raise LogError("This is not a file of tags: it holds something other than text.") from None
        text = content[: error.start].decode("utf-8-sig")
    lines = text.split("\n")
    entries: list[Any] = []
    cut = False
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entries.append(json.loads(line))
        except (ValueError, RecursionError):
            if number == 1 or number < len(lines):  # a complete line ends in a line break
                raise LogError(f"Line {number} is not a tag. Choose a log that was saved on this page.") from None
            cut = True
    if not entries:
        raise LogError("This file is empty: there are no tags in it.")
    return from_json(entries), cut


def from_json(entries: Iterable[Any]) -> Log:
    """The log that ``Log.to_json`` wrote. LogError for anything else."""
    first, *rest = entries
    header = header_from_json(first)
    if header is None:
        raise LogError("The first line of this file does not name patches and classes: it was not saved by this page.")
    if len(rest) > MOST_RECORDS:
        raise LogError(f"This file holds {len(rest)} changes; at most {MOST_RECORDS} can be read.")
    records = []
    for number, entry in enumerate(rest, 2):
        record = record_from_json(entry, header)
        if record is None:
            raise LogError(f"Line {number} is not a valid tag for the {header.patches} patches and their classes.")
        records.append(record)
    return Log(header, tuple(records))


def header_from_json(entry: Any) -> Header | None:
    """The header, or None if the entry is no valid one."""
    if not isinstance(entry, Mapping) or entry.get("tags") != VERSION or isinstance(entry["tags"], bool):
        return None
    key, title, names = entry.get("set"), entry.get("title"), entry.get("classes")
    patches, size = entry.get("patches"), entry.get("size")
    if not (isinstance(key, str) and isinstance(title, str) and 0 < len(key) <= 100 and len(title) <= 100):
        return None
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        return None
    try:
        classes = class_names(",".join(names)) if names else ()
    except NamesError:
        return None
    if list(classes) != names or not (_is_within(patches, 1, MOST_PATCHES) and _is_within(size, 1, LARGEST_PATCH)):
        return None
    return Header(key, title, classes, patches, size)


def _is_within(value: Any, least: int, most: int) -> TypeGuard[int]:
    return is_whole(value) and least <= value <= most


def record_from_json(entry: Any, header: Header) -> Record | None:
    """The record, or None if the entry is no valid change of these patches and classes."""
    if not isinstance(entry, Mapping) or not _is_within(entry.get("patch"), 0, header.patches - 1):
        return None
    seconds, undo, at = entry.get("seconds", 0.0), entry.get("undo", False), entry.get("at", "")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST_PAUSE:
        return None
    if not isinstance(undo, bool) or not isinstance(at, str) or len(at) > 30:
        return None
    if "done" in entry and isinstance(entry["done"], bool) and "class" not in entry:
        return Record(entry["patch"], None, entry["done"], float(seconds), undo, at)
    value = entry.get("present", "")
    if entry.get("class") in header.classes and (value is None or isinstance(value, bool)):
        return Record(entry["patch"], entry["class"], value, float(seconds), undo, at)
    return None
