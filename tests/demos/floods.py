"""Attacks by size and number; the server's memory and the wait of other visitors are measured."""

import contextlib
import select
import socket
import time
from collections.abc import Iterator
from itertools import product

from tests.demos.hub import Hub, Row

GIGABYTE, CHUNK = 10**9, b"x" * 10**6
SLOW = 300  # of each kind
FORM = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
GROWTH = 100  # MB that an attack may take of the server's memory
SOON = 10.0  # seconds until another visitor has an answer; a busy machine needs more than the usual hundredths
ROUTES = (
    ("POST", "/{page}/gradio_api/queue/join"),
    ("POST", "/{page}/gradio_api/upload"),
    ("POST", "/{page}/gradio_api/run/predict"),
    ("POST", "/health"),
    ("GET", "/{page}/"),
)


def gigabytes(hub: Hub) -> Iterator[Row]:
    """A gigabyte to every kind of route, with and without its length, with and without the password."""
    lengths = (f"Content-Length: {GIGABYTE}", "Transfer-Encoding: chunked")
    cookie = hub.cookie()
    for auth, (method, route), length in product((hub.headers, {}) if hub.auth else ({},), ROUTES, lengths):
        path, before = route.format(page=hub.pages[0]), hub.memory()
        form = path.endswith("upload")
        kind = "multipart/form-data; boundary=b" if form else "application/json"
        said = {**auth, "Cookie": cookie, "Content-Type": kind}
        status, sent, peak = _pour(hub, method, path, said, length, FORM if form else b"")
        grown = max(peak, hub.memory()) - before
        answer = f"{status} after {sent / 1e6:.0f} MB; memory {grown:+.0f} MB"
        who = "" if auth or not hub.auth else ", no password"
        held = status in (400, 401, 404, 413) and grown < GROWTH and hub.healthy() <= SOON
        yield Row(f"1 GB to {method} {path}, {length.split(':')[0]}{who}", answer, held)


def slowness(hub: Hub) -> Iterator[Row]:
    """Many connections that send a byte now and then, or nothing."""
    page = hub.pages[0]
    said = "".join(f"{name}: {value}\r\n" for name, value in {**hub.headers, "Cookie": hub.cookie()}.items())
    posts = f"POST /{page}/gradio_api/queue/join HTTP/1.1\r\nHost: a\r\n{said}Content-Length: 1000\r\n\r\n{{"
    starts = {"bodies": posts, "heads": f"GET /{page}/ HTTP/1.1\r\nHost: a\r\nX-A: ", "silent": ""}
    before, began = hub.memory(), time.monotonic()
    waits, grown = [], 0.0
    with contextlib.ExitStack() as opened:
        left = []
        for start in starts.values():
            for _ in range(SLOW):
                left.append(opened.enter_context(socket.create_connection((hub.host, hub.port), timeout=5)))
                left[-1].sendall(start.encode())
        while left and time.monotonic() - began < 60:
            waits.append(hub.healthy())
            grown = max(grown, hub.memory() - before)
            left = [connection for connection in left if not _closed(connection)]
            time.sleep(0.5)
    seconds = time.monotonic() - began
    answer = f"health {max(waits):.2f} s; memory {grown:+.0f} MB; {len(left)} left after {seconds:.0f} s"
    attack = f"{SLOW} slow connections each: {', '.join(starts)}"
    yield Row(attack, answer, max(waits) <= SOON and grown < GROWTH and not left)


def _pour(hub: Hub, method: str, path: str, said: dict[str, str], length: str, start: bytes) -> tuple[int, int, float]:
    """Status, bytes sent before the server would take no more, and its largest memory meanwhile, MB."""

    def part(content: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(content), content) if "chunked" in length and content else content

    lines = [f"{method} {path} HTTP/1.1", "Host: a", length, *(f"{name}: {value}" for name, value in said.items())]
    sent, peak, chunk = 0, 0.0, part(CHUNK)
    with socket.create_connection((hub.host, hub.port), timeout=20) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + part(start))
        connection.settimeout(5)
        with contextlib.suppress(OSError):
            while sent < GIGABYTE and not _readable(connection):
                connection.sendall(chunk)
                sent += len(CHUNK)
                peak = max(peak, hub.memory())
        connection.settimeout(10)
        try:
            return int(connection.recv(4096).split(b" ")[1]), sent, peak
        except (OSError, IndexError):
            return 0, sent, peak


def _readable(connection: socket.socket) -> bool:
    waiting = select.poll()  # select itself takes no more than 1024 connections
    waiting.register(connection, select.POLLIN)
    return bool(waiting.poll(0))


def _closed(connection: socket.socket) -> bool:
    """Whether the server has ended it, with an answer or without."""
    with contextlib.suppress(OSError):
        while _readable(connection):
            if not connection.recv(65536):
                return True
        return False
    return True
