"""A visitor who has left is computed for no longer: Gradio closes the generator, which gives up its place."""

from __future__ import annotations

import json
import threading
import time

import pytest

gr = pytest.importorskip("gradio", reason="the demos need gradio: pip install 'histolab-lite[demos]'")

import httpx  # noqa: E402
import uvicorn  # noqa: E402
from fastapi import FastAPI  # noqa: E402

from demos.serving import SERVED, free_port  # noqa: E402
from demos.sic.handlers import _visitor  # noqa: E402
from demos.sic.page import IN_TURNS  # noqa: E402
from demos.sic.turns import Turns  # noqa: E402


@pytest.fixture
def turns():
    return Turns(patience=0.05)


@pytest.fixture
def address(turns):
    def endless():
        while True:
            time.sleep(0.02)
            yield "at work"

    def work(request: gr.Request):
        yield from (str(said) for said in turns.share(endless(), _visitor(request)))

    with gr.Blocks() as page:
        gr.Button().click(work, None, gr.Textbox(), **IN_TURNS)
    page.queue()
    app = gr.mount_gradio_app(FastAPI(), page, "/page", **SERVED)
    port = free_port("127.0.0.1")
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}/page/gradio_api/queue"
    server.should_exit = True
    thread.join(10)


def wait_until(true) -> bool:
    until = time.monotonic() + 20
    while not true() and time.monotonic() < until:
        time.sleep(0.02)
    return true()


def test_who_leaves_gives_up_the_place_at_work_or_waiting(address, turns):
    with httpx.Client(timeout=20) as client:
        for session in ("one", "two"):
            client.post(f"{address}/join", json={"data": [], "fn_index": 0, "session_hash": session}).raise_for_status()
        with (
            client.stream("GET", f"{address}/data", params={"session_hash": "one"}) as one,
            client.stream("GET", f"{address}/data", params={"session_hash": "two"}) as two,
        ):
            for stream in (one, two):
                lines = (json.loads(line[5:]) for line in stream.iter_lines() if line.startswith("data:"))
                assert next(said for said in lines if said["msg"] == "process_generating")
            assert len(turns) == 2
    assert wait_until(lambda: len(turns) == 0)


