"""A panel of buttons and keys: its script, and the messages with which the page reports what the visitor does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RELOAD = '<div data-serial="0" data-reload=""></div>'  # makes the page reload itself; the browser has kept all labels
HERE = Path(__file__).parent
MESSAGES, PANEL = HERE / "messages.js", HERE / "panel.js"


def script(*files: Path) -> str:
    """Join files of JavaScript into one program."""
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def read_message(value: Any) -> tuple[int, list[Any]]:
    """The number and the events of a message from the page; (0, []) for anything else."""
    try:
        message = json.loads(value)
        serial, events = message["serial"], message["events"]
    except (TypeError, ValueError, KeyError, RecursionError):
        return 0, []
    fits = isinstance(serial, int) and isinstance(events, list)
    return (serial, events) if fits else (0, [])
