"""Whose session it is. A browser's program makes up the name of its session, and could make up another visitor's.

Each browser is given a cookie that nobody can guess, and the server knows a session by both together: the same name
from another browser is another session.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers

from demos.doors.refusal import Refusal

COOKIE = "visitor"
TOKEN = re.compile(r"[\w-]{43}", re.ASCII)
DAY = 24 * 3600


class Visitors:
    """framed: whether pages are shown in frames of other sites, where browsers want the cookie declared so."""

    def __init__(self, framed: bool = False) -> None:
        self._key = secrets.token_bytes(32)
        self._kind = "SameSite=None; Secure; Partitioned" if framed else "SameSite=Lax"

    def known(self, headers: Headers) -> str | None:
        """The visitor by a request's cookie."""
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return None
        token = cookies[COOKIE].value if COOKIE in cookies else ""
        return token if TOKEN.fullmatch(token) else None

    def expect(self, headers: Headers) -> str:
        """The same. Raises Refusal where there is none."""
        visitor = self.known(headers)
        if visitor is None:
            raise Refusal(403, "This page needs a cookie to keep your work apart from other people's. Reload it.")
        return visitor

    def greet(self) -> str:
        """A header "Set-Cookie" for a visitor who has none. It names no path, so browsers send the cookie back to this
        page alone: of two pages that are opened at once, none takes the other's cookie away."""
        return f"{COOKIE}={secrets.token_urlsafe(32)}; Max-Age={DAY}; HttpOnly; {self._kind}"

    def session(self, visitor: str, name: str) -> str:
        """What Gradio knows a session by."""
        return hmac.new(self._key, f"{visitor} {name}".encode(), hashlib.sha256).hexdigest()
