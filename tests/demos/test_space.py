"""The folder that is uploaded to host the demos elsewhere holds all that it needs, and serves them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tomllib
import urllib.request

import pytest
import yaml
from packaging.requirements import Requirement

gr = pytest.importorskip("gradio", reason="the demos need gradio: pip install 'histolab-lite[demos]'")

from demos import space  # noqa: E402
from demos.app import PAGES  # noqa: E402
from demos.serving import free_port  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("space") / "new"
    space.write(folder)
    return folder


def test_the_front_matter_names_what_is_run(folder):
    _, front, _ = (folder / "README.md").read_text().split("---\n", 2)
    about = yaml.safe_load(front)
    assert about["sdk"] == "gradio"
    assert about["sdk_version"] == gr.__version__
    assert (folder / about["app_file"]).is_file()
    assert len(about["short_description"]) <= 60  # the Hub refuses longer ones


def test_the_requirements_are_the_projects(folder):
    required = {Requirement(line).name for line in (folder / "requirements.txt").read_text().splitlines()}
    project = tomllib.loads((space.ROOT / "pyproject.toml").read_text())["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["demos"]
    assert required == {Requirement(line).name for line in needed}


def test_nothing_else_is_overwritten(folder):
    with pytest.raises(FileExistsError, match="not empty"):
        space.write(folder)


@pytest.mark.slow
def test_it_serves_the_demos_from_there(folder, tmp_path):
    port = free_port("127.0.0.1")
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "HISTOLAB_DATA")}
    log = tmp_path / "log.txt"
    with log.open("w") as file:
        server = subprocess.Popen(
            [sys.executable, "app.py"],
            cwd=folder,
            env=kept | {"GRADIO_SERVER_PORT": str(port), "XDG_CACHE_HOME": str(tmp_path)},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        until = time.monotonic() + 240
        while True:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                    assert json.load(answer) == {"status": "ok", "pages": list(PAGES)}
                    break
            except OSError:
                time.sleep(0.5)
    finally:
        server.terminate()
        server.wait(30)
    assert not list(tmp_path.glob("histolab-lite/**/*")), "something was drawn or fetched at the start"
