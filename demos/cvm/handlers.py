"""The handlers of the page ``cvm``: each takes a visitor's session and returns what the page shows next.

``shared.events`` says which of them may change a session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any, NamedTuple

import gradio as gr

from demos.cvm import exports, views
from demos.cvm.images import InputImage, PreparedCache, read_upload
from demos.cvm.outline import DEFAULTS, Outline, outline, shares
from demos.cvm.session import MOST_TISSUES, OUTSIDE, Session, from_memory, to_memory
from demos.shared.events import Answer
from demos.shared.markup import notice
from demos.shared.uploads import UploadError

TISSUE_NAMES = ("inside", "tissue 2", "tissue 3")
LONGEST_NAME = 40


class Settings(NamedTuple):
    """The values of the controls. choice: class id of the next click. names: of the tissues, as the visitor wrote
    them."""

    eta: float
    lam: float
    margin: float
    choice: int
    names: tuple[str, ...]

    @classmethod
    def read(cls, eta: float, lam: float, margin: float, choice: int, *names: str) -> Settings:
        """From the controls, in the page's order."""
        return cls(eta, lam, margin, int(choice), names)


class Handlers:
    """All visitors share the samples and the features of images. A handler takes and returns one visitor's session."""

    def __init__(self, offered: Mapping[str, InputImage]) -> None:
        self.offered = offered
        self.prepared = PreparedCache()

    def warm(self) -> None:
        """Encode the first image and compile the kernels before the first visitor comes."""
        first = next(iter(self.offered.values()))
        self.prepared(first)
        corners = Session().show(first).add(1, 0, 0).add(OUTSIDE, first.size[0] - 1, first.size[1] - 1)
        self.find(corners, Settings(**DEFAULTS, margin=0, choice=1, names=TISSUE_NAMES))

    # What the page shows for a session -------------------------------------------------------------------------

    def find(self, session: Session, settings: Settings) -> Outline | None:
        """The outline; None until there are points of two classes, and features."""
        points = session.by_class()
        prepared = self.prepared.ready(session.image) if session.image else None
        if session.image is None or prepared is None or len(points) < 2:
            return None
        eta, lam, margin, choice, _ = settings
        shown = choice if choice in points and choice != OUTSIDE else next(iter(points))
        return outline(session.image, prepared, points, eta, lam, margin, shown)

    def draw(self, session: Session, *given: Any) -> Answer:
        """All views of a session. "awaited" names the image whose features are missing."""
        image, settings = session.image, Settings.read(*given)
        if image is None:
            text = '<p class="next">Choose an image, or upload one.</p>'
            return {"awaited": "", "main": "", "contrast": "", "segmentation": "", "numbers": text}
        found, points, called = self.find(session, settings), session.points, class_names(settings.names)
        prepared = self.prepared.ready(image)
        shown = settings.choice if settings.choice != OUTSIDE else 1
        part = shares(found.ids, prepared.tissue) if found and prepared else None
        return {
            "awaited": "" if prepared else f"{image.key} {image.work_size}",
            "main": views.main_view(image, points, found, called),
            "contrast": views.contrast_view(image, found, called[shown]),
            "segmentation": views.segmentation_view(image, found, called),
            "numbers": views.numbers(image, points, part, called, pending=prepared is None),
        }

    # Queue "edit": changes of the session ------------------------------------------------------------------------

    def edit(self, change: Callable[[Session], Session], session: Session, *settings: Any) -> Answer:
        """Change the session, and draw it; an error becomes a message."""
        try:
            session, message = change(session), ""
        except ValueError as error:
            message = notice(str(error))
        drawn = self.draw(session, *settings)
        return {"session": session, "memory": to_memory(session), "problem": message, **drawn}

    def click(self, event: gr.SelectData, session: Session, *settings: Any) -> Answer:
        """Add a point where the visitor clicked."""
        column, row = event.index

        def add(session: Session) -> Session:
            if session.image is None or event.value != session.image.key:
                return session  # a click on the image shown before
            return session.add(Settings.read(*settings).choice, int(row), int(column))

        return self.edit(add, session, *settings)

    def add(self, session: Session, x: float | None, y: float | None, *settings: Any) -> Answer:
        """Add a point by its coordinates."""

        def add(session: Session) -> Session:
            if session.image is None:
                raise ValueError("Choose an image first.")
            if x is None or y is None:
                raise ValueError("A point needs both numbers, x and y.")
            return session.add(Settings.read(*settings).choice, int(y), int(x))

        return self.edit(add, session, *settings)

    def undo(self, session: Session, *settings: Any) -> Answer:
        return self.edit(Session.undo, session, *settings)

    def clear(self, session: Session, *settings: Any) -> Answer:
        return self.edit(Session.clear, session, *settings)

    def scale(self, session: Session, mpp: float | None, *settings: Any) -> Answer:
        """Set the image's µm per pixel, for this visitor."""

        def rescale(session: Session) -> Session:
            if session.image is None or session.image.mpp == (mpp or None):
                return session
            if mpp and not 0.01 <= mpp <= 100:
                raise ValueError("A scale lies between 0.01 and 100 µm per pixel; 20× scans have about 0.5.")
            return replace(session, image=replace(session.image, mpp=mpp or None))

        return self.edit(rescale, session, *settings)

    def show(self, image: InputImage | None, session: Session, *settings: Any) -> Answer:
        """Show another image."""
        if image is None:  # an upload that could not be read; the page shows why
            return {}
        own = image.key not in self.offered
        return {
            **self.edit(lambda session: session.show(image), session, *settings),
            "problem": notice(image.note) if image.note else "",
            "tissue": views.tissue(image),
            "caption": f'<p class="small">{escape(image.caption)}</p>',
            "mpp": gr.Number(value=image.mpp, interactive=own or image.mpp is None),
        }

    def pick(self, key: str, session: Session, *settings: Any) -> Answer:
        return self.show(self.offered.get(key), session, *settings)

    def restore(self, memory: Any, *settings: Any) -> Answer:
        """Show what the visitor's browser has kept."""
        key, session = from_memory(memory)
        image = self.offered.get(key or "") or next(iter(self.offered.values()))
        shown = self.show(image, session, *settings)
        if key and key not in self.offered and session.actions.get(key):
            title = memory.get("title") if isinstance(memory.get("title"), str) else "Your own image"
            text = f"{title[:60]} is not kept here. Upload the same file again, and your points come back."
            shown |= {"problem": notice(text), "memory": memory}
        count = max([1, *(name for name, _, _ in shown["session"].points)])
        return {"sample": image.key, "count": count, **shown}

    def switch(self, session: Session, *settings: Any) -> Answer:
        """Another class is chosen for the next click: if there are several tissues, show the contrast of this one."""
        several = len(session.by_class().keys() - {OUTSIDE}) > 1
        return self.draw(session, *settings) if several else {}

    def offer(self, count: int, *names: str) -> Answer:
        """The choices and the name fields for this number of tissues."""
        visible = {f"name {number}": gr.update(visible=number <= count) for number in range(1, 1 + MOST_TISSUES)}
        return {"choice": gr.update(choices=choices(count, *names)), **visible}

    def refresh(self, awaited: str, session: Session, *settings: Any) -> Answer:
        return self.draw(session, *settings) if awaited else {}

    # Queue "slow": seconds, and no session -----------------------------------------------------------------------

    def read(self, path: str | None) -> Answer:
        """Read an uploaded image."""
        if path is None:
            return {"arrived": None, "problem": ""}
        try:
            return {"arrived": read_upload(path, forget=True), "problem": ""}
        except UploadError as error:
            return {"arrived": None, "problem": notice(str(error))}

    def look(self, awaited: str, session: Session) -> None:
        """Compute the features that are missing."""
        if awaited and session.image:
            self.prepared(session.image)

    def export(self, kind: str, session: Session, opacity: float, *given: Any) -> Answer:
        """The file for the visitor as "packed"."""
        settings = Settings.read(*given)
        found = self.find(session, settings)
        if session.image is None or found is None:
            text = "There is no outline yet: click at least one point inside and one outside."
            return {"packed": "", "problem": notice(text)}
        if kind == "qupath":
            packed = exports.qupath(session.image, found, class_names(settings.names))
        elif kind == "mask":
            packed = exports.mask(session.image, found)
        else:
            packed = exports.figure(session.image, found, opacity)
        return {"packed": packed, "problem": ""}


def class_names(names: Sequence[str]) -> list[str]:
    """The names of the classes, by class id; an empty name becomes the usual one."""
    given = [(name or "").strip()[:LONGEST_NAME] or usual for name, usual in zip(names, TISSUE_NAMES, strict=True)]
    return ["outside", *given]


def choices(count: int, *names: str) -> list[tuple[str, int]]:
    """The choices for the next click, tissues first."""
    called = class_names(names)
    return [(views.label(name, called[name]), name) for name in (*range(1, count + 1), OUTSIDE)]
