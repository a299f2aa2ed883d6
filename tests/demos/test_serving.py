"""Several pages behind one server: addresses, health, limits, and a password where one is set."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import gradio as gr
import nbformat
import pytest
from fastapi.testclient import TestClient

from demos import app, serving
from demos.serving import Limits, application, free_port, is_loopback
from demos.shared import lessons
from demos.shared.markup import bar
from demos.shared.uploads import LARGEST_FILE, LARGEST_SLIDE

ROOT = Path(__file__).resolve().parents[2]
GUARDED = ("", "config", "gradio_api/queue/data", "gradio_api/file=a.png", "gradio_api/upload", "gradio_api/queue/join")


def page(text: str) -> gr.Blocks:
    with gr.Blocks(title=text, analytics_enabled=False) as blocks:
        gr.HTML(text)
    return blocks


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of uploads."""
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def client(folder):
    """Of a server of three pages, one of which has a former name."""
    pages = {name: page(text) for name, text in {"one": "First", "two": "Second", "cvm": "Moved"}.items()}
    with TestClient(application(pages, Limits(), folder, [lessons.router()])) as client:
        yield client


def test_every_page_has_an_address_and_former_names_lead_to_it(client):
    for address, text in (("/", "First"), ("/two/", "Second"), ("/two", "Second")):
        assert text in client.get(address).text
    for address, to in (("/", "one/"), ("/click-points", "cvm/"), ("/click-points/", "../cvm/")):
        assert client.get(address, follow_redirects=False).headers["location"] == to
        assert client.get(address).status_code == 200
    for address in ("/click-points/config", "/seed-slide/"):  # a page that is not served here
        assert client.get(address).status_code == 404
    assert client.get("/health").json() == {"status": "ok", "pages": ["one", "two", "cvm"]}


@pytest.mark.parametrize("name", app.PAGES)
def test_one_name_runs_through_method_page_lesson_and_tests(name):
    assert name in serving.MOVED.values()
    assert importlib.util.find_spec(f"histolab_lite.methods.{name}")
    places = (f"demos/{name}/page.py", f"demos/{name}/__main__.py", f"tests/demos/{name}")
    for path in (*places, f"tests/browser/test_{name}.py", f"notebooks/{app.PAGES[name].lesson}.ipynb"):
        assert (ROOT / path).exists(), path
    assert f'href="../lessons/{app.PAGES[name].lesson}"' in app.nav(name)


def test_a_lesson_is_shown_with_its_images_and_nothing_else_is(client, monkeypatch, tmp_path):
    output = nbformat.v4.new_output("display_data", {"image/png": "aW1hZ2U="})
    cells = [nbformat.v4.new_markdown_cell("# Title"), nbformat.v4.new_code_cell("1", outputs=[output])]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "00_small.ipynb")
    monkeypatch.setattr(lessons, "FOLDER", tmp_path)
    for address in ("/three/", "/openapi.json", "/lessons/", "/lessons/00", "/lessons/..%2FREADME"):
        answer = client.get(address)
        assert 400 <= answer.status_code < 500
        assert not [word for word in ("Traceback", "root:", "site-packages") if word in answer.text]
    answer = client.get("/lessons/00_small")
    assert answer.headers["content-type"].startswith("text/html")
    assert "<h1" in answer.text
    assert "data:image/png;base64,aW1hZ2U=" in answer.text


def test_a_page_keeps_the_limits(tmp_path):
    blocks = page("First")
    limits = Limits(queue=7, visitors=9, upload=12_345, slide=67_890)
    for slides, largest in (((), 12_345), (("one",), 67_890)):
        application({"one": blocks}, limits, tmp_path, slides=slides)
        assert blocks.max_file_size == largest
    assert (blocks.state_session_capacity, blocks._queue.max_size, blocks.show_error) == (9, 7, False)


def test_a_password_is_asked_for_and_health_needs_none(tmp_path):
    right = ("anna", "s:cret ü".encode())
    limits = Limits(auth=("anna", "s:cret ü"))
    with TestClient(application({"one": page("First")}, limits, tmp_path, [lessons.router()])) as client:
        for method in ("GET", "POST"):
            for path in (*(f"/one/{rest}" for rest in GUARDED), "/lessons/00_tissue"):
                assert client.request(method, path).status_code == 401, path
        for wrong in ("Basic YW5uYTp3cm9uZw==", "Basic ???", "Bearer YW5uYTpz", "Basic"):
            refused = client.get("/one/config", headers={"Authorization": wrong})
            assert (refused.status_code, refused.headers["www-authenticate"][:5]) == (401, "Basic")
        assert client.get("/one/config", auth=right).status_code == 200
        assert "First" in client.get("/one/", auth=right).text
        assert client.get("/health").status_code == 200


