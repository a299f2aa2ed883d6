"""The file of tags: nothing is lost at a restart, a line that was cut off costs itself alone, sessions stay apart."""

import json
import os

import pytest

from demos.mlps import label_file as module
from demos.mlps.label_file import LabelFile
from demos.mlps.log import Header, Log

ONE, OTHER = "1" * 32, "2" * 32
HEADER = Header("phantom", "Phantom", ("stroma", "tumour"), 3, 224)


def log(*changes: tuple) -> Log:
    found = Log(HEADER)
    for patch, name, value in changes:
        found = found.set(patch, name, value, 1.0)
    return found


@pytest.fixture
def file(tmp_path):
    file = LabelFile(tmp_path / "tags.jsonl")
    yield file
    file.close()


def test_what_was_written_is_there_after_a_restart(file, tmp_path):
    whole = log((0, "stroma", True), (0, None, True), (1, "tumour", False))
    file.append(ONE, log((0, "stroma", True)), 0)
    file.append(ONE, whole, 1)
    lines = (tmp_path / "tags.jsonl").read_text().splitlines()
    assert len(lines) == 4
    assert all(json.loads(line)["session"] == ONE for line in lines)
    again = LabelFile(tmp_path / "tags.jsonl")
    found = again.logs(ONE)["phantom"]
    assert found.header == HEADER
    assert [(r.patch, r.name, r.value, r.seconds) for r in found.records] == [
        (r.patch, r.name, r.value, r.seconds) for r in whole.records
    ]
    assert again.damaged == []


def test_two_sessions_stay_apart(file):
    file.append(ONE, log((0, "stroma", True)), 0)
    file.append(OTHER, log((0, "stroma", False), (1, "tumour", True)), 0)
    file.append(ONE, log((0, "stroma", True), (2, "tumour", True)), 1)
    assert file.logs(ONE)["phantom"].tagged(2) == ["tumour"]
    assert file.logs(ONE)["phantom"].tagged(1) == []
    assert file.logs(OTHER)["phantom"].value(0, "stroma") is False
    assert file.logs("3" * 32) == {}


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_half_written_last_line_costs_itself_alone(file, tmp_path, cut):
    path = tmp_path / "tags.jsonl"
    file.append(ONE, log((0, "stroma", True), (1, "tumour", True)), 0)
    path.write_bytes(path.read_bytes()[: -1 - cut])
    again = LabelFile(path)
    assert again.damaged == [3]
    assert len(again.logs(ONE)["phantom"].records) == 1
    again.append(ONE, log((0, "stroma", True), (2, "tumour", True)), 1)
    found = LabelFile(path)
    assert found.damaged == [3]
    assert found.logs(ONE)["phantom"].tagged(2) == ["tumour"]
    assert len(found.logs(ONE)["phantom"].records) == 2


def test_a_last_line_without_its_break_is_whole_and_stays_so(file, tmp_path):
    path = tmp_path / "tags.jsonl"
    file.append(ONE, log((0, "stroma", True)), 0)
    path.write_bytes(path.read_bytes()[:-1])
    again = LabelFile(path)
    again.append(ONE, log((0, "stroma", True), (1, "tumour", True)), 1)
    assert LabelFile(path).damaged == []
    assert len(LabelFile(path).logs(ONE)["phantom"].records) == 2


def test_a_header_starts_afresh(file):
    file.append(ONE, log((0, "stroma", True)), 0)
    file.append(ONE, log((1, "tumour", True)), 0)
    assert file.logs(ONE)["phantom"].tagged(0) == []
    file.append(ONE, log(), 0)
    assert file.logs(ONE)["phantom"].records == ()


def test_every_line_is_synced_and_written_at_once(file, monkeypatch):
    written, synced = [], []
    write, sync = os.write, os.fsync
    monkeypatch.setattr(module.os, "write", lambda *args: (written.append(args[1]), write(*args))[1])
    monkeypatch.setattr(module.os, "fsync", lambda *args: (synced.append(len(written)), sync(*args))[1])
    file.append(ONE, log((0, "stroma", True), (0, None, True)), 0)
    assert synced == [1, 2, 3]
    assert all(line.count(b"\n") == 1 and line.endswith(b"\n") for line in written)


def test_a_full_disk_is_an_error_and_the_next_line_begins_anew(file, monkeypatch, tmp_path):
    file.append(ONE, log((0, "stroma", True)), 0)
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(module.os, "write", lambda handle, line: write(handle, line[:10]))
        with pytest.raises(OSError, match="in part"):
            file.append(ONE, log((0, "stroma", True), (1, "tumour", True)), 1)
    file.append(ONE, log((0, "stroma", True), (2, "tumour", True)), 1)
    found = LabelFile(tmp_path / "tags.jsonl")
    assert found.logs(ONE)["phantom"].tagged(2) == ["tumour"]
    assert found.damaged == [3]


def test_foreign_lines_are_counted_or_passed_over(tmp_path):
    path = tmp_path / "tags.jsonl"
    strange = [{"session": ONE, "set": ["phantom"]}, {"session": ONE, "set": "phantom", "patch": 99}, [1], 5]
    path.write_text("".join(json.dumps(entry) + "\n" for entry in strange) + "\xff{\n\n")
    file = LabelFile(path)
    assert file.damaged == [3, 4, 5]
    assert file.logs(ONE) == {}


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(OSError, match="directory"):
        LabelFile(tmp_path)
