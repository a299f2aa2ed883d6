"""Which slide one visitor looks at, and which seeds were dropped on it. Nothing here changes in place."""

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
MOST_MARKS = 600  # a slide
MOST_SLIDES = 6  # that a browser keeps
MOST_EVENTS = 100  # in one message of the page
NONE = -1

Mark = tuple[int, int]  # patch, class; class -1 takes the patch's seed away, patch -1 all seeds


@dataclass(frozen=True)
class Work:
    """What was done on one slide. patches: how many it has. marks: the oldest first. held: whether seeds hold the
    centres of their clusters."""

    classes: tuple[str, ...]
    patches: int
    marks: History[Mark] = History()
    held: bool = False

    @property
    def seeds(self) -> dict[int, int]:
        """Patch -> class, of those that stand, in the order in which they were dropped."""
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
        """int64 (N,), -1 without a seed."""
        labels = np.full(self.patches, NONE, np.int64)
        for patch, name in self.seeds.items():
            labels[patch] = name
        return labels

    def apply(self, event: Any) -> Work:
        """["seed", patch, class], ["undo"], ["clear"], ["hold", true | false]; what cannot be meant changes nothing."""
        match event:
            case ["seed", int(patch), int(name)] if patch in range(self.patches) and name in range(len(self.classes)):
                again = self.seeds.get(patch) == name  # a seed, dropped again, is taken away
                return self._mark(patch, NONE if again else name)
            case ["clear"] if self.seeds:
                return self._mark(NONE, NONE)
            case ["undo"]:
                return replace(self, marks=self.marks.undo())
            case ["hold", bool(held)]:
                return replace(self, held=held)
        return self

    def _mark(self, patch: int, name: int) -> Work:
        full = f"{MOST_MARKS} seeds and changes are as many as this page keeps. Undo some."
        return replace(self, marks=self.marks.add((patch, name), MOST_MARKS, full))


@dataclass(frozen=True)
class Session:
    """slide: the one on the page, whose tiles are served under ``token``. works: by key of the slide, the last used at
    the end. serial: of the page's last message, so that one sent twice counts once."""

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
        """What the page reports, one after another. ValueError for one seed too many."""
        work = self.work
        for event in events[:MOST_EVENTS]:
            work = work.apply(event)
        return self.with_work(work)

    def rename(self, text: str) -> Session:
        """Other classes, by names with commas between; seeds keep their number. NamesError says what is wrong."""
        return self.with_work(replace(self.work, classes=class_names(text, MOST_CLASSES)))


def to_memory(session: Session) -> dict[str, Any]:
    """What the visitor's browser keeps."""
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
    """The slide shown last, and a session without one. Whatever ``to_memory`` did not write is left out."""
    kept = memory.from_memory(kept)
    works = memory.works(kept.get("works"), _work, MOST_SLIDES)
    shown = memory.text(kept.get("slide"))
    return shown if shown in works else None, Session(works=works)


def _work(entry: Any) -> Work:
    """Unfit, or NamesError, where anything in it does not fit: seeds of some other classes would mislead."""
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
    done = History(memory.numbers(mark, *within) for mark in marks)
    return Work(classes, patches, done, entry.get("held") is True)
