"""The file of tags: a restart loses nothing, an incomplete line costs only itself, sessions stay apart."""

import json
import os
import threading
from dataclasses import replace

import pytest

from demos.mlps import label_file as module
from demos.mlps.label_file import LabelFile
from tests.demos.mlps.planted import HEADER, logged

ONE, OTHER = "1" * 32, "2" * 32
STROMA, TUMOUR, NECROSIS = (0, "stroma", True), (1, "tumour", True), (2, "necrosis", True)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tags.jsonl"


@pytest.fixture
def file(path):
    return LabelFile(path)


def kept(file: LabelFile, session: str = ONE) -> list[tuple]:
    return [(record.patch, record.name, record.value) for record in file.logs(session)["phantom"].records]


def test_sessions_stay_apart_and_come_back_after_a_restart(file, path):
    changes = [STROMA, (0, None, True), (1, "tumour", False)]
    file.append(ONE, logged(STROMA), 0)
    file.append(OTHER, logged(NECROSIS), 0)
    file.append(ONE, logged(*changes), 1)
    sessions = [json.loads(line)["session"] for line in path.read_text().splitlines()]
    assert sessions == [ONE, ONE, OTHER, OTHER, ONE, ONE]
    again = LabelFile(path)
    assert kept(again) == changes
    assert kept(again, OTHER) == [NECROSIS]
    assert again.logs(ONE)["phantom"].header == HEADER
    assert (again.logs("3" * 32), again.damaged) == ({}, [])


@pytest.mark.parametrize(("cut", "whole"), [(1, True), (2, False), (41, False)])
def test_an_incomplete_last_line_costs_only_itself(file, path, cut, whole):
    file.append(ONE, logged(STROMA, TUMOUR), 0)
    path.write_bytes(path.read_bytes()[:-cut])
    again = LabelFile(path)
    assert again.damaged == ([] if whole else [3])
    assert kept(again) == [STROMA, TUMOUR][: 1 + whole]
    again.append(ONE, logged(STROMA, NECROSIS), 1)
    assert LabelFile(path).damaged == again.damaged
    assert kept(LabelFile(path)) == [*[STROMA, TUMOUR][: 1 + whole], NECROSIS]


def test_a_header_starts_anew_and_moves_its_set_to_the_end(file):
    other = logged(TUMOUR, header=replace(HEADER, key="other"))
    for log in (logged(STROMA), other, logged(TUMOUR)):
        file.append(ONE, log, 0)
    assert list(file.logs(ONE)) == ["other", "phantom"]
    assert kept(file) == [TUMOUR]


def test_every_line_is_written_at_once_and_synced_before_anyone_writes_the_next(file, path, monkeypatch):
    written, write, sync = [], os.write, os.fsync
    hasty = threading.Thread(target=file.append, args=[OTHER, logged(NECROSIS), 0])

    def synced(handle: int) -> None:
        if len(written) == 1:
            hasty.start()
            hasty.join(0.2)  # it waits for the other's lines
        sync(handle)
        written.append("synced")

    monkeypatch.setattr(module.os, "write", lambda *args: (written.append(args[1]), write(*args))[1])
    monkeypatch.setattr(module.os, "fsync", synced)
    file.append(ONE, logged(STROMA, (0, None, True)), 0)
    hasty.join(10)
    assert written[1::2] == ["synced"] * 5
    assert [json.loads(line)["session"] for line in written[::2]] == [ONE] * 3 + [OTHER] * 2
    assert b"".join(written[::2]) == path.read_bytes()
    assert all(line.endswith(b"\n") for line in written[::2])


def test_a_full_disk_is_an_error_and_the_next_change_starts_a_new_line(file, path, monkeypatch):
    file.append(ONE, logged(STROMA), 0)
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(module.os, "write", lambda handle, line: write(handle, line[:10]))
        with pytest.raises(OSError, match="in part"):
            file.append(ONE, logged(STROMA, TUMOUR), 1)
    file.append(ONE, logged(STROMA, NECROSIS), 1)
    assert kept(LabelFile(path)) == [STROMA, NECROSIS]
    assert LabelFile(path).damaged == [3]


def test_foreign_lines_are_reported_or_skipped(file, path):
    file.append(ONE, logged(STROMA), 0)
    strange = [{"session": ONE, "set": ["phantom"]}, {"session": ONE, "set": "phantom", "patch": 99}, [1], 5]
    with path.open("a") as more:
        more.write("".join(json.dumps(entry) + "\n" for entry in strange) + "\xff{\n\n")
    assert LabelFile(path).damaged == [5, 6, 7]
    assert kept(file) == [STROMA]
    with pytest.raises(OSError, match="directory"):
        LabelFile(path.parent)
