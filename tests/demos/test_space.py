"""The folder that is uploaded to host the demos elsewhere holds all that it needs, and serves them."""

import sys
import tomllib

import gradio as gr
import pytest
import yaml

from demos import space
from demos.app import PAGES
from demos.serving import free_port


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("space") / "new"
    space.write(folder)
    return folder


def test_the_front_matter_names_what_is_run(folder):
    _, front, _ = (folder / "README.md").read_text().split("---\n", 2)
    about = yaml.safe_load(front)
    assert (about["sdk"], about["sdk_version"]) == ("gradio", gr.__version__)
    assert (folder / about["app_file"]).is_file()
    assert len(about["short_description"]) <= 60  # the Hub refuses longer ones
    project = tomllib.loads((space.ROOT / "pyproject.toml").read_text())["project"]
    required = (folder / "requirements.txt").read_text().splitlines()
    assert required == project["dependencies"] + project["optional-dependencies"]["demos"]


def test_nothing_else_is_overwritten(folder):
    with pytest.raises(FileExistsError, match="not empty"):
        space.write(folder)


@pytest.mark.slow
def test_it_serves_the_demos_from_there(folder, tmp_path, monkeypatch):
    from tests.browser.browsing import health, running  # skips where there is no browser

    port = free_port("127.0.0.1")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("GRADIO_SERVER_PORT", str(port))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with running([sys.executable, "app.py"], port, tmp_path / "log.txt", folder) as url:
        assert health(url) == {"status": "ok", "pages": list(PAGES)}
    assert not list(tmp_path.glob("histolab-lite/**/*")), "something was drawn or fetched at the start"
