"""HTTP basic authentication, RFC 7617: the browser asks the visitor once, and then sends the password along."""

from __future__ import annotations

import base64
import binascii
import secrets

from demos.doors.refusal import Refusal


class Password:
    """auth: name and password; with None everybody may enter."""

    def __init__(self, auth: tuple[str, str] | None) -> None:
        self._expected = None if auth is None else ":".join(auth).encode()

    def check(self, header: str) -> None:
        """Raise Refusal for a wrong password. header: the request's "Authorization"."""
        if self._expected is None:
            return
        scheme, _, sent = header.partition(" ")
        try:
            given = base64.b64decode(sent, validate=True) if scheme.lower() == "basic" else b""
        except (binascii.Error, ValueError):
            given = b""
        if not secrets.compare_digest(given, self._expected):
            raise Refusal(401, "A name and a password are needed.", {"WWW-Authenticate": 'Basic realm="demos"'})
