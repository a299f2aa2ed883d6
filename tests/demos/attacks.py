"""Attacks on a running hub over plain HTTP, and what it answers.

    python -m tests.demos.attacks http://127.0.0.1:7860 [--auth name:password] [--pid 1234]

Start the hub yourself, on this machine: the attacks hold a thousand connections and send a gigabyte. With --pid, of the
server, they also measure its memory.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer

from demos.doors.connections import allow_many
from tests.demos.floods import gigabytes, slowness
from tests.demos.hub import Hub, Row, raw, refused, short

FILE = {"_type": "gradio.FileData"}


def every(hub: Hub) -> Iterator[Row]:
    """All attacks, those that hold many connections last."""
    for attack in ATTACKS:
        yield from attack(hub)


def strangers(hub: Hub) -> Iterator[Row]:
    """Without the password, or with a wrong one."""
    if not hub.auth:
        return
    with httpx.Client(base_url=hub.url, timeout=30, trust_env=False) as client:
        for page in hub.pages():
            api = f"/{page}/gradio_api"
            for method, path in (
                *(("GET", f"/{page}/{rest}") for rest in ("", "config", "theme.css", "assets/index.js")),
                *(
                    ("GET", f"{api}/{rest}")
                    for rest in ("info", "openapi.json", "queue/data?session_hash=a", "stream/a")
                ),
                *(("POST", f"{api}/{rest}") for rest in ("queue/join", "upload", "cancel", "reset", "stream/a")),
            ):
                yield refused(f"no password: {method} {path}", client.request(method, path, json={}), hub, 401)
        for wrong in ("Basic " + base64.b64encode(b"a:b").decode(), "Basic ???", "Bearer abc", hub.auth):
            answer = client.get(f"/{page}/", headers={"Authorization": wrong})
            yield refused(f"a wrong password: {wrong[:12]}", answer, hub, 401)


def addresses(hub: Hub) -> Iterator[Row]:
    """A file, or another server, named in an address."""
    targets = _targets(hub)
    with hub.client() as client:
        for page in hub.pages():
            api = f"/{page}/gradio_api"
            for target in targets:
                for address in (f"{api}/file={target}", f"{api}/file/{target}", f"{api}/proxy={target}"):
                    yield refused(f"GET {short(address)}", client.get(address), hub)
            up = "../" * 12
            for part in (f"{up}etc/passwd", quote(f"{up}etc/passwd", safe=""), "..%5c..%5cetc/passwd"):
                for place in ("assets", "static", "svelte", "gradio_api/custom_component/1/client/component"):
                    yield refused(f"GET /{page}/{place}/{part}", raw(hub, f"/{page}/{place}/{part}"), hub)
            for rest in ("info", "openapi.json", "vibe-code", "profiling/summary", "run-history/records", "runs"):
                yield refused(f"GET {api}/{rest}", client.get(f"{api}/{rest}"), hub)
            for rest in (
                "cancel",
                "reset",
                "stream/a",
                "component_server",
                "process_recording",
                "run/predict",
                "api/a",
            ):
                yield refused(f"POST {api}/{rest}", client.post(f"{api}/{rest}", json={"data": []}), hub)
            linked = client.get(f"/{page}/?deep_link=../../../../etc/passwd")
            yield Row(f"GET /{page}/?deep_link=…", str(linked.status_code), not hub.tells(linked.text))
        for path in ("/slides/../../etc/passwd", "/slides/a/1/..%2f..%2f0_0.jpeg", "/lessons/..%2fREADME", "/docs"):
            yield refused(f"GET {path}", raw(hub, path), hub)


def files_in_messages(hub: Hub) -> Iterator[Row]:
    """A file of the server's disk in every input of every event of every page, at the top and deep within."""
    for page in hub.pages():
        with hub.client(page) as client:
            events = client.get(f"/{page}/config").json()["dependencies"]
            uploaded = client.post(f"/{page}/gradio_api/upload", files={"files": ("a.png", b"mine")}).json()
        for target in [*_targets(hub), *uploaded]:  # the last of another visitor
            for shape, wrap in SHAPES.items():
                heard, statuses = "", set()
                with hub.client(page) as client:
                    for event in events:
                        if event["backend_fn"]:
                            data = [wrap(target)] * len(event["inputs"])
                            answer = _join(client, page, event["id"], data)
                            heard += answer.text
                            statuses.add(answer.status_code)
                    heard += _listen(client, page, 20.0) if 200 in statuses else ""
                told = hub.tells(heard) or not hub.unharmed()
                yield Row(f"{page}: {short(target)} {shape}", f"{sorted(statuses)}", not told)


def other_visitors(hub: Hub) -> Iterator[Row]:
    """The name of another visitor's session, and of another's upload."""
    for page in hub.pages():
        with hub.client(page) as one, hub.client(page) as other, hub.client() as nobody:
            event = next(e["id"] for e in one.get(f"/{page}/config").json()["dependencies"] if e["backend_fn"])
            joined = _join(one, page, event, [])
            api = f"/{page}/gradio_api/queue/data"
            with other.stream("GET", api, params={"session_hash": "attack"}) as answer:
                heard = next(answer.iter_lines(), "")
            yield Row(f"{page}: listen to another's session", heard[:60], joined.json()["event_id"] not in heard)
            answer = nobody.post(f"/{page}/gradio_api/queue/join", json=_message(event, []))
            yield refused(f"{page}: join without a cookie", answer, hub, 403)


