"""One server for all pages, or for one: a path per page, a health check, limits, and an optional password.

These environment variables set the limits; each has a default:

    HISTOLAB_DEMO_AUTH        name:password, asked of every visitor; by default there is no password
    HISTOLAB_DEMO_QUEUE       events that may wait on each page, 100; more are refused
    HISTOLAB_DEMO_VISITORS    visitors that each page remembers, 200; then it forgets the one longest away
    HISTOLAB_DEMO_UPLOAD_MB   size of an upload, 20 at most
    HISTOLAB_DEMO_SLIDE_MB    size of a whole slide, 200 at most
    HISTOLAB_DEMO_ROOM_MB     disk space for all uploads that no page has read yet, 2000
    HISTOLAB_DEMO_FRAMES      sites that may show a page in a frame, separated by spaces; by default none

``doors`` checks every request before a page sees it. Behind a proxy, set uvicorn's FORWARDED_ALLOW_IPS to the proxy's
address, so that each visitor is known by the visitor's own address.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import gradio as gr
import typer
import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import RedirectResponse, Response

from demos.doors.connections import PromptProtocol, allow_many
from demos.doors.folder import own_folder
from demos.doors.gate import Gate
from demos.doors.receiving import Uploads
from demos.shared.style import CSS, theme
from demos.shared.uploads import LARGEST_FILE, LARGEST_SLIDE

#: The options of every page's command.
Host = Annotated[str, typer.Option(help="127.0.0.1: only this machine; 0.0.0.0: the network.")]
Port = Annotated[int | None, typer.Option(help="By default the first free port from 7860.")]

FIRST_PORT, PORTS = 7860, 100
MB = 10**6
SITE = re.compile(r"https?://[a-z0-9*.-]+(:\d+)?", re.IGNORECASE | re.ASCII)
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#f3d9e6"/>'
    '<circle cx="8" cy="8" r="4.5" fill="#4b2e83"/></svg>'
)
GRACE = 3  # seconds, for open answers to be sent
MALLOC = ((-8, 2), (-3, 2**20), (-1, 2**20))  # M_ARENA_MAX; M_MMAP_THRESHOLD and M_TRIM_THRESHOLD, bytes
SWEEP, OLDEST = 600, 2400  # seconds: how often files are looked through, and which are deleted

#: Former names of pages. Links with them lead to the pages' present addresses.
MOVED = {"click-points": "cvm", "label-clusters": "proto2seg", "tag-patches": "mlps", "seed-slide": "sic"}

#: Options of every page: it shows no file of the server's disk and no traceback, and asks no other server.
SERVED: dict[str, Any] = {
    "theme": theme(),
    "css_paths": CSS,
    "footer_links": [],
    "show_error": False,
    "ssr_mode": False,
    "enable_monitoring": False,
    "run_history": False,
}


@dataclass(frozen=True)
class Limits:
    """auth: name and password. upload, slide, room: bytes. frames: see ``doors.headers``."""

    auth: tuple[str, str] | None = None
    queue: int = 100
    visitors: int = 200
    upload: int = LARGEST_FILE
    slide: int = LARGEST_SLIDE
    room: int = 2000 * MB
    frames: str = ""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Limits:
        """Read the variables above. ValueError names the wrong variable, but not its value, which may be a password."""
        auth = environment.get("HISTOLAB_DEMO_AUTH", "")
        name, colon, password = auth.partition(":")
        if auth and not (name and colon and password):
            raise ValueError("HISTOLAB_DEMO_AUTH must be a name, a colon and a password.")
        frames = environment.get("HISTOLAB_DEMO_FRAMES", "").split()
        if not all(SITE.fullmatch(site) for site in frames):
            raise ValueError("HISTOLAB_DEMO_FRAMES must be sites such as https://huggingface.co, separated by spaces.")
        return cls(
            auth=(name, password) if auth else None,
            queue=_number(environment, "HISTOLAB_DEMO_QUEUE", cls.queue, 10_000),
            visitors=_number(environment, "HISTOLAB_DEMO_VISITORS", cls.visitors, 10_000),
            upload=MB * _number(environment, "HISTOLAB_DEMO_UPLOAD_MB", cls.upload // MB, cls.upload // MB),
            slide=MB * _number(environment, "HISTOLAB_DEMO_SLIDE_MB", cls.slide // MB, cls.slide // MB),
            room=MB * _number(environment, "HISTOLAB_DEMO_ROOM_MB", cls.room // MB, 10**6),
            frames=" ".join(frames),
        )


def _number(environment: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = environment.get(name, "").strip() or str(default)
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
        raise ValueError(f"{name} must be a whole number from 1 to {most}.")
    return int(text)


def application(
    pages: Mapping[str, gr.Blocks],
    limits: Limits,
    uploads: Path,
    routers: Sequence[APIRouter] = (),
    slides: Collection[str] = (),
) -> Gate:
    """Mount all pages behind the gate.

    pages: by name; "cvm" is served at /cvm/, and / leads to the first. uploads: their folder, Gradio's GRADIO_TEMP_DIR.
    routers: more addresses behind the same gate, for GET requests only. slides: pages that accept whole slides.
    """
    app = FastAPI(openapi_url=None)  # nor the pages that describe it
    first = next(iter(pages))

    @app.get("/health")
    def health() -> dict[str, object]:
        """For a monitor of the server; it needs no password and tells nothing about visitors."""
        return {"status": "ok", "pages": list(pages)}

    @app.get("/favicon.ico")
    def icon() -> Response:
        return Response(ICON, media_type="image/svg+xml")

    @app.get("/")
    def start() -> RedirectResponse:
        return RedirectResponse(f"{first}/")  # relative, for a server that stands behind a path of another

    moved = {old: name for old, name in MOVED.items() if name in pages}
    for old, name in moved.items():
        for path, to in ((f"/{old}", f"{name}/"), (f"/{old}/", f"../{name}/")):  # relative, as above
            app.add_route(path, partial(_moved, to))
    for router in routers:
        app.include_router(router)
    largest = {name: limits.slide if name in slides else limits.upload for name in pages}
    for name, page in pages.items():
        page.queue(max_size=limits.queue, default_concurrency_limit=2, api_open=False)
        page.state_session_capacity = limits.visitors
        gr.mount_gradio_app(app, page, f"/{name}", max_file_size=largest[name], **SERVED)
        page.has_launched = True  # mounting does not set it, and without it Gradio gives out any file of the disk
    beside = {router.prefix.strip("/") for router in routers}
    return Gate(app, largest, beside, limits.auth, Uploads(uploads, limits.room), limits.frames, moved)


async def _moved(to: str, _: Request) -> Response:
    """Answer that a page has another address now."""
    return RedirectResponse(to, 308)


def serve(
    build: Callable[[], Mapping[str, gr.Blocks]],
    host: str,
    port: int | None,
    routers: Sequence[APIRouter] = (),
    slides: Collection[str] = (),
) -> None:
    """Serve pages until Ctrl-C, or until the system ends the server. port: by default the first free one from 7860.

    Uploads that no page has read yet are temporary files in a folder of this server. They are deleted within the hour,
    and when the server ends. build: makes the pages, see ``application``, once that folder exists.
    """
    try:
        limits = Limits.read(os.environ)
    except ValueError as error:
        raise SystemExit(f"Error: {error}") from None
    _give_back()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    allow_many()
    with own_folder() as uploads:
        app = application(build(), limits, uploads, routers, slides)
        port = port or free_port(host)
        print(f"Open http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}", flush=True)
        config = uvicorn.Config(
            app, host=host, port=port, log_level="warning", http=PromptProtocol, server_header=False, ws="none"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)  # open pages do not delay the end
        thread.start()
        try:
            while thread.is_alive():
                thread.join(SWEEP)
                forget(uploads, OLDEST)
        except KeyboardInterrupt:
            server.should_exit = True
            thread.join(GRACE)
    sys.stdout.flush()
    # An ordinary end would wait for computations whose results nobody will see.
    os._exit(0 if server.started else 1)  # it does not start if another program has the port


def _give_back() -> None:
    """Return freed memory to the system. glibc would keep one heap per thread, and the memory that encoding an image
    needs: with ten visitors, each with a large image of their own, 2.9 GiB instead of 1.8."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in MALLOC:
            mallopt(parameter, value)


def forget(folder: Path, oldest: float) -> None:
    """Delete files that are older than so many seconds, such as the rest of a broken upload."""
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # Gradio deletes too; a folder that still holds a file stays
            if time.time() - path.stat().st_mtime > oldest:
                path.rmdir() if path.is_dir() else path.unlink()


def free_port(host: str) -> int:
    """The first free port from 7860; OSError if a hundred ports are taken."""
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise OSError(f"no port from {FIRST_PORT} to {FIRST_PORT + PORTS - 1} is free; name one with --port.")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what is served at this address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
