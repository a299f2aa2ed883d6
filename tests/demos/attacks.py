"""Attacks on a running hub over plain HTTP, and what it answers.

    python -m tests.demos.attacks http://127.0.0.1:7860 [--auth name:password] [--pid 1234]

Start the hub yourself, on this machine: the attacks hold a thousand connections and send a gigabyte. With --pid, of the
server, they also measure its memory.
"""

import re
import time
from collections.abc import Callable, Iterator
from itertools import product
from typing import Annotated, Any

import httpx
import typer

from demos.doors.connections import allow_many
from tests.demos.floods import gigabytes, slowness
from tests.demos.hub import Hub, Row, short

FILE = {"_type": "gradio.FileData"}
UP = "../" * 12
HEADERS = ("content-security-policy", "x-content-type-options", "referrer-policy")

#: Requests that a stranger makes of every page, without the password.
GUARDED = [
    *product(["GET"], ["", "config", "theme.css", "assets/index.js"]),
    *product(["GET"], [f"gradio_api/{rest}" for rest in ("info", "openapi.json", "queue/data?session_hash=a")]),
    *product(["GET", "POST"], ["gradio_api/stream/a"]),
    *product(["POST"], [f"gradio_api/{rest}" for rest in ("queue/join", "upload", "cancel", "reset")]),
]
WRONG_PASSWORDS = ("Basic YTpi", "Basic ???", "Bearer abc")

#: Requests of every page that name a file or another server, or that no page makes.
NAMING = ("file={target}", "file/{target}", "proxy={target}")
CLIMBING = ("assets", "static", "svelte", "gradio_api/custom_component/1/client/component")
CLIMBS = (f"{UP}etc/passwd", f"{UP}etc/passwd".replace("/", "%2F"), "..%5c..%5cetc/passwd")
UNUSED = [
    *product(["GET"], ["info", "openapi.json", "vibe-code", "profiling/summary", "run-history/records", "runs"]),
    *product(["POST"], "cancel reset stream/a component_server process_recording run/predict api/a".split()),
]
BESIDE = ("/slides/../../etc/passwd", "/slides/a/1/..%2f..%2f0_0.jpeg", "/lessons/..%2fREADME", "/docs")

#: A path where a message could hold it.
SHAPES: dict[str, Callable[[str], Any]] = {
    "as a file": lambda path: {"path": path, "meta": FILE},
    "as a file with an address": lambda path: {"path": "a", "url": path, "meta": FILE, "orig_name": "a.png"},
    "as a list of files": lambda path: [{"path": path, "meta": FILE}],
    "as a stream": lambda path: {"path": path, "is_stream": True, "meta": FILE},
    "within a value": lambda path: {"value": {"path": path, "meta": FILE}, "__type__": "update"},
    "deep within": lambda path: {"a": [{"b": {"path": path, "meta": {**FILE, "more": 1}}}], "path": path},
}

#: Invalid messages, and the status of the answer.
MESSAGES = {
    "nested 100,000 times": (b'{"session_hash":"a","data":' + b"[" * 10**5 + b"]" * 10**5 + b"}", 400),
    "nested 100 times": (b'{"session_hash":"a","data":' + b"[" * 100 + b"]" * 100 + b"}", 400),
    "no JSON": (b"{", 400),
    "no UTF-8": (b"\xff\xfe", 400),
    "no object": (b"[]", 400),
    "no session": (b'{"data":[]}', 400),
    "a session that is a list": (b'{"data":[],"session_hash":[]}', 400),
    "2 MB": (b'{"session_hash":"' + b"a" * 2 * 10**6 + b'"}', 413),
}
FORMS: dict[str, dict[str, Any]] = {
    "no form": {"content": b"abc"},
    "no boundary": {"content": b"abc", "headers": {"content-type": "multipart/form-data"}},
    "two files": {"files": [("files", ("a", b"a")), ("files", ("b", b"b"))]},
    "a field in place of a file": {"data": {"a": "b"}, "files": {}},
}


def strangers(hub: Hub) -> Iterator[Row]:
    """Without the password, or with a wrong one."""
    for page in hub.pages if hub.auth else ():
        for method, rest in GUARDED:
            yield hub.refused(f"no password: {method} /{page}/{rest}", hub.ask(method, f"/{page}/{rest}", {}), 401)
        for wrong in (*WRONG_PASSWORDS, str(hub.auth)):
            answer = hub.ask("GET", f"/{page}/", {"Authorization": wrong})
            yield hub.refused(f"a wrong password: {wrong[:12]}", answer, 401)


def addresses(hub: Hub) -> Iterator[Row]:
    """A file, or another server, named in an address."""
    requests = [("GET", path) for path in BESIDE]
    for page in hub.pages:
        named = [f"gradio_api/{naming.format(target=target)}" for target, naming in product(_targets(hub), NAMING)]
        climbing = [f"{place}/{climb}" for place, climb in product(CLIMBING, CLIMBS)]
        requests += [("GET", f"/{page}/{rest}") for rest in (*named, *climbing)]
        requests += [(method, f"/{page}/gradio_api/{rest}") for method, rest in UNUSED]
        linked = hub.ask("GET", f"/{page}/?deep_link=../../../../etc/passwd", hub.headers)
        yield Row(f"GET /{page}/?deep_link=…", str(linked.status_code), not hub.tells(linked.text))
    for method, path in requests:
        yield hub.refused(f"{method} {path}", hub.ask(method, path, hub.headers))


