"""The server's temporary files go when it ends, and where it was killed, when the next one starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the demos need gradio: pip install 'histolab-lite[demos]'")

from demos.doors.folder import LOCK, PREFIX, own_folder  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]
SERVER = """
import sys, time
from pathlib import Path
from demos.doors.folder import own_folder
with own_folder(Path(sys.argv[1])) as uploads:
    (uploads / "a.png").write_bytes(b"private")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """Another server, which uses a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def private(folder: Path) -> list[Path]:
    return list(folder.rglob("a.png"))


def test_it_is_gone_when_the_server_ends(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    before = tempfile.gettempdir()
    with own_folder() as uploads:
        assert os.environ["GRADIO_TEMP_DIR"] == str(uploads)
        assert Path(tempfile.gettempdir()) == uploads.parent
        (uploads / "a.png").touch()
    assert not list(tmp_path.iterdir())
    assert os.environ["GRADIO_TEMP_DIR"] == str(tmp_path)
    assert tempfile.gettempdir() == before


def test_what_a_killed_server_left_goes_when_the_next_one_starts(tmp_path, other):
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert private(tmp_path)
    with own_folder(tmp_path):
        assert not private(tmp_path)


def test_a_server_that_runs_keeps_its_folder(tmp_path, other):
    with own_folder(tmp_path):
        assert private(tmp_path)


def test_what_is_no_servers_folder_stays(tmp_path):
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / LOCK).touch()
    (tmp_path / f"{PREFIX}link").symlink_to(target)
    (tmp_path / f"{PREFIX}file").touch()
    (tmp_path / f"{PREFIX}no-lock").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with own_folder(tmp_path):
        pass
    assert sorted(tmp_path.rglob("*")) == before
