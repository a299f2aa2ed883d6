"""Attacks by sheer size and number, and how the server's memory and its other visitors fare meanwhile."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator

from tests.demos.hub import Hub, Row

GIGABYTE, CHUNK = 10**9, b"x" * 10**6
SLOW = 300  # of each kind
FORM = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
GROWTH = 100  # MB that an attack may take of the server's memory


def gigabytes(hub: Hub) -> Iterator[Row]:
    """A gigabyte to every kind of route, with and without its length."""
    page = hub.pages()[0]
    with hub.client(page) as client:
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    for auth in (hub.headers, {}) if hub.auth else ({},):
        for method, path in (
            ("POST", f"/{page}/gradio_api/queue/join"),
            ("POST", f"/{page}/gradio_api/upload"),
            ("POST", f"/{page}/gradio_api/run/predict"),
            ("POST", "/health"),
            ("GET", f"/{page}/"),
        ):
            for length in (f"Content-Length: {GIGABYTE}", "Transfer-Encoding: chunked"):
                before = hub.memory()
                form = path.endswith("upload")
                kind = "multipart/form-data; boundary=b" if form else "application/json"
                said = {**auth, "Cookie": cookie, "Content-Type": kind}
                status, sent, peak = _pour(hub, method, path, said, length, FORM if form else b"")
                grown = max(peak, hub.memory()) - before
                answer = f"{status} after {sent / 1e6:.0f} MB; memory {grown:+.0f} MB"
                who = "" if auth or not hub.auth else ", no password"
                held = status in (400, 401, 404, 413) and grown < GROWTH and hub.healthy() <= 1.0
                yield Row(f"1 GB to {method} {path}, {length.split(':')[0]}{who}", answer, held)


def slowness(hub: Hub) -> Iterator[Row]:
    """Many connections that send a byte now and then, or nothing."""
    page = hub.pages()[0]
    with hub.client(page) as client:
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    said = "".join(f"{name}: {value}\r\n" for name, value in {**hub.headers, "Cookie": cookie, "Host": "a"}.items())
    posts = f"POST /{page}/gradio_api/queue/join HTTP/1.1\r\n{said}Content-Length: 1000\r\n\r\n{{"
    starts = {"bodies": posts, "heads": f"GET /{page}/ HTTP/1.1\r\nHost: a\r\nX-A: ", "silent": ""}
    before, began = hub.memory(), time.monotonic()
    opened = [(socket.create_connection((hub.host, hub.port), timeout=5), what) for what in starts for _ in range(SLOW)]
    waits = []
    try:
        for connection, what in opened:
            connection.sendall(starts[what].encode())
        left = opened
        while left and time.monotonic() - began < 60:
            waits.append(hub.healthy())
            grown = hub.memory() - before
            left = [(connection, what) for connection, what in left if not _closed(connection)]
            time.sleep(0.5)
    finally:
        for connection, _ in opened:
            connection.close()
    seconds = time.monotonic() - began
    answer = f"health {max(waits):.2f} s; memory {grown:+.0f} MB; {len(left)} left after {seconds:.0f} s"
    attack = f"{SLOW} slow connections each: {', '.join(starts)}"
    yield Row(attack, answer, max(waits) <= 1.0 and grown < GROWTH and not left)


def _pour(hub: Hub, method: str, path: str, said: dict[str, str], length: str, start: bytes) -> tuple[int, int, float]:
    """Status, bytes sent before the server would take no more, and its largest memory meanwhile, MB."""
    lines = [f"{method} {path} HTTP/1.1", "Host: a", length, *(f"{name}: {value}" for name, value in said.items())]
    chunked = "chunked" in length
    part = b"%x\r\n%s\r\n" % (len(CHUNK), CHUNK) if chunked else CHUNK
    first = b"%x\r\n%s\r\n" % (len(start), start) if chunked and start else start
    sent, peak = 0, 0.0
    with socket.create_connection((hub.host, hub.port), timeout=20) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        connection.sendall(first)
        connection.settimeout(5)
        try:
            while sent < GIGABYTE:
                connection.sendall(part)
                sent += len(CHUNK)
                peak = max(peak, hub.memory())
                if _readable(connection):
                    break
        except OSError:
            pass
        try:
            connection.settimeout(10)
            status = int(connection.recv(4096).split(b" ")[1])
        except (OSError, IndexError):
            status = 0
    return status, sent, peak


def _readable(connection: socket.socket) -> bool:
    waiting = select.poll()  # select itself takes no more than 1024 connections
    waiting.register(connection, select.POLLIN)
    return bool(waiting.poll(0))


def _closed(connection: socket.socket) -> bool:
    """Whether the server has ended it, with an answer or without."""
    if not _readable(connection):
        return False
    try:
        while connection.recv(65536):
            if not _readable(connection):
                return False
    except OSError:
        pass
    return True
