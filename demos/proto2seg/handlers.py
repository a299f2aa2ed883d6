"""The handlers of the page ``proto2seg``: each takes a visitor's session and returns what the page shows next.

``shared.events`` says which of them may change a session.
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
from demos.shared.events import Answer
from demos.shared.markup import notice
from demos.shared.panel import RELOAD, read_message
from demos.shared.saving import pack
from demos.shared.uploads import UploadError, given_scale, read_pixels
from histolab_lite.formats.masks import mask_png
from histolab_lite.methods.proto2seg import upsample

OWN = "own"  # the choice of the visitor's own tile


class Handlers:
    """All visitors share the samples. A handler takes and returns one visitor's session."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self.first = next(iter(samples.tiles.values()))

    def warm(self) -> None:
        """Query once before the first visitor comes."""
        start = Session(self.samples.clusters, tile=self.first)
        self.draw(start.apply([["key", 0, 0], ["next", 0], ["key", 1, 0]]))

    # What the page shows for a session -------------------------------------------------------------------------

    def draw(self, session: Session, again: bool = True) -> Answer:
        """All views of a session. again: whether the tile must be queried again."""
        result = {"result": self.result(session)} if again else {}
        return {
            "panel": views.panel(session),
            "plane": plane_view.plane(session),
            "stopwatch": views.stopwatch(session),
            "own_names": gr.Button(visible=session.loaded is not None),
            **result,
        }

    def result(self, session: Session) -> str:
        """Query the tile, and show the masks."""
        dictionary = session.dictionary
        assert session.tile is not None
        answer = None
        if dictionary is not None:
            answer = query(session.tile, dictionary, session.gamma, self.samples.clusters.class_names)
        return result_views.results(session, dictionary, answer)

    # Queue "edit": changes of the session ------------------------------------------------------------------------

    def edit(self, change: Callable[[Session], Session], session: Session, message: str = "") -> Answer:
        """Change the session, and draw what has changed."""
        before, session = session, change(session)
        gallery = {} if before.at == session.at else {"gallery": views.gallery(session)}
        asked = before.names.given, before.loaded
        drawn = self.draw(session, again=asked != (session.names.given, session.loaded))
        return {"session": session, "memory": to_memory(session), "problem": message, **gallery, **drawn}

    def act(self, event: gr.SelectData, session: Session) -> Answer:
        """Apply keys and clicks of the panel; several come in one message if they were fast."""
        if session.tile is None:  # the server has restarted, and does not know this page
            return {"panel": RELOAD}
        serial, events = read_message(event.value)
        if serial <= session.serial:
            return {"panel": views.panel(session)}  # the message came twice
        return self.edit(lambda session: replace(session.apply(events), serial=serial), session)

    def regroup(self, gamma: float, session: Session) -> Answer:
        """Query with another γ."""
        if session.tile is None or not 1 <= gamma <= LARGEST_GAMMA or int(gamma) == session.gamma:
            return {}
        session = replace(session, gamma=int(gamma))
        return {"session": session, "memory": to_memory(session), "result": self.result(session)}

    def show(self, tile: Tile | None, session: Session) -> Answer:
        """Show another tile; None if the upload could not be read, and the page shows why."""
        if tile is None or session.clusters is None:
            return {}
        own = tile.key not in self.samples.tiles
        session = replace(session, tile=tile, own=tile if own else session.own)
        return {
            "choice": gr.Radio(self.choices(session), value=OWN if own else tile.key),
            "session": session,
            "memory": to_memory(session),
            "images": result_views.tile_images(tile, self.samples.clusters.palette),
            "result": self.result(session),
        }

    def pick(self, key: str, session: Session) -> Answer:
        """Show the chosen tile."""
        return self.show(session.own if key == OWN else self.samples.tiles.get(key), session)

    def choices(self, session: Session) -> list[tuple[str, str]]:
        """The tiles to choose from."""
        own = [("Your tile", OWN)] if session.own is not None else []
        return [(tile.title, key) for key, tile in self.samples.tiles.items()] + own

    def restore(self, memory: Any) -> Answer:
        """Show what the visitor's browser has kept."""
        key, session = from_memory(memory, self.samples.clusters)
        tile = self.samples.tiles.get(key or "", self.first)
        gone = []
        if key is not None and key not in self.samples.tiles:
            gone.append("Your own tile is not kept here: upload it again to query it.")
        if key is not None and memory.get("loaded"):
            gone.append("The dictionary you loaded is not kept here: load it again.")
        message = notice(" ".join([*gone, "All your names are kept."])) if gone else ""
        shown = self.show(tile, session)
        return {
            **shown,
            **self.draw(shown["session"], again=False),
            "dots": plane_view.plane_dots(self.samples.clusters),
            "gamma": session.gamma,
            "problem": message,
            "gallery": views.gallery(session),
        }

    def start_over(self, session: Session) -> Answer:
        """Remove all names and times."""
        return {} if session.tile is None else self.edit(Session.start_over, session)

    def bring(self, path: str | None, session: Session) -> Answer:
        """Load a dictionary. Prototypes of these clusters become names; any other dictionary is queried as it is."""
        if path is None or session.tile is None:
            return {}
        clusters = self.samples.clusters
        try:
            dictionary = read_dictionary(path, clusters.centers.shape[1])
        except DictionaryError as error:
            return {"problem": notice(str(error))}
        names = names_of(dictionary, clusters)
        if names is None:
            return self.edit(lambda session: replace(session, loaded=dictionary), session)
        dropped = {cluster: None for cluster, name in session.names.given.items() if name >= 0}
        message = notice("These are prototypes of this page’s clusters, so their names are back. Undo removes them.")
        back = session.names.set({**dropped, **names})
        return self.edit(lambda session: replace(session, names=back, loaded=None), session, message)

    def own_names(self, session: Session) -> Answer:
        """Query with the visitor's names again, not with a loaded dictionary."""
        if session.tile is None:
            return {}
        return self.edit(lambda session: replace(session, loaded=None), session)

    # Queue "slow": seconds, and no session -----------------------------------------------------------------------

    def read(self, path: str | None, scale: str | None) -> Answer:
        """Read an uploaded tile. scale: µm per pixel as the visitor wrote it, empty if the file states it."""
        if path is None:
            return {"arrived": None, "problem": ""}
        try:
            upload = read_pixels(path, forget=True)
            return {"arrived": own_tile(upload, given_scale(scale)), "problem": ""}
        except UploadError as error:
            return {"arrived": None, "problem": notice(str(error))}

    def save(self, kind: str, session: Session) -> Answer:
        """The file for the visitor as "packed"."""
        dictionary = session.dictionary if session.clusters is not None else None
        if dictionary is None or session.tile is None:
            text = "There is nothing to save yet: name at least one cluster."
            return {"packed": "", "problem": notice(text)}
        if kind == "dictionary":
            packed = pack("dictionary.safetensors", "application/octet-stream", to_bytes(dictionary))
            return {"packed": packed, "problem": ""}
        answer = query(session.tile, dictionary, session.gamma, self.samples.clusters.class_names)
        ids = upsample(torch.from_numpy(answer.grouped), session.tile.size).numpy()
        palette = result_views.palette_of(dictionary, self.samples.clusters)
        return {"packed": pack("mask.png", "image/png", mask_png(ids, palette)), "problem": ""}
