"""A request's body, read no further than its limit and no longer than a slow line takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from demos.doors.refusal import Refusal


@dataclass(frozen=True)
class Pace:
    """Who has sent so many bytes has ``patience`` seconds for them, and one more for each ``bytes_per_second``."""

    patience: float
    bytes_per_second: float


def announced(headers: Headers, most: int) -> int:
    """Bytes that a request says it has, or the most it may have. Raises Refusal where it has more."""
    length = headers.get("content-length", str(most))
    if not (length.isascii() and length.isdigit() and len(length) < 16):
        raise Refusal(400, "The length of this request is no number.")
    if int(length) > most:
        raise _too_large(most)
    return int(length)


async def chunks(receive: Receive, most: int, pace: Pace) -> AsyncGenerator[bytes, None]:
    """The body as it comes. most: bytes.

    Raises Refusal for a body that is too large or too slow, ClientDisconnect where the sender has gone.
    """
    start, received = asyncio.get_running_loop().time(), 0
    more = True
    while more:
        try:
            async with asyncio.timeout_at(start + pace.patience + received / pace.bytes_per_second):
                message = await receive()
        except TimeoutError:
            raise Refusal(408, "This took too long to arrive. Try again.") from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        received += len(chunk)
        if received > most:
            raise _too_large(most)
        more = message.get("more_body", False)
        yield chunk


def _too_large(most: int) -> Refusal:
    return Refusal(413, f"This is larger than {most / 1e6:.0f} MB, the most that can be sent here.")
