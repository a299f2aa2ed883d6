"""The gate refuses requests before any page sees them; behind it, Gradio's own door is shut as well."""

import json

import gradio as gr
import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from demos.doors import gate as gates
from demos.doors.gate import Gate
from demos.doors.joining import FILE
from demos.doors.receiving import Uploads
from demos.doors.routes import Kind, Routes
from demos.serving import Limits, application


def guard(inside: list, folder, **more) -> TestClient:
    """A gate before an application that answers 200, and remembers in ``inside`` what got through."""

    async def app(scope, receive, send):
        message = await receive()
        query = scope["query_string"].decode()
        inside.append((scope["method"], scope["path"], query, message.get("body", b"")))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"inside"})

    return TestClient(Gate(app, {"one": 1000, "two": 1000}, ["slides"], None, Uploads(folder, 10**6), **more))


@pytest.fixture
def inside():
    return []


@pytest.fixture
def client(inside, tmp_path):
    return guard(inside, tmp_path, moved=["old"])


@pytest.mark.parametrize(
    "path",
    ["/", "/health", "/favicon.ico", "/one", "/one/", "/two/config", "/one/theme.css", "/one/assets/a/b-c.js"]
    + ["/one/static/fonts/a.woff2", "/one/gradio_api/app_id", "/slides/a/1/0_0.jpeg", "/old", "/old/"],
)
def test_the_requests_of_pages_get_through(client, inside, path):
    assert client.get(f"{path}?deep_link=../a&view=b").text == "inside"
    assert inside == [("GET", path, "", b"")]
    refused = client.post(path, json={})
    assert (refused.status_code, list(refused.json())) == (404, ["detail"])
    assert len(inside) == 1


@pytest.mark.parametrize(
    "path",
    ["/three/", "/one/gradio_api/file=/etc/passwd", "/one/gradio_api/proxy=http://a", "/one/gradio_api/info", "/docs"]
    + ["/one/assets/../../a", "/one/assets/", "/one/assets//a", "/one/monitoring", "/one/login", "/one/gradio_api/"]
    + ["/one/gradio_api/stream/a/b/1/playlist-file", "/one/config/", "/ONE/", "/one/theme.css\n", "/slides2/a"]
    + ["/old/config"],
)
def test_every_other_path_is_refused(path):
    routes = Routes(["one", "two"], ["slides"], ["old"])
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        assert routes.find(method, path) == (Kind.NOTHING, "")


def test_a_session_is_bound_to_its_visitor_on_every_route(client, inside):
    sessions = set()
    for _ in range(2):
        client.cookies.clear()
        assert client.get("/one/gradio_api/queue/data?session_hash=x").status_code == 403
        assert "set-cookie" not in client.get("/health").headers
        assert "set-cookie" in client.get("/one/").headers
        assert "set-cookie" not in client.get("/one/").headers, "a visitor keeps the cookie"
        client.get("/one/gradio_api/queue/data?session_hash=x&session_hash=y")
        client.get("/one/gradio_api/heartbeat/x")
        client.post("/one/gradio_api/queue/join", json={"data": [], "session_hash": "x"})
        listened, beat, joined = inside[-3:]
        session = listened[2].removeprefix("session_hash=")
        assert beat[1] == f"/one/gradio_api/heartbeat/{session}"
        assert json.loads(joined[3])["session_hash"] == session
        sessions.add(session)
    assert len(sessions) == 2
    assert "x" not in sessions


def test_too_much_at_a_time_is_refused(client, monkeypatch):
    def join() -> int:
        return client.post("/one/gradio_api/queue/join", json={}).status_code

    client.get("/one/")
    for limit, most in (("MOST_REQUESTS", (0, 10)), ("MOST_REQUESTS", (10, 0)), ("MOST_BODIES", (10, 0))):
        with monkeypatch.context() as patch:
            patch.setattr(gates, limit, most)
            assert join() == 429
    monkeypatch.setattr(gates, "MOST_BODIES", (1, 1))
    assert [join() for _ in range(3)] == [400] * 3, "each gives its place back"


def test_a_body_where_none_belongs_is_refused_unread_and_a_web_socket_closed(client, inside):
    for content in (b"abc", iter([b"abc"])):  # with its length, and in chunks
        assert client.request("GET", "/one/", content=content).status_code == 400
    assert not inside
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/one/"):
        pass


@pytest.mark.parametrize("path", ["/health", "/one/", "/nothing", "/one/gradio_api/queue/data"])
def test_every_answer_has_its_headers(client, inside, tmp_path, path):
    framed = guard(inside, tmp_path, frames="https://a.org")
    for guest, frames in ((client, "'self'"), (framed, "'self' https://a.org")):
        said = guest.get(path).headers
        assert said["x-content-type-options"] == "nosniff"
        assert said["referrer-policy"] == "same-origin"
        assert f"frame-ancestors {frames}" in said["content-security-policy"].split("; ")


def test_gradios_own_door_is_shut_behind_the_gate(monkeypatch, tmp_path):
    """Fails where a new version of Gradio takes files of the disk again from a page that is mounted."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    (tmp_path / "uploads").mkdir()
    secret = tmp_path / "secret.png"
    secret.write_text("a secret")
    with gr.Blocks(analytics_enabled=False) as page:
        button, memory, text = gr.UploadButton(file_types=[".png"]), gr.BrowserState(None), gr.Textbox()
        button.upload(lambda path: open(path).read(), button, text, api_name="read")
        button.click(lambda value: json.dumps(value), memory, text, api_name="echo")
    gate = application({"one": page}, Limits(), tmp_path / "uploads")
    page.api_open = True
    with TestClient(gate._app) as client:  # past the gate
        for name in ("read", "echo"):
            for path in (str(secret), "/proc/self/environ", f"{tmp_path}/uploads/../secret.png", f"file://{secret}"):
                sent = {"data": [{"path": path, "meta": FILE}], "session_hash": "x"}
                answer = client.post(f"/one/gradio_api/run/{name}", json=sent)
                assert answer.status_code == 500, answer.text
                assert "a secret" not in answer.text
                cached = [file for file in (tmp_path / "uploads").rglob("*") if file.is_file()]
                assert not any(b"a secret" in file.read_bytes() for file in cached)
        assert client.get(f"/one/gradio_api/file={secret}").status_code == 403
