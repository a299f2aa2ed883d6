"""The server's temporary files are deleted when it ends; after a killed server, the next one deletes them."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from demos.doors.folder import LOCK, PREFIX, own_folder

ROOT = Path(__file__).resolve().parents[3]
SERVER = """
import sys
from pathlib import Path
from demos.doors.folder import own_folder
with own_folder(Path(sys.argv[1])) as uploads:
    (uploads / "a.png").write_bytes(b"private")
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("before", [True, False])
def test_it_is_gone_when_the_server_ends(tmp_path, monkeypatch, before):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if before:
        monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    else:
        monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    with own_folder() as uploads:
        assert os.environ["GRADIO_TEMP_DIR"] == str(uploads)
        assert Path(tempfile.gettempdir()) == uploads.parent
        assert uploads.parent.parent == tmp_path
        (uploads / "a.png").touch()
    assert not list(tmp_path.iterdir())
    assert os.environ.get("GRADIO_TEMP_DIR") == (str(tmp_path) if before else None)
    assert tempfile.gettempdir() == str(tmp_path)


def test_what_a_killed_server_left_goes_when_the_next_one_starts_and_not_before(tmp_path):
    command = [sys.executable, "-c", SERVER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline() == "ready\n"
            with own_folder(tmp_path):
                assert list(tmp_path.rglob("a.png"))
        finally:
            other.kill()
    assert list(tmp_path.rglob("a.png"))
    with own_folder(tmp_path):
        assert not list(tmp_path.rglob("a.png"))


def test_what_is_no_servers_folder_stays(tmp_path):
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / LOCK).write_text("theirs")
    (tmp_path / f"{PREFIX}link").symlink_to(target)
    (tmp_path / f"{PREFIX}file").touch()
    (tmp_path / f"{PREFIX}no-lock").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with own_folder(tmp_path):
        pass
    assert sorted(tmp_path.rglob("*")) == before
    assert (target / LOCK).read_text() == "theirs"
