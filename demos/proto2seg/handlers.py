"""What happens on the page of ``proto2seg``: a handler takes a visitor's session and returns what is to be shown.

``events`` says which of them may change a session.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gradio as gr
import torch

from demos.proto2seg import plane_view, result_views, views
from demos.proto2seg.dictionary import DictionaryError, names_of, read_dictionary, to_bytes
from demos.proto2seg.query import own_tile, query
from demos.proto2seg.samples import Samples, Tile
from demos.proto2seg.session import LARGEST_GAMMA, Session, from_memory, to_memory
from demos.shared.markup import notice
from demos.shared.panel import RELOAD, read_message
from demos.shared.saving import pack
from demos.shared.uploads import UploadError, given_scale, read_pixels
from histolab_lite.formats.masks import mask_png
from histolab_lite.methods.proto2seg import upsample

SKIP = gr.skip()
OWN = "own"  # the choice of the visitor's tile, whatever its key


class Handlers:
    """What all visitors share: the samples."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self.first = next(iter(samples.tiles.values()))

    def warm(self) -> None:
        """One answer, before the first visitor comes."""
        start = Session(self.samples.clusters, tile=self.first)
        self.draw(start.apply([["key", 0, 0], ["next", 0], ["key", 1, 0]]))

    # What the page shows for a session -------------------------------------------------------------------------

    def draw(self, session: Session, again: bool = True) -> list[Any]:
        """[panel, plane, stopwatch, result, own_names]; again: whether the tile has to be queried."""
        return [
            views.panel(session),
            plane_view.plane(session),
            views.stopwatch(session),
            self.result(session) if again else SKIP,
            gr.Button(visible=session.loaded is not None),
        ]

    def result(self, session: Session) -> str:
        dictionary = session.dictionary
        assert session.tile is not None
        answer = None
        if dictionary is not None:
            answer = query(session.tile, dictionary, session.gamma, self.samples.clusters.class_names)
        return result_views.results(session, dictionary, answer)

    # Queue "edit": changes of the session ------------------------------------------------------------------------

    def edit(self, change: Callable[[Session], Session], session: Session, message: str = "") -> list[Any]:
        """[session, memory, notice, gallery, *draw]"""
        before, session = session, change(session)
        shown = SKIP if before.at == session.at else views.gallery(session)
        asked = before.names.given, before.loaded
        drawn = self.draw(session, again=asked != (session.names.given, session.loaded))
        return [session, to_memory(session), message, shown, *drawn]

    def act(self, event: gr.SelectData, session: Session) -> list[Any]:
        """Keys and clicks of the panel, several at once where they came fast."""
        if session.tile is None:  # the server was started anew, and knows this page no more
            return [*[SKIP] * 4, RELOAD, *[SKIP] * 4]
        serial, events = read_message(event.value)
        if serial <= session.serial:
            return [*[SKIP] * 4, views.panel(session), *[SKIP] * 4]  # it came twice
        return self.edit(lambda session: replace(session.apply(events), serial=serial), session)

    def regroup(self, gamma: float, session: Session) -> list[Any]:
        """Another γ. [session, memory, result]"""
        if session.tile is None or not 1 <= gamma <= LARGEST_GAMMA or int(gamma) == session.gamma:
            return [SKIP] * 3
        session = replace(session, gamma=int(gamma))
        return [session, to_memory(session), self.result(session)]

    def show(self, tile: Tile | None, session: Session) -> list[Any]:
        """[choice, session, memory, images, result]; tile: None if it could not be read, what was wrong is said."""
        if tile is None or session.clusters is None:
            return [SKIP] * 5
        own = tile.key not in self.samples.tiles
        session = replace(session, tile=tile, own=tile if own else session.own)
        images = result_views.tile_images(tile, self.samples.clusters.palette)
        choice = gr.Radio(self.choices(session), value=OWN if own else tile.key)
        return [choice, session, to_memory(session), images, self.result(session)]

    def pick(self, key: str, session: Session) -> list[Any]:
        return self.show(session.own if key == OWN else self.samples.tiles.get(key), session)

    def choices(self, session: Session) -> list[tuple[str, str]]:
        own = [("Your tile", OWN)] if session.own is not None else []
        return [(tile.title, key) for key, tile in self.samples.tiles.items()] + own

    def restore(self, memory: Any) -> list[Any]:
        """[dots, gamma, choice, images, session, memory, notice, gallery, *draw]: where the visitor left off."""
        key, session = from_memory(memory, self.samples.clusters)
        tile = self.samples.tiles.get(key or "", self.first)
        gone = []
        if key is not None and key not in self.samples.tiles:
            gone.append("Your own tile is not kept here: upload it again to query it.")
        if key is not None and memory.get("loaded"):
            gone.append("The dictionary you loaded is not kept here: load it again.")
        message = notice(" ".join([*gone, "Your names are all here."])) if gone else ""
        choice, session, kept, images, result = self.show(tile, session)
        panel, plane, stopwatch, _, own_names = self.draw(session, again=False)
        drawn = [panel, plane, stopwatch, result, own_names]
        dots, gallery = plane_view.plane_dots(self.samples.clusters), views.gallery(session)
        return [dots, session.gamma, choice, images, session, kept, message, gallery, *drawn]

    def start_over(self, session: Session) -> list[Any]:
        return [SKIP] * 9 if session.tile is None else self.edit(Session.start_over, session)

    def bring(self, path: str | None, session: Session) -> list[Any]:
        """A dictionary from a file: names of these clusters come back as names, any other is queried as it is."""
        if path is None or session.tile is None:
            return [SKIP] * 9
        clusters = self.samples.clusters
        try:
            dictionary = read_dictionary(path, clusters.centers.shape[1])
        except DictionaryError as error:
            return [SKIP, SKIP, notice(str(error)), *[SKIP] * 6]
        names = names_of(dictionary, clusters)
        if names is None:
            return self.edit(lambda session: replace(session, loaded=dictionary), session)
        dropped = {cluster: None for cluster, name in session.names.given.items() if name >= 0}
        message = notice("These are prototypes of this page’s clusters, so their names are back. Undo takes them away.")
        back = session.names.set({**dropped, **names})
        return self.edit(lambda session: replace(session, names=back, loaded=None), session, message)

    def own_names(self, session: Session) -> list[Any]:
        if session.tile is None:
            return [SKIP] * 9
        return self.edit(lambda session: replace(session, loaded=None), session)

    # Queue "slow": seconds, and no session -----------------------------------------------------------------------

    def read(self, path: str | None, scale: str | None) -> tuple[Tile | None, Any]:
        """(tile, notice); scale: µm a pixel as the visitor wrote it, empty if the file has it."""
        if path is None:
            return None, ""
        try:
            upload = read_pixels(path, forget=True)
            return own_tile(upload, given_scale(scale)), ""
        except UploadError as error:
            return None, notice(str(error))

    def save(self, kind: str, session: Session) -> tuple[str, str]:
        """(file packed for the page, notice)"""
        dictionary = session.dictionary if session.clusters is not None else None
        if dictionary is None or session.tile is None:
            return "", notice("There is nothing to save yet: give at least one cluster the name of a class.")
        if kind == "dictionary":
            return pack("dictionary.safetensors", "application/octet-stream", to_bytes(dictionary)), ""
        answer = query(session.tile, dictionary, session.gamma, self.samples.clusters.class_names)
        ids = upsample(torch.from_numpy(answer.grouped), session.tile.size).numpy()
        palette = result_views.palette_of(dictionary, self.samples.clusters)
        return pack("mask.png", "image/png", mask_png(ids, palette)), ""
