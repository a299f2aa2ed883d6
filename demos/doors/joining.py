"""What of a visitor's message reaches a page: the fields that pages use, without a file or an address of the sender's.

Gradio takes any value with a "path" and a "meta" for a file of the server's disk, wherever it stands in a message.
Here a path is left only where it names an upload of this very visitor, and is then made the server's.
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
    """body: JSON of Gradio's ``/queue/join``. own: where the visitor's upload of that name lies. session: the server's
    name of a session. Raises Refusal."""
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