def bodies(hub: Hub) -> Iterator[Row]:
    """Messages that cannot be meant."""
    page = hub.pages()[0]
    with hub.client(page) as client:
        path = f"/{page}/gradio_api/queue/join"
        deep = b'{"session_hash":"a","data":' + b"[" * 10**5 + b"]" * 10**5 + b"}"
        for what, body in (
            ("nested 100,000 times", deep),
            ("nested 100 times", b'{"session_hash":"a","data":' + b"[" * 100 + b"]" * 100 + b"}"),
            ("no JSON", b"{"),
            ("no UTF-8", b"\xff\xfe"),
            ("no object", b"[]"),
            ("no session", b'{"data":[]}'),
            ("a session that is a list", b'{"data":[],"session_hash":[]}'),
            ("2 MB", b'{"session_hash":"' + b"a" * 2 * 10**6 + b'"}'),
        ):
            answer = client.post(path, content=body, headers={"content-type": "application/json"})
            yield refused(f"a message: {what}", answer, hub, 413 if what == "2 MB" else 400)
        for what, form in (
            ("no form", {"content": b"abc"}),
            ("no boundary", {"content": b"abc", "headers": {"content-type": "multipart/form-data"}}),
            ("two files", {"files": [("files", ("a", b"a")), ("files", ("b", b"b"))]}),
            ("a field in place of a file", {"data": {"a": "b"}, "files": {}}),
        ):
            yield refused(f"an upload: {what}", client.post(f"/{page}/gradio_api/upload", **form), hub, 400)
        answer = client.post(f"/{page}/gradio_api/upload", files={"files": ("../../../etc/cron.d/a.png", b"abc")})
        name = answer.json()[0] if answer.is_success else ""
        held = re.fullmatch(r"[\w-]{32}/a\.png", name) is not None
        yield Row("an upload called ../../../etc/cron.d/a", answer.text, held)


def rooms(hub: Hub) -> Iterator[Row]:
    """More uploads than a visitor has room for; another visitor still has."""
    page = hub.pages()[0]
    big = {"files": ("a.png", b"x" * 15 * 10**6)}
    statuses = []
    with hub.client(page) as greedy, hub.client(page) as other:
        for _ in range(40):
            statuses.append(greedy.post(f"/{page}/gradio_api/upload", files=big).status_code)
            if statuses[-1] != 200:
                break
        modest = other.post(f"/{page}/gradio_api/upload", files={"files": ("a.png", b"abc")}).status_code
    answer = f"{statuses.count(200)} times 200, then {statuses[-1]}; another visitor {modest}"
    yield Row("uploads of 15 MB, again and again", answer, statuses[-1] == 507 and modest == 200)


def headers(hub: Hub) -> Iterator[Row]:
    page = hub.pages()[0]
    wanted = ("content-security-policy", "x-content-type-options", "referrer-policy")
    with hub.client() as client:
        for path in ("/health", f"/{page}/", f"/{page}/theme.css", "/nothing", "/lessons/00_tissue"):
            said = client.get(path).headers
            missing = [name for name in wanted if name not in said]
            held = not missing and "frame-ancestors 'self'" in said["content-security-policy"] and "server" not in said
            yield Row(f"headers of {path}", "all there" if held else f"missing: {missing}", held)


def _targets(hub: Hub) -> list[str]:
    up = "../" * 12
    return [
        str(hub.secret),
        str(hub.link),
        f"file://{hub.secret}",
        f"{up}etc/shadow",
        "/proc/self/environ",
        "/dev/zero",
        f"http://127.0.0.1:{hub.port}/health",
    ]


SHAPES: dict[str, Callable[[str], Any]] = {
    "as a file": lambda path: {"path": path, "meta": FILE},
    "as a file with an address": lambda path: {"path": "a", "url": path, "meta": FILE, "orig_name": "a.png"},
    "as a list of files": lambda path: [{"path": path, "meta": FILE}],
    "as a stream": lambda path: {"path": path, "is_stream": True, "meta": FILE},
    "within a value": lambda path: {"value": {"path": path, "meta": FILE}, "__type__": "update"},
    "deep within": lambda path: {"a": [{"b": {"path": path, "meta": {**FILE, "more": 1}}}], "path": path},
}


def _message(event: int, data: list[Any]) -> dict[str, Any]:
    return {
        "data": data,
        "event_data": {"index": [0, 0], "value": data[:1]},
        "fn_index": event,
        "session_hash": "attack",
    }


def _join(client: httpx.Client, page: str, event: int, data: list[Any]) -> httpx.Response:
    return client.post(f"/{page}/gradio_api/queue/join", json=_message(event, data))


def _listen(client: httpx.Client, page: str, seconds: float) -> str:
    """What comes of the events sent, until the server closes the stream or the time is over."""
    heard, until = "", time.monotonic() + seconds
    try:
        with client.stream(
            "GET", f"/{page}/gradio_api/queue/data", params={"session_hash": "attack"}, timeout=seconds
        ) as answer:
            for line in answer.iter_lines():
                heard += line
                if time.monotonic() > until or "close_stream" in line:
                    break
    except httpx.HTTPError:
        pass
    return heard


ATTACKS = (strangers, addresses, files_in_messages, other_visitors, bodies, rooms, headers, gigabytes, slowness)


def main(
    url: str,
    auth: Annotated[str | None, typer.Option(help="name:password")] = None,
    pid: Annotated[int | None, typer.Option(help="Of the server.")] = None,
) -> None:
    """Print a table of attacks and answers; the exit status is 1 where one got through."""
    allow_many()
    through = 0
    for row in every(Hub(url.rstrip("/"), auth, pid)):
        through += not row.held
        print(f"{'held   ' if row.held else 'THROUGH'}  {row.attack}  ->  {row.answer}", flush=True)
    print(f"{through} attacks got through.")
    raise typer.Exit(1 if through else 0)


if __name__ == "__main__":
    typer.run(main)
