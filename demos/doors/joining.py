"""Clean a visitor's message: keep the fields that pages use, and drop every path and address that the sender wrote.

Gradio treats any value with a "path" and a "meta" as a file on the server's disk, wherever it stands in a message. So a
path is kept only if it names an upload of this visitor, and is replaced by the path of that upload.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demos.doors.refusal import Refusal

FILE = {"_type": "gradio.FileData"}
FIELDS = ("data", "event_data", "fn_index", "trigger_id")
FOREIGN = ("path", "url", "meta")
DEEPEST = 64  # lists and dicts within each other
NOT_UNDERSTOOD = "This message cannot be understood."


def clean(body: bytes, own: Callable[[str], Path], session: Callable[[str], str]) -> bytes:
    """The cleaned message. body: JSON of Gradio's ``/queue/join``. own: from the name of a visitor's upload to its
    path. session: from a browser's name of a session to the server's. Raises Refusal."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(400, NOT_UNDERSTOOD) from None
    if not (isinstance(message, dict) and isinstance(message.get("session_hash"), str)):
        raise Refusal(400, NOT_UNDERSTOOD)
    kept = {field: _clean(message[field], own, DEEPEST) for field in FIELDS if field in message}
    return json.dumps(kept | {"session_hash": session(message["session_hash"])}).encode()


def _clean(value: Any, own: Callable[[str], Path], deepest: int) -> Any:
    if not deepest:
        raise Refusal(400, NOT_UNDERSTOOD)
    if isinstance(value, list):
        return [_clean(part, own, deepest - 1) for part in value]
    if not isinstance(value, dict):
        return value
    if value.get("meta") == FILE:
        path = own(str(value.get("path")))
        return {"path": str(path), "orig_name": path.name, "meta": FILE}
    return {key: _clean(part, own, deepest - 1) for key, part in value.items() if key not in FOREIGN}
