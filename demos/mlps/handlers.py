"""The events of the page ``mlps``: each handler takes a visitor's session and returns what the page shows next.

``demos.shared.events`` says which handlers may change a session. With a file of tags, a tag is on the disk before the
page shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from html import escape
from typing import Any

import gradio as gr

from demos.mlps import result_views, views
from demos.mlps.label_file import LabelFile
from demos.mlps.log import Log, LogError, from_lines, to_lines, to_table
from demos.mlps.patch_sets import SIZES, PatchSet, cut
from demos.mlps.results import Answers, answer, compare
from demos.mlps.session import Session, from_memory, to_memory
from demos.shared.class_names import NamesError, class_names
from demos.shared.events import Answer
from demos.shared.markup import notice
from demos.shared.panel import RELOAD, read_message
from demos.shared.saving import pack
from demos.shared.uploads import UploadError, read_file, read_pixels
from histolab_lite.methods.mlps.pretrained import Networks, load_mlps

LARGEST_LOG = 2 * 10**6  # bytes
PHANTOM_ONLY = (
    "“Show me” works for the phantom patches only, because its networks were trained on phantom tissue. You can save "
    "the tags of your own image."
)


class Handlers:
    """What all visitors share: the phantom patches, the networks, and the file of tags, if there is one."""

    def __init__(self, sample: PatchSet, labels: LabelFile | None = None) -> None:
        self.sample, self.labels = sample, labels

    @cached_property
    def networks(self) -> Networks:
        return load_mlps()

    @cached_property
    def answers(self) -> Answers:
        """The answers for the phantom patches, the same for every visitor."""
        return answer(self.networks, self.sample)

    def warm(self) -> None:
        """Compute the slow answers before the first visitor asks."""
        self.answers  # noqa: B018

    # Queue "edit": changes of the session ------------------------------------------------------------------------

    def edit(self, change: Callable[[Session], Session], session: Session, message: str = "") -> Answer:
        before = session
        try:
            session = change(session)
            self._write(before, session)
        except LogError as error:
            session, message = before, notice(str(error))
        except OSError:
            session, message = before, notice("The last change could not be written to the file. Is the disk full?")
        same = before.patches is session.patches and before.at == session.at
        return {
            "session": session,
            "memory": to_memory(session, self.labels is None),
            "problem": message,
            "panel": views.panel(session),
            **({} if same else {"patch": views.patch_view(session)}),
        }

    def _write(self, before: Session, session: Session) -> None:
        if self.labels is None:
            return
        for key, log in session.logs.items():
            old = before.logs.get(key, Log(log.header))
            known = len(old.records)
            goes_on = old.header == log.header and known > 0 and log.records[:known] == old.records
            if log.records != old.records:
                self.labels.append(session.key, log, known if goes_on else 0)

    def act(self, event: gr.SelectData, session: Session) -> Answer:
        """Apply keys and clicks of the panel; fast ones arrive several at a time."""
        if session.patches is None:  # the server was restarted and has lost this page's session
            return {"panel": RELOAD}
        serial, events = read_message(event.value)
        if serial <= session.serial:
            return {"panel": views.panel(session)}  # the message was sent twice
        done = self.edit(lambda session: session.apply(events), session)
        session = done["session"].numbered(serial)
        return {**done, "session": session, "panel": views.panel(session)}

    def show(self, patches: PatchSet | None, session: Session) -> Answer:
        if patches is None:  # the upload could not be read, and the page has said why
            return {}
        message = notice(patches.note) if patches.note else ""
        return {**self.edit(lambda session: session.show(patches), session, message), **_about(patches)}

    def back(self, session: Session) -> Answer:
        return self.show(self.sample, session)

    def restore(self, memory: Any) -> Answer:
        """Show what the visitor's browser, or the file of tags, remembers."""
        key, session = from_memory(memory)
        if self.labels is not None:
            session = session.with_logs(self.labels.logs(session.key))
        shown, message = self.show(self.sample, session), ""
        own = session.logs.get(key or "")
        if own is not None and key != self.sample.header.key:
            shown |= {**_cut_by(own), "memory": {**shown["memory"], "set": key}}  # the page still waits for this image
            message = notice("Your own image is not kept here. Upload the same file again, and your tags come back.")
        elif self.labels is not None and self.labels.damaged and session.logs:
            lines = ", ".join(map(str, self.labels.damaged[:5]))
            text = f"The file of tags has incomplete lines, which were skipped: {lines}. Check your last patch again."
            message = notice(text)
        return {**shown, "problem": message}

    def bring(self, path: str | None, session: Session) -> Answer:
        """Load a log of tags that was saved before."""
        if path is None:
            return {}
        try:
            log, cut_off = _read_log(path)
        except LogError as error:
            return {"problem": notice(str(error))}
        shown = session.patches.header if session.patches else None
        if log.header not in (shown, self.sample.header):
            if log.header.key == self.sample.header.key or log.header.size not in SIZES:
                return {"problem": notice("These tags belong to other patches than those of this page.")}
            text = "These tags belong to another image. Upload that image now, and the tags come back."
            done = self.edit(lambda session: session.restore(log), session, notice(text))
            return {**done, **_cut_by(log), "memory": {**done["memory"], "set": log.header.key}}
        patches = session.patches if log.header == shown and session.patches else self.sample
        done = self.edit(lambda session: session.restore(log).show(patches), session)
        if not done["problem"] and cut_off:
            text = "The last line of the file is incomplete and was skipped. Check the last patch again."
            done["problem"] = notice(text)
        return {**done, **_about(patches), "result": "", "patch": views.patch_view(done["session"])}

    def start_over(self, session: Session) -> Answer:
        if session.patches is None:
            return {}
        return self.edit(Session.start_over, session)

    # Queue "slow": seconds, and no session -----------------------------------------------------------------------

    def read(self, path: str | None, names: str, size: int) -> Answer:
        if path is None:
            return {"arrived": None, "problem": ""}
        try:
            upload = read_pixels(path, forget=True)
            return {"arrived": cut(upload, class_names(names or ""), int(size)), "problem": ""}
        except (UploadError, NamesError) as error:
            return {"arrived": None, "problem": notice(str(error))}

    def show_me(self, session: Session) -> Answer:
        if session.patches is None or session.patches.header != self.sample.header:
            return {"problem": notice(PHANTOM_ONLY)}
        log = session.log
        if not log.done:
            return {"problem": notice("Finish a patch first: tag what it shows, then press “Next patch”.")}
        found = compare(self.networks, self.answers, log)
        return {"result": result_views.results(self.answers, found, log), "problem": ""}

    def save(self, kind: str, session: Session) -> Answer:
        """Pack a file for ``SAVE_JS``: the log as JSON lines, or the table as CSV."""
        if session.patches is None or not session.log.records:
            text = "There is nothing to save yet: tag what the first patch shows."
            return {"packed": "", "problem": notice(text)}
        if kind == "log":
            return {"packed": pack("tags.jsonl", "application/jsonl", to_lines(session.log)), "problem": ""}
        if not session.log.done:
            text = "The table lists finished patches, and there are none yet. Tag a patch, then press “Next patch”."
            return {"packed": "", "problem": notice(text)}
        table = to_table(session.log, session.patches.corners)
        return {"packed": pack("tags.csv", "text/csv", table), "problem": ""}


def _about(patches: PatchSet) -> Answer:
    """The caption of the patches, and whether “Show me” works for them."""
    known = patches.truth is not None
    return {
        "show_me": gr.Button(interactive=known),
        "result": "" if known else f'<p class="next">{escape(PHANTOM_ONLY)}</p>',
        "caption": views.caption(patches),
    }


def _cut_by(log: Log) -> Answer:
    """The classes and the patch size with which an image must be uploaded again."""
    return {"names": ", ".join(log.header.classes), "size": log.header.size}


def _read_log(path: str) -> tuple[Log, bool]:
    """The log in a visitor's file, and whether its last line was cut off; the file is deleted."""
    try:
        return from_lines(read_file(path, LARGEST_LOG, forget=True))
    except UploadError as error:
        raise LogError(str(error)) from None
