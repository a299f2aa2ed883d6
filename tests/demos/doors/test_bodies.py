"""Bodies are read to their limit in bytes and seconds, and no further."""

from __future__ import annotations

import asyncio
import time

import pytest

pytest.importorskip("starlette", reason="the demos need gradio: pip install 'histolab-lite[demos]'")

from starlette.datastructures import Headers  # noqa: E402
from starlette.requests import ClientDisconnect  # noqa: E402

from demos.doors.bodies import Pace, announced, chunks  # noqa: E402
from demos.doors.refusal import Refusal  # noqa: E402

QUICK = Pace(10, 10**6)


def read(parts: list[bytes | None], most: int, pace: Pace = QUICK, wait: float = 0.0) -> tuple[bytes, int]:
    """The body, and how many parts were asked for. None: the sender leaves. wait: seconds before each part."""
    asked = 0

    async def receive() -> dict:
        nonlocal asked
        asked += 1
        await asyncio.sleep(wait)
        part = parts[asked - 1]
        if part is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": part, "more_body": asked < len(parts)}

    async def gather() -> bytes:
        return b"".join([chunk async for chunk in chunks(receive, most, pace)])

    return asyncio.run(gather()), asked


def test_a_body_up_to_its_limit_is_read():
    assert read([b"ab", b"", b"cd"], 4) == (b"abcd", 3)
    assert read([b""], 0) == (b"", 1)


def test_a_larger_one_is_read_no_further():
    parts = [b"ab", b"cd", b"never read"]
    asked = iter(parts)

    async def receive() -> dict:
        return {"type": "http.request", "body": next(asked), "more_body": True}

    async def gather() -> None:
        async for _ in chunks(receive, 3, QUICK):
            pass

    with pytest.raises(Refusal) as refused:
        asyncio.run(gather())
    assert refused.value.status == 413
    assert next(asked) == b"never read"


def test_a_slow_one_is_given_up_and_a_steady_one_is_not():
    began = time.monotonic()
    with pytest.raises(Refusal) as refused:
        read([b"a"] * 100, 100, Pace(0.1, 10**6), wait=0.06)
    assert refused.value.status == 408
    assert time.monotonic() - began < 1
    assert read([b"a"] * 5, 100, Pace(0.1, 10), wait=0.06)[0] == b"aaaaa"


def test_a_sender_who_leaves_ends_it():
    with pytest.raises(ClientDisconnect):
        read([b"a", None], 10)


def test_a_length_is_believed_where_it_is_too_large():
    assert announced(Headers({"content-length": "7"}), 10) == 7
    assert announced(Headers(), 10) == 10
    for length, status in (("11", 413), ("9" * 15, 413), ("-1", 400), ("a", 400), ("²", 400), ("9" * 99, 400)):
        with pytest.raises(Refusal) as refused:
            announced(Headers(raw=[(b"content-length", length.encode("latin-1"))]), 10)
        assert refused.value.status == status, length
