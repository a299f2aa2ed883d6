"""A panel of buttons and keys: its script, and the messages in which a page reports what its visitor does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RELOAD = '<div data-serial="0" data-reload=""></div>'  # lets the page load itself again, with all that was kept


def script(room: str) -> str:
    """JavaScript for the panel of a page, by the folder of its parts."""
    names = "messages.js", "panel.js", f"{room}/page.js"
    return "\n".join((Path(__file__).parent / name).read_text(encoding="utf-8") for name in names)


def read_message(value: Any) -> tuple[int, list[Any]]:
    """(serial, events) as the page sends them; (0, []) for anything else."""
    try:
        message = json.loads(value)
        serial, events = message["serial"], message["events"]
    except (TypeError, ValueError, KeyError, RecursionError):
        return 0, []
    fits = isinstance(serial, int) and isinstance(events, list)
    return (serial, events) if fits else (0, [])
