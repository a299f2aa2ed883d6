"""The events of the page ``sic``: each handler takes a visitor's session and returns what the page shows next.

``demos.shared.events`` says which handlers may change a session.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from demos.shared.events import Answer
from demos.shared.markup import notice
from demos.shared.panel import read_message
from demos.shared.uploads import UploadError, given_scale
from demos.sic import exports, views
from demos.sic.results import cluster
from demos.sic.samples import PHANTOM, Sample, load_phantom, samples
from demos.sic.session import Session, from_memory, to_memory
from demos.sic.slides import Progress, SeedSlide, SlideCache, prepare
from demos.sic.tiles import TILES, Tiles
from demos.sic.turns import Busy, Superseded, Turns, Visitor, Waiting

SAVERS = {"geojson": exports.qupath, "h5ad": exports.h5ad, "labels": exports.label_image}
AGAIN = "Your own slide is not kept here. Upload the same file again, and your seeds come back."


@dataclass(frozen=True, eq=False)
class Arrived:
    """A slide that is ready, and the token of its tiles: passed from the slow queue to the session."""

    slide: SeedSlide
    token: str


class Handlers:
    """What all visitors share: the samples, the prepared slides, the tiles, and the turns for preparing slides."""

    def __init__(self, public: bool, tiles: Tiles = TILES) -> None:
        self.samples: dict[str, Sample] = samples(public)
        self.cache, self.tiles, self.turns = SlideCache(), tiles, Turns()
        self.phantom = load_phantom()

    @property
    def choices(self) -> list[tuple[str, str]]:
        return [(sample.title, key) for key, sample in self.samples.items()]

    # Queue "edit": changes of the session ------------------------------------------------------------------------

    def edit(self, change: Callable[[Session], Session], session: Session, message: str = "") -> Answer:
        try:
            session = change(session)
        except ValueError as error:
            message = notice(str(error))
        assert session.slide is not None
        state = views.state(session, cluster(session.slide, session.work))
        return {"session": session, "memory": to_memory(session), "problem": message, "state": state}

    def act(self, event: gr.SelectData, session: Session) -> Answer:
        """Apply clicks and keys of the page; fast ones arrive several at a time."""
        if session.slide is None:  # the server was restarted and has lost this page's session
            return {"state": views.RELOAD}
        serial, events = read_message(event.value)
        if serial <= session.serial:
            return self.edit(lambda session: session, session)  # the message was sent twice
        return self.edit(lambda session: session.apply(events).numbered(serial), session)

    def show(self, arrived: Arrived | None, session: Session) -> Answer:
        if arrived is None:  # the upload could not be read, and the page has said why
            return {}
        try:
            layout = self.tiles.layout(arrived.token)
        except KeyError:
            return {"problem": notice("This slide is not kept any longer. Upload it again.")}
        if session.token != arrived.token:
            self.tiles.forget(session.token)
        slide = arrived.slide
        message = notice(slide.note) if slide.note else ""
        done = self.edit(lambda session: session.show(slide, arrived.token), session, message)
        return {
            **done,
            "sample": slide.key if slide.key in self.samples else None,
            "data": views.slide_data(slide, layout),
            "caption": views.caption(slide),
            "names": ", ".join(done["session"].work.classes),
        }

    def restore(self, memory: Any) -> Answer:
        """Show what the visitor's browser remembers."""
        key, session = from_memory(memory)
        ready = self._ready(key) or self._ready(PHANTOM)
        assert ready is not None
        shown = self.show(ready, session)
        if key is not None and key != ready.slide.key:
            known = self.samples.get(key)
            text = f"Choose “{known.title}” again, and your seeds come back." if known else AGAIN
            memory = {**shown["memory"], "slide": key}  # the page still waits for this slide
            shown |= {"problem": notice(text), "memory": memory}
        return shown

    def rename(self, names: str, session: Session) -> Answer:
        if session.slide is None:
            return {"state": views.RELOAD}
        return self.edit(lambda session: session.rename(names or ""), session)

    def _ready(self, key: str | None) -> Arrived | None:
        """A sample that is prepared already, or None."""
        if key not in self.samples:
            return None
        slide = self.phantom if key == PHANTOM else self.cache.get(key)
        return Arrived(slide, self.tiles.add_sample(self.samples[key].path)) if slide else None

    # Queue "slow": seconds, and no session -----------------------------------------------------------------------

    def choose(self, key: str, request: gr.Request) -> Iterator[Answer]:
        """Prepare a sample and report the progress. It ends what this visitor asked for before."""
        visitor = _visitor(request)
        self.turns.end(visitor)
        if key not in self.samples:
            yield {"arrived": None, "problem": ""}
            return
        ready = self._ready(key)
        if ready is None:
            sample = self.samples[key]
            title = sample.title.split(" (")[0]
            what = sample.path, key, title, sample.mpp, sample.caption, sample.classes
            slide = yield from self._prepare(visitor, *what)
            if slide is None:
                return
            ready = Arrived(slide, self.tiles.add_sample(sample.path))
        yield {"arrived": ready, "problem": ""}

    def read(self, path: str | None, mpp: Any, request: gr.Request) -> Iterator[Answer]:
        """Prepare a visitor's own slide in the same way. Its file is moved to the tiles, or deleted."""
        if path is None:
            yield {"arrived": None, "problem": ""}
            return
        file, visitor = Path(path), _visitor(request)
        try:
            self.turns.end(visitor)
            scale = given_scale(mpp)
            key = _digest(file, scale)
            slide = self.cache.get(key)
            if slide is None:
                slide = yield from self._prepare(visitor, file, key, "Your slide", scale)
            if slide is None:
                return
            yield {"arrived": Arrived(slide, self.tiles.add_upload(file, visitor.address)), "problem": ""}
        except UploadError as error:
            yield _refused(str(error))
        finally:
            file.unlink(missing_ok=True)

    def _prepare(self, visitor: Visitor, path: Path, key: str, *what: Any) -> Generator[Answer, None, SeedSlide | None]:
        """Prepare a slide in turns. Returns None after an error, which is reported, or if the visitor has asked for
        another slide meanwhile."""
        done = Progress("Waiting", 0.0)
        work = self.turns.share(prepare(path, key, *what), visitor)
        try:
            while True:
                said = next(work)
                if isinstance(said, Waiting):
                    shown = Progress(f"{done.text}, taking turns with {said}", done.share)
                else:
                    shown = done = said
                yield {"arrived": None, "problem": views.waiting(shown)}
                if found := self.cache.get(key):  # the same slide of another visitor was ready first
                    return found
        except StopIteration as end:
            self.cache.add(end.value)
            return end.value
        except Superseded:
            return None
        except (UploadError, Busy) as error:
            yield _refused(str(error))
            return None
        except Exception:  # a hostile file may raise anything; it goes to the server's log
            yield _refused("This slide could not be prepared. Export it again, or try another one.")
            raise
        finally:
            work.close()

    def save(self, kind: str, session: Session) -> Answer:
        """Pack a file for ``SAVE_JS``. kind: a key of SAVERS."""
        if session.slide is None:
            return {"packed": ""}
        found = cluster(session.slide, session.work).best
        if found is None:
            return {"packed": "", "problem": notice("There is nothing to save yet: drop seeds of two classes or more.")}
        return {"packed": SAVERS[kind](session.slide, session.work, found), "problem": ""}

    def leave(self, session: Session) -> None:
        """Delete the slide that was uploaded in a session that has ended."""
        self.tiles.forget(session.token)


def _refused(sentence: str) -> Answer:
    return {"arrived": None, "problem": notice(sentence)}


def _visitor(request: gr.Request) -> Visitor:
    client = request.client
    return Visitor(client.host if client else "", request.session_hash or "")


def _digest(file: Path, scale: float | None) -> str:
    """A digest of the file's content and of the scale that the visitor gave for it."""
    try:
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError:
        raise UploadError("The file did not arrive. Upload it again.") from None
    return digest if scale is None else hashlib.sha256(f"{digest} {scale}".encode()).hexdigest()
