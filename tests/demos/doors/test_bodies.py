"""Bodies are read up to a limit in bytes and seconds, and no further."""

import asyncio

import pytest
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from demos.doors.bodies import Pace, announced, chunks
from tests.demos.doors.refusals import refusal

QUICK = Pace(10, 10**6)


class Hurried(asyncio.SelectorEventLoop):
    """An event loop in which nobody waits: its clock jumps to whatever is due next."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        due = [timer.when() for timer in self._scheduled if not timer.cancelled()]
        if due and not self._ready:
            self.now = max(self.now, min(due))
        super()._run_once()


def read(parts: list[bytes | None], most: int, pace: Pace = QUICK, wait: float = 0.0) -> bytes:
    """The body of a sender who waits so many seconds before each part; None: the sender leaves."""

    async def receive() -> dict:
        await asyncio.sleep(wait)
        part = parts.pop(0)
        kind = "http.disconnect" if part is None else "http.request"
        return {"type": kind, "body": part, "more_body": bool(parts)}

    async def gather() -> bytes:
        return b"".join([chunk async for chunk in chunks(receive, most, pace)])

    with asyncio.Runner(loop_factory=Hurried) as runner:
        return runner.run(gather())


def test_a_body_is_read_up_to_its_limit_and_no_further():
    assert read([b"ab", b"", b"cd"], 4) == b"abcd"
    assert read([b""], 0) == b""
    parts = [b"ab", b"cd", b"never read"]
    with refusal(413, "larger"):
        read(parts, 3)
    assert parts == [b"never read"]
    with pytest.raises(ClientDisconnect):
        read([b"a", None], 10)


def test_a_sender_has_some_seconds_and_one_more_for_so_many_bytes():
    pace = Pace(patience=10.25, bytes_per_second=2)
    assert read([b"a"] * 19, 100, pace, wait=1) == b"a" * 19
    late = [b"a"] * 30
    with refusal(408, "too long"):
        read(late, 100, pace, wait=1)
    assert len(late) == 11  # after 19 bytes there are 19.75 seconds; the next byte would take 20


@pytest.mark.parametrize(
    ("length", "status"), [("11", 413), ("9" * 15, 413), ("-1", 400), ("a", 400), ("²", 400), ("9" * 99, 400)]
)
def test_a_length_is_believed_where_it_is_too_large(length, status):
    assert announced(Headers({"content-length": "7"}), 10) == 7
    assert announced(Headers({"content-length": "10"}), 10) == announced(Headers(), 10) == 10
    with refusal(status):
        announced(Headers(raw=[(b"content-length", length.encode("latin-1"))]), 10)
