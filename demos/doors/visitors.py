"""Bind each session to one browser. A browser chooses the name of its session, and could choose another visitor's.

So each browser gets a random cookie, and the server knows a session by cookie and name together: the same name from
another browser is another session.
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
    """framed: whether other sites show pages in frames; browsers then require that the cookie says so."""

    def __init__(self, framed: bool = False) -> None:
        self._key = secrets.token_bytes(32)
        self._kind = "SameSite=None; Secure; Partitioned" if framed else "SameSite=Lax"

    def known(self, headers: Headers) -> str | None:
        """The visitor, from a request's cookie; None without one."""
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return None
        token = cookies[COOKIE].value if COOKIE in cookies else ""
        return token if TOKEN.fullmatch(token) else None

    def expect(self, headers: Headers) -> str:
        """The visitor, from a request's cookie. Raises Refusal without one."""
        visitor = self.known(headers)
        if visitor is None:
            raise Refusal(403, "This page needs a cookie to keep your work apart from other people's. Reload it.")
        return visitor

    def greet(self) -> str:
        """A header "Set-Cookie" for a visitor who has none. It names no path, so browsers return the cookie only to
        this page: of two pages that are opened at once, neither replaces the other's cookie."""
        return f"{COOKIE}={secrets.token_urlsafe(32)}; Max-Age={DAY}; HttpOnly; {self._kind}"

    def session(self, visitor: str, name: str) -> str:
        """The name under which Gradio knows a session."""
        return hmac.new(self._key, f"{visitor} {name}".encode(), hashlib.sha256).hexdigest()
