"""The files that a page hands to its visitor."""

import base64
import json


def unpack(packed: str) -> tuple[str, bytes]:
    """Name and content of a file from ``demos.shared.saving.pack``."""
    file = json.loads(packed)
    return file["name"], base64.b64decode(file["content"])
