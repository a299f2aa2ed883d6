"""Which slide one visitor looks at, and which seeds were dropped on it. Nothing here changes in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from demos.shared.class_names import NamesError, class_names
from demos.shared.reported import is_whole
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
    marks: tuple[Mark, ...] = ()
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
                return replace(self, marks=self.marks[:-1])
            case ["hold", bool(held)]:
                return replace(self, held=held)
        return self

    def _mark(self, patch: int, name: int) -> Work:
        if len(self.marks) >= MOST_MARKS:
            raise ValueError(f"{MOST_MARKS} seeds and changes are as many as this page keeps. Undo some.")
        return replace(self, marks=(*self.marks, (patch, name)))


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
        kept = {key: own for key, own in self.works.items() if key != self.slide.key}
        return replace(self, works=dict([*kept.items(), (self.slide.key, work)][-MOST_SLIDES:]))

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
    return {"version": 1, "slide": session.slide.key if session.slide else None, "works": kept}


def from_memory(memory: Any) -> tuple[str | None, Session]:
    """The slide shown last, and a session without one. Whatever ``to_memory`` did not write is left out: it comes from
    outside."""
    if not isinstance(memory, Mapping) or memory.get("version") != 1:
        return None, Session()
    shown, kept = memory.get("slide"), memory.get("works")
    works = {}
    for key, entry in list(kept.items())[-MOST_SLIDES:] if isinstance(kept, Mapping) else []:
        work = _work(entry)
        if isinstance(key, str) and len(key) <= 64 and work is not None:
            works[key] = work
    return shown if isinstance(shown, str) and shown in works else None, Session(works=works)


def _work(entry: Any) -> Work | None:
    if not isinstance(entry, Mapping):
        return None
    names, patches, marks = entry.get("classes"), entry.get("patches"), entry.get("marks")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or not is_whole(patches):
        return None
    try:
        classes = class_names(",".join(names), MOST_CLASSES)
    except NamesError:
        return None
    if list(classes) != names or not 0 < patches <= 10**5 or not isinstance(marks, list) or len(marks) > MOST_MARKS:
        return None
    for mark in marks:
        if not (isinstance(mark, list) and len(mark) == 2 and all(map(is_whole, mark))):
            return None
        if not (NONE <= mark[0] < patches and NONE <= mark[1] < MOST_CLASSES):
            return None
    return Work(classes, patches, tuple((patch, name) for patch, name in marks), entry.get("held") is True)
