"""The state of one visitor: the slide, and the seeds dropped on it. Nothing here changes in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from demos.shared import memory
from demos.shared.class_names import class_names
from demos.shared.memory import History, Unfit
from demos.sic.slides import SeedSlide

MOST_CLASSES = 6
MOST_MARKS = 600  # per slide
MOST_SLIDES = 6  # per browser
MOST_EVENTS = 100  # per message of the page
NONE = -1

Mark = tuple[int, int]  # patch, class; class -1 removes the patch's seed, patch -1 all seeds


@dataclass(frozen=True)
class Work:
    """A visitor's work on one slide. patches: their number. marks: the oldest first. held: whether seeds hold the
    centres of their clusters."""

    classes: tuple[str, ...]
    patches: int
    marks: History[Mark] = History()
    held: bool = False

    @property
    def seeds(self) -> dict[int, int]:
        """The current seeds, patch -> class, in the order in which they were dropped."""
        seeds: dict[int, int] = {}
        for patch, name in self.marks:
            if patch == NONE:
                seeds = {}
                continue
            seeds.pop(patch, None)
            if name != NONE and name < len(self.classes):
                seeds[patch] = name
        return seeds

    @property
    def labels(self) -> np.ndarray:
        """The class of each patch's seed, int64 (N,); -1 without a seed."""
        labels = np.full(self.patches, NONE, np.int64)
        for patch, name in self.seeds.items():
            labels[patch] = name
        return labels

    def apply(self, event: Any) -> Work:
        """Apply ["seed", patch, class], ["undo"], ["clear"] or ["hold", true | false]; skip any other event."""
        match event:
            case ["seed", int(patch), int(name)] if patch in range(self.patches) and name in range(len(self.classes)):
                again = self.seeds.get(patch) == name  # the same seed once more removes it
                return self._mark(patch, NONE if again else name)
            case ["clear"] if self.seeds:
                return self._mark(NONE, NONE)
            case ["undo"]:
                return replace(self, marks=self.marks.undo())
            case ["hold", bool(held)]:
                return replace(self, held=held)
        return self

    def _mark(self, patch: int, name: int) -> Work:
        full = f"This page keeps at most {MOST_MARKS} changes of seeds per slide. Undo some."
        return replace(self, marks=self.marks.add((patch, name), MOST_MARKS, full))


@dataclass(frozen=True)
class Session:
    """slide: the one on the page. token: of its tiles. works: by key of the slide, the one used last at the end.
    serial: number of the page's last message, so that one sent twice counts once."""

    slide: SeedSlide | None = None
    token: str = ""
    works: Mapping[str, Work] = field(default_factory=dict)
    serial: int = 0

    @property
    def work(self) -> Work:
        assert self.slide is not None
        kept = self.works.get(self.slide.key)
        fresh = Work(self.slide.classes, len(self.slide))
        return kept if kept is not None and kept.patches == fresh.patches else fresh

    def show(self, slide: SeedSlide, token: str) -> Session:
        session = replace(self, slide=slide, token=token)
        return session.with_work(session.work)

    def with_work(self, work: Work) -> Session:
        assert self.slide is not None
        return replace(self, works=memory.used_last(self.works, self.slide.key, work, MOST_SLIDES))

    def numbered(self, serial: int) -> Session:
        return replace(self, serial=serial)

    def apply(self, events: list[Any]) -> Session:
        """Apply the events that the page reports, in order. ValueError if there are too many seeds."""
        work = self.work
        for event in events[:MOST_EVENTS]:
            work = work.apply(event)
        return self.with_work(work)

    def rename(self, text: str) -> Session:
        """Rename the classes, with commas between the names; seeds keep their number. NamesError for bad names."""
        return self.with_work(replace(self.work, classes=class_names(text, MOST_CLASSES)))


def to_memory(session: Session) -> dict[str, Any]:
    """The state that the visitor's browser keeps."""
    kept = {
        key: {
            "classes": list(work.classes),
            "patches": work.patches,
            "marks": [list(mark) for mark in work.marks],
            "held": work.held,
        }
        for key, work in session.works.items()
        if work.marks or work.held or (session.slide and session.slide.key == key)
    }
    return memory.to_memory(slide=session.slide.key if session.slide else None, works=kept)


def from_memory(kept: Any) -> tuple[str | None, Session]:
    """The slide shown last, and a session without one. Whatever ``to_memory`` cannot have written is skipped."""
    kept = memory.from_memory(kept)
    works = memory.works(kept.get("works"), _work, MOST_SLIDES)
    shown = memory.text(kept.get("slide"))
    return shown if shown in works else None, Session(works=works)


def _work(entry: Any) -> Work:
    """The work in an entry. Unfit or NamesError if any part is wrong: seeds with wrong classes would mislead."""
    if not isinstance(entry, Mapping):
        raise Unfit
    names, marks = memory.listed(entry.get("classes")), entry.get("marks")
    (patches,) = memory.numbers([entry.get("patches")], range(1, 10**5 + 1))
    if not all(isinstance(name, str) for name in names) or not isinstance(marks, list) or len(marks) > MOST_MARKS:
        raise Unfit
    classes = class_names(",".join(names), MOST_CLASSES)
    if list(classes) != names:
        raise Unfit
    within = range(NONE, patches), range(NONE, MOST_CLASSES)
    done = (memory.numbers(mark, *within) for mark in marks)
    return Work(classes, patches, History((patch, name) for patch, name in done), entry.get("held") is True)
