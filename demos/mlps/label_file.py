"""An append-only file of all visitors' tags: one JSON line per change, synced to the disk before the page shows it.

Every line names its visitor's session and its set of patches; a header line starts the log of its set anew. An
incomplete line, as after a power cut, is skipped and reported; the next change starts on a new line.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from demos.mlps.log import Header, Log, header_from_json, record_from_json


class LabelFile:
    """The file of tags. Raises OSError where the file cannot be created, read or, in ``append``, written."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)
        self._torn = self._path.read_bytes()[-1:] not in (b"", b"\n")
        self.damaged = [number for number, entry in self._entries() if entry is None]

    def append(self, session: str, log: Log, since: int) -> None:
        """Write the records of a log from number ``since`` on, and its header first if ``since`` is 0."""
        new: list[dict[str, Any]] = [record.to_json() for record in log.records[since:]]
        if since == 0:
            new.insert(0, log.header.to_json())
        with self._lock:
            for entry in new:
                line = json.dumps({"session": session, "set": log.header.key, **entry}, ensure_ascii=False) + "\n"
                self._write(line.encode())

    def _write(self, line: bytes) -> None:
        line = b"\n" + line if self._torn else line
        self._torn = True  # until the whole line is on the disk
        if os.write(self._file, line) < len(line):
            raise OSError("the line was written in part")
        os.fsync(self._file)
        self._torn = False

    def logs(self, session: str) -> dict[str, Log]:
        """The logs of a session by set, in the order in which they were started."""
        headers: dict[str, Header] = {}
        records: dict[str, list] = {}
        for _, entry in self._entries():
            if entry is None or entry.get("session") != session:
                continue
            key = entry.get("set")
            if not isinstance(key, str):
                continue
            header = header_from_json(entry)
            if header is not None:
                headers.pop(key, None)
                headers[key], records[key] = header, []
            elif key in headers and (record := record_from_json(entry, headers[key])) is not None:
                records[key].append(record)
        return {key: replace(Log(header), records=tuple(records[key])) for key, header in headers.items()}

    def _entries(self) -> Iterable[tuple[int, dict[str, Any] | None]]:
        """Line numbers from 1, each with the line's JSON object, or None where the line holds none."""
        with self._path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    entry = json.loads(line)
                except (ValueError, RecursionError):
                    entry = None
                yield number, entry if isinstance(entry, dict) else None
