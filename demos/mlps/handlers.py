"""What happens on the page of ``mlps``: a handler takes a visitor's session and returns what is to be shown.

``events`` says which of them may change a session. A tick is on the disk, where there is a file, before the page shows
it.
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
from demos.shared.markup import notice
from demos.shared.panel import RELOAD, read_message
from demos.shared.saving import pack
from demos.shared.uploads import UploadError, read_file, read_pixels
from histolab_lite.methods.default_mlps import Networks, load_mlps

LARGEST_LOG = 2 * 10**6  # bytes
SKIP = gr.skip()
NOT_MADE_FOR_IT = (
    "The networks behind “Show me” have learnt drawn tissue alone and are not made for your picture, so nothing is "
    "shown for it. Your ticks are yours to save."
)


class Handlers:
    """What all visitors share: the sample set, the networks, and the file of ticks, if there is one."""

    def __init__(self, sample: PatchSet, labels: LabelFile | None = None) -> None:
        self.sample, self.labels = sample, labels

    @cached_property
    def networks(self) -> Networks:
        return load_mlps()

    @cached_property
    def answers(self) -> Answers:
        """Of the sample set, whoever asks."""
        return answer(self.networks, self.sample)

    def warm(self) -> None:
        """Compute what takes seconds before the first visitor asks."""
        self.answers  # noqa: B018

    # Queue "edit": changes of the session ------------------------------------------------------------------------

    def edit(self, change: Callable[[Session], Session], session: Session, message: str = "") -> list[Any]:
        """[session, memory, notice, patch, panel]"""
        before = session
        try:
            session = change(session)
            self._write(before, session)
        except LogError as error:
            session, message = before, notice(str(error))
        except OSError:
            session, message = before, notice("The last change could not be written to the file of ticks. Is it full?")
        same = before.patches is session.patches and before.at == session.at
        shown = SKIP if same else views.patch_view(session)
        return [session, to_memory(session, self.labels is None), message, shown, views.panel(session)]

    def _write(self, before: Session, session: Session) -> None:
        if self.labels is None:
            return
        for key, log in session.logs.items():
            old = before.logs.get(key, Log(log.header))
            known = len(old.records)
            goes_on = old.header == log.header and known > 0 and log.records[:known] == old.records
            if log.records != old.records:
                self.labels.append(session.key, log, known if goes_on else 0)

    def act(self, event: gr.SelectData, session: Session) -> list[Any]:
        """Keys and clicks of the panel, several at once where they came fast."""
        if session.patches is None:  # the server was started anew, and knows this page no more
            return [SKIP, SKIP, SKIP, SKIP, RELOAD]
        serial, events = read_message(event.value)
        if serial <= session.serial:
            return [SKIP, SKIP, SKIP, SKIP, views.panel(session)]  # it came twice
        done = self.edit(lambda session: session.apply(events), session)
        done[0] = done[0].numbered(serial)
        done[4] = views.panel(done[0])
        return done

    def show(self, patches: PatchSet | None, session: Session) -> list[Any]:
        """[show, result, caption, *edit]"""
        if patches is None:  # an upload that could not be read; what was wrong is said already
            return [SKIP] * 8
        known = patches.truth is not None
        message = notice(patches.note) if patches.note else ""
        result = "" if known else f'<p class="next">{escape(NOT_MADE_FOR_IT)}</p>'
        done = self.edit(lambda session: session.show(patches), session, message)
        return [gr.Button(interactive=known), result, views.caption(patches), *done]

    def back(self, session: Session) -> list[Any]:
        return self.show(self.sample, session)

    def restore(self, memory: Any) -> list[Any]:
        """[names, size, *show]: where the visitor left off."""
        key, session = from_memory(memory)
        if self.labels is not None:
            session = session.with_logs(self.labels.logs(session.key))
        names, size, message = SKIP, SKIP, ""
        own = session.logs.get(key or "")
        if own is not None and key != self.sample.header.key:
            names, size = ", ".join(own.header.classes), own.header.size
            message = notice("Your own picture is not kept here. Upload the same file again, and your ticks come back.")
        elif self.labels is not None and self.labels.damaged and session.logs:
            lines = ", ".join(map(str, self.labels.damaged[:5]))
            text = f"Line {lines} of the file of ticks was cut off and is left out. Look at your last patch again."
            message = notice(text)
        shown = self.show(self.sample, session)
        shown[5] = message
        if own is not None and key != self.sample.header.key:
            shown[4] = {**shown[4], "set": key}  # still that of the picture that is awaited
        return [names, size, *shown]

    def bring(self, path: str | None, session: Session) -> list[Any]:
        """[names, size, *show]: ticks that were saved before."""
        if path is None:
            return [SKIP] * 10
        try:
            log, cut_off = _read_log(path)
        except LogError as error:
            return [*[SKIP] * 7, notice(str(error)), SKIP, SKIP]
        shown = session.patches.header if session.patches else None
        if log.header not in (shown, self.sample.header):
            if log.header.key == self.sample.header.key or log.header.size not in SIZES:
                text = "These ticks belong to other patches than this page has."
                return [*[SKIP] * 7, notice(text), SKIP, SKIP]
            text = "These ticks belong to another picture. Upload that picture now, and they come back."
            done = self.edit(lambda session: session.restore(log), session, notice(text))
            done[1] = {**done[1], "set": log.header.key}
            return [", ".join(log.header.classes), log.header.size, SKIP, SKIP, SKIP, *done]
        patches = session.patches if log.header == shown and session.patches else self.sample
        done = self.edit(lambda session: session.restore(log).show(patches), session)
        if not done[2] and cut_off:
            done[2] = notice("The last line of the file was cut off and is left out. Look at the last patch again.")
        done[3] = views.patch_view(done[0])
        known = patches.truth is not None
        return [SKIP, SKIP, gr.Button(interactive=known), "", views.caption(patches), *done]

    def start_over(self, session: Session) -> list[Any]:
        if session.patches is None:
            return [SKIP] * 5
        return self.edit(Session.start_over, session)

    # Queue "slow": seconds, and no session -----------------------------------------------------------------------

    def read(self, path: str | None, names: str, size: int) -> tuple[PatchSet | None, Any]:
        """(patches, notice)"""
        if path is None:
            return None, ""
        try:
            upload = read_pixels(path, forget=True)
            return cut(upload, class_names(names or ""), int(size)), ""
        except (UploadError, NamesError) as error:
            return None, notice(str(error))

    def show_me(self, session: Session) -> tuple[Any, str]:
        """(result, notice)"""
        if session.patches is None or session.patches.header != self.sample.header:
            return SKIP, notice(NOT_MADE_FOR_IT)
        log = session.log
        if not log.done:
            return SKIP, notice("Finish a patch first: tick what it shows, then press Next.")
        return result_views.results(self.answers, compare(self.networks, self.answers, log), log), ""

    def save(self, kind: str, session: Session) -> tuple[str, str]:
        """(file packed for the page, notice)"""
        if session.patches is None or not session.log.records:
            return "", notice("There is nothing to save yet: tick what the first patch shows.")
        if kind == "log":
            return pack("ticks.jsonl", "application/jsonl", to_lines(session.log)), ""
        if not session.log.done:
            return "", notice("The table holds finished patches, and there is none yet: press Next after ticking.")
        return pack("ticks.csv", "text/csv", to_table(session.log, session.patches.corners)), ""


def _read_log(path: str) -> tuple[Log, bool]:
    """A visitor's file, which is deleted then."""
    try:
        return from_lines(read_file(path, LARGEST_LOG, forget=True))
    except UploadError as error:
        raise LogError(str(error)) from None
