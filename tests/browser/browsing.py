"""What the browser tests of the demos share: a demo served as `make demo` serves it, a Chromium, a visitor."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="the demos need gradio: pip install 'histolab-lite[demos]'")
sync_api = pytest.importorskip("playwright.sync_api", reason="a browser is driven by playwright, which is not here")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not here")
expect = sync_api.expect

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 180_000  # ms; only a machine with too much to do needs it
LAPTOP, PHONE = {"width": 1366, "height": 768}, {"width": 390, "height": 844}
# Quiet and alone: nothing of the browser's own asks the network for anything.
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


@contextmanager
def serve(
    module: str, log: Path, *arguments: str, port: int | None = None, errors_allowed: bool = False
) -> Iterator[str]:
    """The address of a demo on a free port. Its output must tell of no error, unless allowed: Gradio tells its operator
    of every file that it refuses by itself."""
    port = port or free_port()
    with running([sys.executable, "-m", module, "--port", str(port), *arguments], port, log) as url:
        yield url
    assert errors_allowed or "Traceback" not in log.read_text(), log.read_text()


@contextmanager
def running(command: list[str], port: int, log: Path, folder: Path = ROOT) -> Iterator[str]:
    """The address of a server, once it answers; without real data sets."""
    environment = {key: value for key, value in os.environ.items() if key != "HISTOLAB_DATA"}
    with log.open("w") as file:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT)
        try:
            url, until = f"http://127.0.0.1:{port}", time.monotonic() + 240
            while not health(url):
                assert server.poll() is None, f"the server stopped:\n{log.read_text()}"
                assert time.monotonic() < until, f"the server does not answer:\n{log.read_text()}"
                time.sleep(0.3)
            yield url
        finally:
            server.terminate()
            server.wait(30)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def health(url: str) -> dict:
    """What the server says of itself; nothing while it does not answer."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return json.load(answer)
    except OSError:
        return {}


@contextmanager
def chromium() -> Iterator:
    candidates = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    path = next((found for name in candidates if name and (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("a browser is needed: install chromium, or name its program in $CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield program
        program.close()


class Visitor:
    """One browser, its memory, and what it sees of the page. ready: what is there once the page can be used."""

    ready: str

    def __init__(self, browser, address: str, viewport=LAPTOP, **options) -> None:
        self.context = browser.new_context(viewport=viewport, **options)
        self.context.set_default_timeout(PATIENCE)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda said: said.type == "error" and self.complaints.append(said.text))
        self.asked: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.address = address
        self.visit()

    def visit(self) -> None:
        self.page.goto(self.address)
        self.see(self.ready)

    def see(self, selector: str, count: int | None = None, text: str | re.Pattern | None = None):
        found = self.page.locator(selector)
        if count is not None:
            expect(found).to_have_count(count, timeout=PATIENCE)
        elif text is not None:
            expect(found).to_contain_text(text, timeout=PATIENCE)
        else:
            expect(found).to_be_visible(timeout=PATIENCE)
        return found

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def tab_to(self, inside: str) -> None:
        """By Tab alone."""
        for _ in range(80):
            self.page.keyboard.press("Tab")
            if self.page.evaluate("(where) => document.activeElement.closest(where) !== null", inside):
                return
        raise AssertionError(f"Tab never reaches {inside}")

    def open(self, accordion: str) -> None:
        self.page.locator(f"#{accordion} button").first.click()

    def upload(self, button: str, name: str, content: bytes) -> None:
        with self.page.expect_file_chooser() as chooser:
            self.page.locator(button).click()
        chooser.value.set_files({"name": name, "mimeType": "application/octet-stream", "buffer": content})

    def save(self, button: str, folder: Path) -> Path:
        with self.page.expect_download() as waiting:
            self.page.locator(button).click()
        path = folder / waiting.value.suggested_filename
        waiting.value.save_as(path)
        return path

    def barriers(self) -> list[str]:
        """What axe-core finds that keeps a person from using the page as it stands, each with its place."""
        self.page.wait_for_timeout(500)  # what fades in is pale until then
        found = axe.Axe().run(self.page).response["violations"]
        return [f"{rule['id']}: {node['html'][:200]}" for rule in found for node in rule["nodes"]]

    @property
    def elsewhere(self) -> list[str]:
        """Requests to any other server."""
        return [url for url in self.asked if not url.startswith((self.address, "data:", "blob:"))]
