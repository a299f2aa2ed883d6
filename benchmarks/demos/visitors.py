"""A visitor of a demo without a browser: Gradio's protocol as its page speaks it, to measure and to test by.

An event is sent to the page's queue with the values of its inputs; its answer, read from the stream of the session's
events, changes the values of its outputs; then come the events that follow from it.
"""

from __future__ import annotations

import json
import random
import time
from typing import Any

import httpx


class Visitor:
    """One page as its visitor's browser sees it: what its components hold, and what an event sends and changes."""

    def __init__(self, client: httpx.AsyncClient, page: str, number: int) -> None:
        self.client, self.page, self.random = client, page, random.Random(number)
        self.session = f"visitor{number}"
        self.waits: list[float] = []
        self.errors: list[str] = []

    async def arrive(self) -> None:
        page = (await self.client.get(f"/{self.page}/", headers={"cookie": ""})).raise_for_status()
        self.cookie = {"cookie": page.headers["set-cookie"].partition(";")[0]}  # of this visitor, not of the client
        config = (await self.client.get(f"/{self.page}/config")).raise_for_status().json()
        self.events = {event["id"]: event for event in config["dependencies"]}
        self.ids = {part["props"].get("elem_id"): part["id"] for part in config["components"]}
        self.kinds = {part["id"]: part["type"] for part in config["components"]}
        self.values = {part["id"]: part["props"].get("value") for part in config["components"]}
        for event in self.events.values():
            if [name for _, name in event["targets"]] == ["load"]:
                await self.run(event)

    def value(self, elem_id: str) -> Any:
        return self.values[self.ids[elem_id]]

    async def act(self, elem_id: str, kind: str, data: Any = None) -> None:
        """An event of a component, and how long it took until all is shown."""
        (event,) = (e for e in self.events.values() if [self.ids[elem_id], kind] in map(list, e["targets"]))
        began = time.perf_counter()
        await self.run(event, data)
        self.waits.append(time.perf_counter() - began)

    async def upload(self, button: str, name: str, content: bytes) -> None:
        """A file; httpx.HTTPStatusError where the server takes none such, RuntimeError where the page does not."""
        form = {"files": (name, content)}
        sent = await self.client.post(f"/{self.page}/gradio_api/upload", files=form, headers=self.cookie)
        path = sent.raise_for_status().json()[0]
        self.values[self.ids[button]] = {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}
        await self.act(button, "upload")

    async def run(self, event: dict[str, Any], data: Any = None) -> None:
        """One event, then those that follow from it."""
        if event["backend_fn"]:
            sent = [None if self.kinds[i] == "state" else self.values[i] for i in event["inputs"]]
            body = {"data": sent, "event_data": data, "fn_index": event["id"], "session_hash": self.session}
            output = await self.answer(body)
            for i, value in zip(event["outputs"], output["data"], strict=True):
                if isinstance(value, dict) and value.get("__type__") == "update":
                    self.values[i] = value.get("value", self.values[i])
                elif self.kinds[i] != "state":
                    self.values[i] = value
            for changed in output.get("changed_state_ids", ()):
                for other in self.events.values():
                    if [changed, "change"] in map(list, other["targets"]):
                        await self.run(other)
        for other in self.events.values():
            if other["trigger_after"] == event["id"]:
                await self.run(other)

    async def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """RuntimeError where the server failed to give one."""
        api = f"/{self.page}/gradio_api/queue"
        joined = (await self.client.post(f"{api}/join", json=body, headers=self.cookie)).raise_for_status().json()
        session = {"session_hash": self.session}
        async with self.client.stream("GET", f"{api}/data", params=session, headers=self.cookie) as stream:
            async for line in stream.aiter_lines():
                if not line.startswith("data:"):
                    continue
                message = json.loads(line[5:])
                if message.get("event_id") == joined["event_id"] and message["msg"] == "process_completed":
                    if not message["success"]:
                        raise RuntimeError(f"{self.page}: {message['output'].get('error')}")
                    return message["output"]
        raise RuntimeError(f"{self.page}: the stream ended without an answer")
