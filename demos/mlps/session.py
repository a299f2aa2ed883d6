"""The state of one visitor: the patches, the patch in view, and the logs of tags. Nothing here changes in place."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from demos.mlps.log import Log, from_json
from demos.mlps.patch_sets import PatchSet
from demos.shared import memory
from demos.shared.memory import clean_seconds

MOST_SETS = 4  # per browser
MOST_EVENTS = 200  # per message of the page
KEY = re.compile("[0-9a-f]{32}")
NEXT_STATE = {None: True, True: False, False: True}  # when its key is pressed


@dataclass(frozen=True)
class Session:
    """key: secret, one per visitor. patches: those on the page. at: number of the patch in view. logs: by set, the set
    used last at the end. serial: number of the page's last message, so that one sent twice counts once."""

    key: str = ""
    patches: PatchSet | None = None
    at: int = 0
    logs: Mapping[str, Log] = field(default_factory=dict)
    serial: int = 0

    @property
    def log(self) -> Log:
        """The log of the patches on the page; an empty one if the log under their key is for other patches."""
        assert self.patches is not None
        header = self.patches.header
        kept = self.logs.get(header.key)
        return kept if kept is not None and kept.header == header else Log(header)

    def show(self, patches: PatchSet) -> Session:
        """Show another set, at its first patch that is not done."""
        session = replace(self, patches=patches)
        return replace(session._with(session.log), at=session._open_after(-1))

    def restore(self, log: Log) -> Session:
        """Replace the log of a set."""
        session = self._with(log)
        own = session.patches is not None and session.patches.header.key == log.header.key
        return session.show(session.patches) if own and session.patches else session

    def with_logs(self, logs: Mapping[str, Log]) -> Session:
        """Replace the browser's logs by those of a file."""
        return replace(self, logs=logs)

    def numbered(self, serial: int) -> Session:
        return replace(self, serial=serial)

    def start_over(self) -> Session:
        return replace(self._with(Log(self.log.header)), at=0)

    def apply(self, events: list[Any]) -> Session:
        """Apply the events that the page reports, in order; invalid ones are skipped.

        ["toggle", class, seconds], ["set", patch, class, true | false, seconds], ["next", seconds],
        ["undo", seconds], ["go", patch]; patches and classes by number.
        """
        session = self
        for event in events[:MOST_EVENTS]:
            match event:
                case ["toggle", int(index), seconds] if index in range(len(session.log.header.classes)):
                    name = session.log.header.classes[index]
                    value = NEXT_STATE[session.log.value(session.at, name)]
                    session = session._set(session.at, name, value, seconds)
                case ["set", int(patch), int(index), bool(value), seconds] if index in range(
                    len(session.log.header.classes)
                ) and patch in range(session.log.header.patches):
                    name = session.log.header.classes[index]
                    again = session.log.value(patch, name) is value  # a second press releases the button
                    session = session._set(patch, name, None if again else value, seconds)
                case ["next", seconds]:
                    session = session._next(seconds)
                case ["undo", seconds]:
                    session = session._undo(seconds)
                case ["go", int(patch)] if patch in range(session.log.header.patches):
                    session = replace(session, at=patch)
        return session

    def _set(self, patch: int, name: str | None, value: bool | None, seconds: Any) -> Session:
        return self._with(self.log.set(patch, name, value, clean_seconds(seconds)))

    def _next(self, seconds: Any) -> Session:
        done = self if self.at in self.log.done else self._set(self.at, None, True, seconds)
        return replace(done, at=done._open_after(self.at))

    def _undo(self, seconds: Any) -> Session:
        """Take the last change back and show its patch; without a change, go to the patch before."""
        log = self.log.undo(clean_seconds(seconds))
        if log is self.log:
            return replace(self, at=max(self.at - 1, 0))
        return replace(self._with(log), at=log.records[-1].patch)

    def _open_after(self, patch: int) -> int:
        """The next patch that is not done, with the first after the last; the next one if all are done."""
        done, number = set(self.log.done), self.log.header.patches
        for step in range(1, number + 1):
            if (patch + step) % number not in done:
                return (patch + step) % number
        return min(max(patch + 1, 0), number - 1)

    def _with(self, log: Log) -> Session:
        return replace(self, logs=memory.used_last(self.logs, log.header.key, log))


def new_key() -> str:
    return secrets.token_hex(16)


def to_memory(session: Session, logs: bool) -> dict[str, Any]:
    """The state that the visitor's browser keeps. logs: whether it keeps the tags too."""
    kept = [log.to_json() for log in session.logs.values() if log.records][-MOST_SETS:] if logs else []
    shown = session.patches.header.key if session.patches else None
    return memory.to_memory(session=session.key, set=shown, logs=kept)


def from_memory(kept: Any) -> tuple[str | None, Session]:
    """The set shown last, and a session without patches. Whatever ``to_memory`` cannot have written is skipped."""
    kept = memory.from_memory(kept)
    entries = memory.listed(kept.get("logs"))[-MOST_SETS:]
    logs = memory.fitting(entries, lambda entry: from_json(memory.listed(entry) or [None]))
    key = memory.text(kept.get("session")) or ""
    session = Session(key if KEY.fullmatch(key) else new_key(), logs={log.header.key: log for log in logs})
    return memory.text(kept.get("set")), session
