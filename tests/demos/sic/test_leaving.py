"""A visitor who has left is not computed for: Gradio closes the generator, which gives up its place."""

import json
import threading
import time

import gradio as gr
import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from demos.serving import SERVED, free_port
from demos.sic.handlers import _visitor
from demos.sic.page import IN_TURNS
from demos.sic.turns import Turns
from tests.demos.sic.planted import wait_until


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
    wait_until(lambda: server.started)
    yield f"http://127.0.0.1:{port}/page/gradio_api/queue"
    server.should_exit = True
    thread.join(10)


def test_a_visitor_who_leaves_gives_up_the_place_at_work_or_waiting(address, turns):
    with httpx.Client(timeout=60) as client:
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
    wait_until(lambda: len(turns) == 0)