def files_in_messages(hub: Hub) -> Iterator[Row]:
    """A file of the server's disk in every input of every event of every page, at the top and deep within."""
    for page in hub.pages:
        with hub.client(page) as client:
            events = client.get(f"/{page}/config").json()["dependencies"]
            uploaded = client.post(f"/{page}/gradio_api/upload", files={"files": ("a.png", b"mine")}).json()
        for target, (shape, wrap) in product([*_targets(hub), *uploaded], SHAPES.items()):  # another visitor's upload
            heard, statuses = "", set()
            with hub.client(page) as client:
                for event in events:
                    if event["backend_fn"]:
                        answer = _join(client, page, event["id"], [wrap(target)] * len(event["inputs"]))
                        heard += answer.text
                        statuses.add(answer.status_code)
                heard += _listen(client, page, 20.0) if 200 in statuses else ""
            told = hub.tells(heard) or not hub.unharmed()
            yield Row(f"{page}: {short(target)} {shape}", f"{sorted(statuses)}", not told)


def other_visitors(hub: Hub) -> Iterator[Row]:
    """The name of another visitor's session, and no name at all."""
    for page in hub.pages:
        with hub.client(page) as one, hub.client(page) as other, hub.client() as nobody:
            event = next(e["id"] for e in one.get(f"/{page}/config").json()["dependencies"] if e["backend_fn"])
            joined = _join(one, page, event, [])
            api = f"/{page}/gradio_api/queue/data"
            with other.stream("GET", api, params={"session_hash": "attack"}) as answer:
                heard = next(answer.iter_lines(), "")
            yield Row(f"{page}: listen to another's session", heard[:60], joined.json()["event_id"] not in heard)
            yield hub.refused(f"{page}: join without a cookie", _join(nobody, page, event, []), 403)


def bodies(hub: Hub) -> Iterator[Row]:
    """Invalid messages and uploads."""
    api = f"/{hub.pages[0]}/gradio_api"
    with hub.client(hub.pages[0]) as client:
        for what, (body, status) in MESSAGES.items():
            answer = client.post(f"{api}/queue/join", content=body, headers={"content-type": "application/json"})
            yield hub.refused(f"a message: {what}", answer, status)
        for what, form in FORMS.items():
            yield hub.refused(f"an upload: {what}", client.post(f"{api}/upload", **form), 400)
        answer = client.post(f"{api}/upload", files={"files": ("../../../etc/cron.d/a.png", b"abc")})
        name = answer.json()[0] if answer.is_success else ""
        yield Row("an upload called ../../../etc/cron.d/a", answer.text, bool(re.fullmatch(r"[\w-]{32}/a\.png", name)))


def rooms(hub: Hub) -> Iterator[Row]:
    """More uploads than a visitor has room for; another visitor still has."""
    page, statuses = hub.pages[0], []
    with hub.client(page) as greedy, hub.client(page) as other:
        while len(statuses) < 40 and set(statuses) <= {200}:
            big = {"files": ("a.png", b"x" * 15 * 10**6)}
            statuses.append(greedy.post(f"/{page}/gradio_api/upload", files=big).status_code)
        modest = other.post(f"/{page}/gradio_api/upload", files={"files": ("a.png", b"abc")}).status_code
    answer = f"{statuses.count(200)} times 200, then {statuses[-1]}; another visitor {modest}"
    yield Row("uploads of 15 MB, again and again", answer, statuses[-1] == 507 and modest == 200)


def headers(hub: Hub) -> Iterator[Row]:
    page = hub.pages[0]
    with hub.client() as client:
        for path in ("/health", f"/{page}/", f"/{page}/theme.css", "/nothing", "/lessons/00_tissue"):
            said = client.get(path).headers
            missing = [name for name in HEADERS if name not in said]
            held = not missing and "frame-ancestors 'self'" in said["content-security-policy"] and "server" not in said
            yield Row(f"headers of {path}", "all there" if held else f"missing: {missing}", held)


def _targets(hub: Hub) -> list[str]:
    own = [str(hub.secret), str(hub.link), f"file://{hub.secret}", f"http://127.0.0.1:{hub.port}/health"]
    return [*own, f"{UP}etc/shadow", "/proc/self/environ", "/dev/zero"]


def _join(client: httpx.Client, page: str, event: int, data: list[Any]) -> httpx.Response:
    said = {"index": [0, 0], "value": data[:1]}
    message = {"data": data, "event_data": said, "fn_index": event, "session_hash": "attack"}
    return client.post(f"/{page}/gradio_api/queue/join", json=message)


def _listen(client: httpx.Client, page: str, seconds: float) -> str:
    """What comes of the events sent, until the server closes the stream or the time is over."""
    heard, until = "", time.monotonic() + seconds
    api = f"/{page}/gradio_api/queue/data"
    try:
        with client.stream("GET", api, params={"session_hash": "attack"}, timeout=seconds) as answer:
            for line in answer.iter_lines():
                heard += line
                if time.monotonic() > until or "close_stream" in line:
                    break
    except httpx.HTTPError:
        pass
    return heard


#: Those that hold many connections last.
ATTACKS = (strangers, addresses, files_in_messages, other_visitors, bodies, rooms, headers, gigabytes, slowness)


def main(
    url: str,
    auth: Annotated[str | None, typer.Option(help="name:password")] = None,
    pid: Annotated[int | None, typer.Option(help="Process id of the server.")] = None,
) -> None:
    """Print a table of attacks and answers; the exit status is 1 where one got through."""
    allow_many()
    hub, through = Hub(url.rstrip("/"), auth, pid), 0
    for attack in ATTACKS:
        for row in attack(hub):
            through += not row.held
            print(f"{'held   ' if row.held else 'THROUGH'}  {row.attack}  ->  {row.answer}", flush=True)
    print(f"{through} attacks got through.")
    raise typer.Exit(1 if through else 0)


if __name__ == "__main__":
    typer.run(main)
