"""The requests that are allowed. Gradio serves about sixty routes; the pages use nine of them, and only these pass.

So nobody can ask for a file of the server (``/file=``), fetch an address through it (``/proxy=``), or call a handler
without the queue (``/run``, ``/call``), in any version of Gradio.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import Enum


class Kind(Enum):
    """What a request wants."""

    OPEN = "needs no password"
    READ = "an answer to GET"
    PAGE = "a page, whose visitor is given a name"
    LISTEN = "a session's events"
    JOIN = "a message to a page"
    UPLOAD = "a file for a page"
    NOTHING = "nothing that exists"


NAME = r"[\w-][\w.-]*"
SESSION = r"[A-Za-z0-9]{1,64}"
#: Paths below a page's address, by method.
READ = re.compile(rf"(config|theme\.css|(assets|static)(/{NAME})+|gradio_api/(app_id|startup-events))")
LISTEN = re.compile(rf"gradio_api/(queue/data|heartbeat/{SESSION})")
POSTED = {"gradio_api/queue/join": Kind.JOIN, "gradio_api/upload": Kind.UPLOAD}
OPEN = ("/health", "/favicon.ico")


class Routes:
    """pages: their names. others: first parts of further addresses, for GET only. moved: former names of pages, which
    lead to the present ones."""

    def __init__(self, pages: Collection[str], others: Collection[str], moved: Collection[str] = ()) -> None:
        self._pages, self._others, self._moved = frozenset(pages), frozenset(others), frozenset(moved)

    def find(self, method: str, path: str) -> tuple[Kind, str]:
        """What a request wants, and from which page; "" for no page."""
        name, slash, rest = path.removeprefix("/").partition("/")
        page = name if name in self._pages else ""
        if method in ("GET", "HEAD"):
            if path in OPEN:
                return Kind.OPEN, ""
            if path == "/" or name in self._others or (page and not slash):
                return Kind.READ, ""
            if name in self._moved and not rest:
                return Kind.READ, ""
            if page and not rest:
                return Kind.PAGE, page
            if page and READ.fullmatch(rest):
                return Kind.READ, page
            if page and LISTEN.fullmatch(rest):
                return Kind.LISTEN, page
        if method == "POST" and page and rest in POSTED:
            return POSTED[rest], page
        return Kind.NOTHING, ""
