"""What happens on the page of ``cvm``: a handler takes a visitor's session and returns what is to be shown.

``events`` says which of them may change a session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr

from demos.cvm import exports, views
from demos.cvm.outline import DEFAULTS, Outline, outline, shares
from demos.cvm.pictures import Picture, PreparedCache, read_upload
from demos.cvm.session import MOST_TISSUES, OUTSIDE, Session, from_memory, to_memory
from demos.shared.markup import notice
from demos.shared.uploads import UploadError

TISSUE_NAMES = ("inside", "tissue 2", "tissue 3")
LONGEST_NAME = 40
SKIP = gr.skip()


class Handlers:
    """What all visitors share: samples, and features by picture. Handlers take a visitor's session and return it."""

    def __init__(self, offered: Mapping[str, Picture]) -> None:
        self.offered = offered
        self.prepared = PreparedCache()

    def warm(self) -> None:
        """Look at the first picture and compile the kernels before the first visitor comes."""
        first = next(iter(self.offered.values()))
        self.prepared(first)
        corners = Session().show(first).add(1, 0, 0).add(OUTSIDE, first.size[0] - 1, first.size[1] - 1)
        self.find(corners, **DEFAULTS, margin=0, choice=1)

    # What the page shows for a session -------------------------------------------------------------------------

    def find(self, session: Session, eta: float, lam: float, margin: float, choice: int) -> Outline | None:
        """None until there are two sides of points, and features."""
        points = session.by_class()
        prepared = self.prepared.ready(session.picture) if session.picture else None
        if session.picture is None or prepared is None or len(points) < 2:
            return None
        shown = choice if choice in points and choice != OUTSIDE else next(iter(points))
        return outline(session.picture, prepared, points, eta, lam, margin, shown)

    def draw(self, session: Session, eta: float, lam: float, margin: float, choice: int, *names: str) -> list[Any]:
        """[awaited, main, contrast, segmentation, numbers]; awaited names the picture whose features are missing."""
        picture = session.picture
        if picture is None:
            return ["", "", "", "", '<p class="next">Choose a picture, or upload one.</p>']
        found, points, called = self.find(session, eta, lam, margin, choice), session.points, class_names(names)
        prepared = self.prepared.ready(picture)
        shown = choice if choice != OUTSIDE else 1
        return [
            "" if prepared else f"{picture.key} {picture.work_size}",
            views.main_view(picture, points, found, called),
            views.contrast_view(picture, found, called[shown]),
            views.segmentation_view(picture, found, called),
            views.numbers(
                picture,
                points,
                shares(found.ids, prepared.tissue) if found and prepared else None,
                called,
                pending=prepared is None,
            ),
        ]

    # Queue "edit": changes of the session ------------------------------------------------------------------------

    def edit(self, change: Callable[[Session], Session], session: Session, *settings: Any) -> list[Any]:
        """[session, memory, notice, *draw]"""
        try:
            session, message = change(session), ""
        except ValueError as error:
            message = notice(str(error))
        return [session, to_memory(session), message, *self.draw(session, *settings)]

    def click(self, event: gr.SelectData, session: Session, *settings: Any) -> list[Any]:
        column, row = event.index

        def add(session: Session) -> Session:
            if session.picture is None or event.value != session.picture.key:
                return session  # a click on the picture shown before
            return session.add(int(settings[3]), int(row), int(column))

        return self.edit(add, session, *settings)

    def add(self, session: Session, x: float | None, y: float | None, *settings: Any) -> list[Any]:
        def add(session: Session) -> Session:
            if session.picture is None:
                raise ValueError("Choose a picture first.")
            if x is None or y is None:
                raise ValueError("A point needs both numbers, x and y.")
            return session.add(int(settings[3]), int(y), int(x))

        return self.edit(add, session, *settings)

    def undo(self, session: Session, *settings: Any) -> list[Any]:
        return self.edit(Session.undo, session, *settings)

    def clear(self, session: Session, *settings: Any) -> list[Any]:
        return self.edit(Session.clear, session, *settings)

    def scale(self, session: Session, mpp: float | None, *settings: Any) -> list[Any]:
        def rescale(session: Session) -> Session:
            if session.picture is None or session.picture.mpp == (mpp or None):
                return session
            if mpp and not 0.01 <= mpp <= 100:
                raise ValueError("A scale lies between 0.01 and 100 µm per pixel; 20× scans have about 0.5.")
            return replace(session, picture=replace(session.picture, mpp=mpp or None))

        return self.edit(rescale, session, *settings)

    def show(self, picture: Picture | None, session: Session, *settings: Any) -> list[Any]:
        """[tissue, caption, mpp, *edit]"""
        if picture is None:  # an upload that could not be read; what was wrong is said already
            return [SKIP] * 11  # as many as there are outputs
        own = picture.key not in self.offered
        scale = gr.Number(value=picture.mpp, interactive=own or picture.mpp is None)
        message = notice(picture.note) if picture.note else ""
        done = self.edit(lambda session: session.show(picture), session, *settings)
        done[2] = message
        return [views.tissue(picture), f'<p class="small">{escape(picture.caption)}</p>', scale, *done]

    def pick(self, key: str, session: Session, *settings: Any) -> list[Any]:
        return self.show(self.offered.get(key), session, *settings)

    def restore(self, memory: Any, *settings: Any) -> list[Any]:
        """[sample, count, *show]: where the visitor left off."""
        key, session = from_memory(memory)
        picture = self.offered.get(key or "") or next(iter(self.offered.values()))
        shown = self.show(picture, session, *settings)
        if key and key not in self.offered and session.actions.get(key):
            title = memory.get("title") if isinstance(memory.get("title"), str) else "Your own picture"
            shown[5] = notice(f"{title[:60]} is not kept here. Upload the same file again, and your points come back.")
            shown[4] = memory
        count = max([1, *(name for name, _, _ in shown[3].points)])
        return [picture.key, count, *shown]

    def switch(self, session: Session, *settings: Any) -> list[Any]:
        """Another choice of the next click: of several tissues, the contrast of that one is shown."""
        several = len(session.by_class().keys() - {OUTSIDE}) > 1
        return self.draw(session, *settings) if several else [SKIP] * 5

    def offer(self, count: int, *names: str) -> list[Any]:
        """[choice, *names] for so many tissues."""
        visible = [gr.update(visible=number <= count) for number in range(1, 1 + MOST_TISSUES)]
        return [gr.update(choices=choices(count, *names)), *visible]

    def refresh(self, awaited: str, session: Session, *settings: Any) -> list[Any]:
        return self.draw(session, *settings) if awaited else [SKIP] * 5

    # Queue "slow": seconds, and no session -----------------------------------------------------------------------

    def read(self, path: str | None) -> tuple[Picture | None, Any]:
        """(picture, notice)"""
        if path is None:
            return None, ""
        try:
            return read_upload(path, forget=True), ""
        except UploadError as error:
            return None, notice(str(error))

    def look(self, awaited: str, session: Session) -> None:
        if awaited and session.picture:
            self.prepared(session.picture)

    def export(self, kind: str, session: Session, opacity: float, *settings: Any) -> tuple[str, str]:
        """(file packed for the page, notice)"""
        found = self.find(session, *settings[:4])
        if session.picture is None or found is None:
            return "", notice("There is no outline yet: click at least one point inside and one outside.")
        if kind == "qupath":
            return exports.qupath(session.picture, found, class_names(settings[4:])), ""
        if kind == "mask":
            return exports.mask(session.picture, found), ""
        return exports.figure(session.picture, found, opacity), ""


def class_names(names: Sequence[str]) -> list[str]:
    """What the classes are called, by class id; a name left empty becomes the one it had at first."""
    given = [(name or "").strip()[:LONGEST_NAME] or usual for name, usual in zip(names, TISSUE_NAMES, strict=True)]
    return ["outside", *given]


def choices(count: int, *names: str) -> list[tuple[str, int]]:
    """What the next click can be, tissues first."""
    called = class_names(names)
    return [(views.label(name, called[name]), name) for name in (*range(1, count + 1), OUTSIDE)]
