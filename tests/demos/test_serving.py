"""Several pages behind one server: addresses, health, limits, and a password where one is set."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

gr = pytest.importorskip("gradio", reason="the demos need gradio: pip install 'histolab-lite[demos]'")

from fastapi.testclient import TestClient  # noqa: E402

from demos import app, serving  # noqa: E402
from demos.serving import Limits, application, free_port  # noqa: E402
from demos.shared import lessons  # noqa: E402
from demos.shared.markup import bar  # noqa: E402
from demos.shared.uploads import LARGEST_FILE, LARGEST_SLIDE  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def page(text: str) -> gr.Blocks:
    with gr.Blocks(title=text, analytics_enabled=False) as blocks:
        gr.HTML(text)
    return blocks


@pytest.fixture
def client(tmp_path):
    pages = {"one": page("First"), "two": page("Second")}
    with TestClient(application(pages, Limits(), tmp_path, [lessons.router()])) as client:
        yield client


@pytest.fixture
def guarded(tmp_path):
    limits = Limits(auth=("anna", "s:cret ü"))
    with TestClient(application({"one": page("First")}, limits, tmp_path, [lessons.router()])) as client:
        yield client


def test_every_page_has_an_address_and_the_start_leads_to_the_first(client):
    assert client.get("/", follow_redirects=False).headers["location"] == "one/"
    assert "First" in client.get("/").text
    assert "Second" in client.get("/two/").text
    assert "Second" in client.get("/two").text


@pytest.mark.parametrize("old", serving.MOVED)
def test_a_link_to_a_page_by_its_former_name_leads_to_the_page(tmp_path, old):
    name = serving.MOVED[old]
    with TestClient(application({"one": page("First"), name: page("Moved")}, Limits(), tmp_path)) as client:
        for address in (f"/{old}", f"/{old}/"):
            assert "Moved" in client.get(address).text
            assert client.get(address, follow_redirects=False).headers["location"].endswith(f"{name}/")
        assert client.get(f"/{old}/config").status_code == 404
        (other, *_) = set(serving.MOVED) - {old}
        assert client.get(f"/{other}/").status_code == 404, "that page is not served here"


@pytest.mark.parametrize("name", app.PAGES)
def test_one_name_runs_through_method_page_and_tests(name):
    assert importlib.util.find_spec(f"histolab_lite.methods.{name}")
    for path in (
        f"demos/{name}/page.py",
        f"demos/{name}/__main__.py",
        f"tests/demos/{name}",
        f"tests/browser/test_{name}.py",
    ):
        assert (ROOT / path).exists(), path


def test_every_former_name_leads_to_a_page_of_the_hub():
    assert set(serving.MOVED.values()) == set(app.PAGES)


def test_health_tells_which_pages_are_served(client):
    assert client.get("/health").json() == {"status": "ok", "pages": ["one", "two"]}


@pytest.mark.parametrize(
    "address",
    [
        "/three/",
        "/one/nothing",
        "/one/gradio_api/file=/etc/passwd",
        "/docs",
        "/openapi.json",
        "/two/../etc",
        "/lessons/",
        "/lessons/00",
        "/lessons/..%2FREADME",
    ],
)
def test_what_is_not_there_is_refused_without_a_word_of_the_server(client, address):
    answer = client.get(address)
    assert 400 <= answer.status_code < 500
    assert "Traceback" not in answer.text
    assert "root:" not in answer.text
    assert "site-packages" not in answer.text


def test_a_page_keeps_the_limits(tmp_path):
    blocks = page("First")
    application({"one": blocks}, Limits(queue=7, visitors=9, upload=12_345), tmp_path)
    assert blocks.max_file_size == 12_345
    assert blocks.state_session_capacity == 9
    assert blocks._queue.max_size == 7
    assert not blocks.show_error
    application({"one": blocks}, Limits(upload=12_345, slide=67_890), tmp_path, slides=["one"])
    assert blocks.max_file_size == 67_890


def test_a_password_is_asked_for_and_health_needs_none(guarded):
    refused = guarded.get("/one/")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Basic")
    assert guarded.get("/one/config").status_code == 401
    assert guarded.get("/lessons/00_tissue").status_code == 401
    assert guarded.get("/one/config", auth=("anna", "wrong")).status_code == 401
    assert guarded.get("/one/config", headers={"Authorization": "Basic ???"}).status_code == 401
    assert guarded.get("/one/config", headers={"Authorization": "Bearer YW5uYTpz"}).status_code == 401
    assert guarded.get("/one/config", auth=("anna", "s:cret ü".encode())).status_code == 200
    assert "First" in guarded.get("/one/", auth=("anna", "s:cret ü".encode())).text
    assert guarded.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("method", "route"), [("POST", "upload"), ("POST", "queue/join"), ("GET", "queue/data"), ("GET", "file=a.png")]
)
def test_no_route_of_a_page_goes_round_the_password(guarded, method, route):
    assert guarded.request(method, f"/one/gradio_api/{route}").status_code == 401


def test_an_upload_is_kept_under_a_name_that_tells_nothing_of_the_server(client, tmp_path):
    form = {"files": ("a.txt", b"private")}
    assert client.post("/one/gradio_api/upload", files=form).status_code == 403, "without a cookie"
    client.get("/one/")
    (name,) = client.post("/one/gradio_api/upload", files=form).json()
    assert str(tmp_path) not in name
    (path,) = uploaded(tmp_path)
    assert path.read_bytes() == b"private"


def test_the_rest_of_a_broken_upload_is_deleted_once_it_is_old(tmp_path):
    old, new = tmp_path / "a" / "old", tmp_path / "new"
    old.parent.mkdir()
    for path, age in ((old, 100), (new, 0)):
        path.write_bytes(b"private")
        os.utime(path, (time.time() - age,) * 2)
    serving.forget(tmp_path, 50)
    assert uploaded(tmp_path) == [new]
    assert serving.SWEEP + serving.OLDEST < 3600


def test_a_wrong_variable_stops_the_server_before_it_starts(monkeypatch):
    monkeypatch.setenv("HISTOLAB_DEMO_QUEUE", "many")
    with pytest.raises(SystemExit, match="HISTOLAB_DEMO_QUEUE"):
        serving.serve(lambda: pytest.fail("built"), "127.0.0.1", None)


@pytest.mark.slow
def test_a_server_that_cannot_start_is_no_success(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        program = (
            "import gradio as gr; from demos.serving import serve; serve(lambda: {'one': gr.Blocks()}, '127.0.0.1', %d)"
        )
        command = [sys.executable, "-c", program % taken]
        environment = os.environ | {"GRADIO_TEMP_DIR": str(tmp_path)}
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, env=environment)
    assert done.returncode == 1
    assert "address already in use" in done.stderr
    assert not list(tmp_path.glob("histolab-*"))


def uploaded(folder) -> list:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_limits_come_from_the_environment():
    assert Limits.read({}) == Limits()
    read = Limits.read(
        {
            "HISTOLAB_DEMO_AUTH": "anna:a:b",
            "HISTOLAB_DEMO_QUEUE": "5",
            "HISTOLAB_DEMO_VISITORS": " 30 ",
            "HISTOLAB_DEMO_UPLOAD_MB": "2",
            "HISTOLAB_DEMO_SLIDE_MB": "150",
            "HISTOLAB_DEMO_ROOM_MB": "3000",
            "HISTOLAB_DEMO_FRAMES": "https://a.org  https://*.b.org:8443",
        }
    )
    frames = "https://a.org https://*.b.org:8443"
    assert read == Limits(("anna", "a:b"), 5, 30, 2 * 10**6, 150 * 10**6, 3000 * 10**6, frames)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HISTOLAB_DEMO_AUTH", "secret"),
        ("HISTOLAB_DEMO_AUTH", ":secret"),
        ("HISTOLAB_DEMO_AUTH", "secret:"),
        ("HISTOLAB_DEMO_QUEUE", "0"),
        ("HISTOLAB_DEMO_QUEUE", "-1"),
        ("HISTOLAB_DEMO_QUEUE", "many"),
        ("HISTOLAB_DEMO_VISITORS", "1e3"),
        ("HISTOLAB_DEMO_VISITORS", "²"),
        ("HISTOLAB_DEMO_ROOM_MB", "all"),
        ("HISTOLAB_DEMO_FRAMES", "a.org"),
        ("HISTOLAB_DEMO_FRAMES", "https://a.org; script-src *"),
        ("HISTOLAB_DEMO_UPLOAD_MB", str(LARGEST_FILE // 10**6 + 1)),
        ("HISTOLAB_DEMO_SLIDE_MB", str(LARGEST_SLIDE // 10**6 + 1)),
    ],
)
def test_a_variable_that_cannot_be_meant_is_named_and_no_password_repeated(name, value):
    with pytest.raises(ValueError, match=name) as error:
        Limits.read({name: value})
    assert "secret" not in str(error.value)


def test_a_taken_port_is_passed_over(monkeypatch):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        monkeypatch.setattr(serving, "FIRST_PORT", taken)
        assert free_port("127.0.0.1") > taken
        monkeypatch.setattr(serving, "PORTS", 1)
        with pytest.raises(OSError, match="--port"):
            free_port("127.0.0.1")


def test_the_bar_links_to_every_page_and_marks_this_one():
    html = bar({"one": "Seeds & slides", "two": "Second"}, "two")
    assert '<a href="../one/">Seeds &amp; slides</a>' in html
    assert '<a href="../two/" aria-current=page>Second</a>' in html
    assert "about" not in html
    html = bar({"one": "First"}, "one", {"Paper & code": "https://a.org/?a=1&b=2"})
    assert '<a href="https://a.org/?a=1&amp;b=2" target="_blank" rel="noopener">Paper &amp; code</a>' in html


def test_every_page_links_to_a_lesson_that_is_there(client):
    for name, about in app.PAGES.items():
        assert about.lesson in lessons.names()
        assert f'href="../lessons/{about.lesson}"' in app.nav(name)


def test_a_lesson_is_shown_with_its_images(client):
    answer = client.get("/lessons/05_dropout_attention")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "<h1" in answer.text
    assert "data:image/png;base64" in answer.text