def test_an_upload_is_kept_under_a_name_that_tells_nothing_of_the_server(client, folder):
    form = {"files": ("a.txt", b"private")}
    client.cookies.clear()
    assert client.post("/one/gradio_api/upload", files=form).status_code == 403, "without a cookie"
    client.get("/one/")
    (name,) = client.post("/one/gradio_api/upload", files=form).json()
    assert str(folder) not in name
    assert [path.read_bytes() for path in folder.rglob("*") if path.is_file()] == [b"private"]


def test_the_rest_of_a_broken_upload_is_deleted_once_it_is_old(tmp_path):
    old, new = tmp_path / "a" / "old", tmp_path / "new"
    old.parent.mkdir()
    for path, age in ((old, 10_000), (new, 0)):
        path.write_bytes(b"private")
        os.utime(path, (time.time() - age,) * 2)
    serving.forget(tmp_path, 5_000)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [new]
    assert serving.SWEEP + serving.OLDEST < 3600


@pytest.mark.slow
def test_a_server_that_cannot_start_is_no_success(tmp_path):
    program = "import gradio as gr; from demos.serving import serve; serve(lambda: {'one': gr.Blocks()}, '127.0.0.1', "
    with socket.create_server(("127.0.0.1", 0)) as other:
        command = [sys.executable, "-c", f"{program}{other.getsockname()[1]})"]
        environment = os.environ | {"GRADIO_TEMP_DIR": str(tmp_path)}
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, env=environment)
    assert done.returncode == 1
    assert "address already in use" in done.stderr
    assert not list(tmp_path.glob("histolab-*"))


def test_limits_come_from_the_environment():
    given = {"AUTH": "anna:a:b", "QUEUE": "5", "VISITORS": " 30 ", "UPLOAD_MB": "2", "SLIDE_MB": "150"}
    given |= {"ROOM_MB": "3000", "FRAMES": "https://a.org  https://*.b.org:8443"}
    read = Limits.read({f"HISTOLAB_DEMO_{name}": value for name, value in given.items()})
    frames = "https://a.org https://*.b.org:8443"
    assert read == Limits(("anna", "a:b"), 5, 30, 2 * 10**6, 150 * 10**6, 3000 * 10**6, frames)
    assert Limits.read({}) == Limits()


@pytest.mark.parametrize(
    ("name", "value"),
    [("AUTH", "secret"), ("AUTH", ":secret"), ("AUTH", "secret:"), ("QUEUE", "0"), ("QUEUE", "-1"), ("QUEUE", "many")]
    + [("VISITORS", "1e3"), ("VISITORS", "²"), ("ROOM_MB", "all"), ("FRAMES", "a.org")]
    + [("FRAMES", "https://a.org; script-src *"), ("UPLOAD_MB", str(LARGEST_FILE // 10**6 + 1))]
    + [("SLIDE_MB", str(LARGEST_SLIDE // 10**6 + 1))],
)
def test_a_wrong_variable_stops_the_server_before_it_starts(monkeypatch, name, value):
    monkeypatch.setenv(f"HISTOLAB_DEMO_{name}", value)
    with pytest.raises(SystemExit, match=f"HISTOLAB_DEMO_{name}") as stopped:
        serving.serve(lambda: pytest.fail("built"), "127.0.0.1", None)
    assert "secret" not in str(stopped.value)


def test_a_taken_port_is_passed_over(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        monkeypatch.setattr(serving, "FIRST_PORT", taken)
        assert free_port("127.0.0.1") > taken
        monkeypatch.setattr(serving, "PORTS", 1)
        with pytest.raises(OSError, match="--port"):
            free_port("127.0.0.1")


def test_which_hosts_only_this_machine_sees():
    hosts = ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "a.org")
    assert [host for host in hosts if is_loopback(host)] == ["127.0.0.1", "::1", "localhost"]


def test_the_bar_links_to_every_page_and_marks_this_one():
    html = bar({"one": "Seeds & slides", "two": "Second"}, "two")
    assert '<a href="../one/">Seeds &amp; slides</a>' in html
    assert '<a href="../two/" aria-current=page>Second</a>' in html
    assert "about" not in html
    html = bar({"one": "First"}, "one", {"Paper & code": "https://a.org/?a=1&b=2"})
    assert '<a href="https://a.org/?a=1&amp;b=2" target="_blank" rel="noopener">Paper &amp; code</a>' in html
