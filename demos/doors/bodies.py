"""Read a request's body, with a limit on its size and on its time."""

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
    """The time for a body: ``patience`` seconds, and one more second per ``bytes_per_second`` bytes received."""

    patience: float
    bytes_per_second: float


def announced(headers: Headers, most: int) -> int:
    """The announced size in bytes, or the largest allowed if none is announced. Raises Refusal for a larger one."""
    length = headers.get("content-length", str(most))
    if not (length.isascii() and length.isdigit() and len(length) < 16):
        raise Refusal(400, "The length of this request is not a number.")
    if int(length) > most:
        raise _too_large(most)
    return int(length)


async def chunks(receive: Receive, most: int, pace: Pace) -> AsyncGenerator[bytes, None]:
    """Yield the body part by part. most: its largest size in bytes.

    Raises Refusal for a body that is too large or too slow, ClientDisconnect if the sender has left.
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
