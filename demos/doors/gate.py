"""The only entrance, before all routes of all pages. It checks the password, the address and the size of a request, in
this order, before it reads the body."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demos.doors.bodies import Pace, announced, chunks
from demos.doors.headers import headers
from demos.doors.joining import clean
from demos.doors.password import Password
from demos.doors.receiving import Uploads
from demos.doors.refusal import Refusal
from demos.doors.routes import Kind, Routes
from demos.doors.visitors import Visitors

LARGEST_MESSAGE = 10**6  # bytes
FORM = 10**4  # bytes around an upload's file
MESSAGE_PACE, UPLOAD_PACE = Pace(10, 100_000), Pace(20, 10_000)
#: At the same time: from one address, which may be that of a lecture hall, and from all.
MOST_REQUESTS, MOST_BODIES = (500, 2000), (50, 200)


class Gate:
    """The application of all pages behind its checks. largest: bytes of an upload, by page. others, moved: see
    ``Routes``. auth: name and password. frames: sites that may show pages in a frame, separated by spaces."""

    def __init__(
        self,
        app: ASGIApp,
        largest: Mapping[str, int],
        others: Collection[str],
        auth: tuple[str, str] | None,
        uploads: Uploads,
        frames: str = "",
        moved: Collection[str] = (),
    ) -> None:
        self._app, self._largest, self._uploads, self._frames = app, largest, uploads, frames
        self._routes = Routes(largest, others, moved)
        self._password, self._visitors = Password(auth), Visitors(bool(frames))
        self._requests, self._bodies = Counter[str](), Counter[str]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            send = _adding(send, headers(scope["path"], self._frames))
            address = (scope.get("client") or ("",))[0]
            try:
                with _counted(self._requests, address, MOST_REQUESTS):
                    await self._let_in(scope, receive, send, address)
            except Refusal as refusal:
                await refusal.answer()(scope, receive, send)
            except ClientDisconnect:
                pass
        else:  # no page opens a web socket
            await send({"type": "websocket.close", "code": 1008})

    async def _let_in(self, scope: Scope, receive: Receive, send: Send, address: str) -> None:
        said = Headers(scope=scope)
        kind, page = self._routes.find(scope["method"], scope["path"])
        if kind is not Kind.OPEN:
            self._password.check(said.get("authorization", ""))
        if kind is Kind.UPLOAD:
            await self._upload(scope, receive, send, address, page)
        elif kind is Kind.JOIN:
            await self._join(scope, receive, send, address)
        elif kind is Kind.NOTHING:
            raise Refusal(404, "There is nothing at this address.")
        elif said.get("content-length", "0") != "0" or "transfer-encoding" in said:
            raise Refusal(400, "A request of this kind has no body.")
        elif kind is Kind.LISTEN:
            await self._listen(scope, receive, send)
        else:
            if kind is Kind.PAGE and self._visitors.known(said) is None:
                send = _adding(send, [(b"set-cookie", self._visitors.greet().encode())])
            await self._app(_asking(scope, scope["path"], {}), receive, send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send, address: str, page: str) -> None:
        said, most = Headers(scope=scope), self._largest[page]
        visitor = self._visitors.expect(said)
        with _counted(self._bodies, address, MOST_BODIES):
            size = announced(said, most + FORM)
            body = chunks(receive, size, UPLOAD_PACE)
            response = await self._uploads.receive(said, body, size, visitor, address)
        await response(scope, receive, send)

    async def _join(self, scope: Scope, receive: Receive, send: Send, address: str) -> None:
        said = MutableHeaders(raw=list(scope["headers"]))
        visitor = self._visitors.expect(said)
        with _counted(self._bodies, address, MOST_BODIES):
            sent = chunks(receive, announced(said, LARGEST_MESSAGE), MESSAGE_PACE)
            body = b"".join([chunk async for chunk in sent])
        body = clean(body, partial(self._uploads.own, visitor), partial(self._visitors.session, visitor))
        del said["transfer-encoding"]
        said["content-length"] = str(len(body))
        await self._app({**scope, "headers": said.raw}, _replaying(body, receive), send)

    async def _listen(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = partial(self._visitors.session, self._visitors.expect(Headers(scope=scope)))
        before, slash, last = scope["path"].rpartition("/")
        if before.endswith("heartbeat"):
            scope = _asking(scope, f"{before}{slash}{session(last)}", {})
        else:
            asked = parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])
            scope = _asking(scope, scope["path"], {"session_hash": session(asked[0])})
        await self._app(scope, receive, send)


@contextmanager
def _counted(now: Counter[str], address: str, most: tuple[int, int]) -> Iterator[None]:
    """Count what runs at the same time. most: from one address, from all. Raises Refusal if there is too much."""
    of_one, of_all = most
    if now[address] >= of_one or now.total() >= of_all:
        raise Refusal(429, "The server has too many requests just now. Try again in a minute.")
    now[address] += 1
    try:
        yield
    finally:
        now[address] -= 1
        if not now[address]:
            del now[address]


def _adding(send: Send, said: list[tuple[bytes, bytes]]) -> Send:
    """A ``send`` that adds headers to the answer."""

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *said]}
        await send(message)

    return answer


def _asking(scope: Scope, path: str, query: Mapping[str, str]) -> Scope:
    """The same request with this path and query. All else in its query is dropped: Gradio would restore the page that a
    ``deep_link`` names from its disk."""
    return {**scope, "path": path, "raw_path": path.encode(), "query_string": urlencode(query).encode()}


def _replaying(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that repeats a body that was read already, then goes on, for example when the sender leaves."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again
