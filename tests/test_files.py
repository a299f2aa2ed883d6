"""Files appear whole or not at all, and no YAML or JSON, however made, ends in anything but a sentence."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from histolab_lite import files
from histolab_lite.data.manifests import ManifestError, load_manifest
from histolab_lite.files import parse_json, read_json, read_yaml, sealed, unsealed, write_atomically
from histolab_lite.formats.qupath import read_geojson
from tests.flips import flipped
from tools.lessons import LessonsError
from tools.lessons.checking import read_baseline
from tools.lessons.claims import read_claims
from tools.lessons.ledger import read_evidence
from tools.lessons.parameters import read_parameter_file
from tools.lessons.runs import read_run

DEEP = ("[" * 10_000, "[" * 10_000 + "]" * 10_000, '{"a": ' * 10_000)
LAUGHS = "a0: &a0 [ha, ha]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))


def test_the_temporary_file_lies_in_the_same_folder_and_is_not_taken_for_a_finished_one(tmp_path: Path) -> None:
    """Only then is the move into place one step of the file system."""
    seen = []

    def write(temporary: Path) -> None:
        seen.append(temporary)
        assert list(tmp_path.glob("*.h5")) == list(tmp_path.rglob("[!.]*")) == []
        temporary.write_bytes(b"whole")

    write_atomically(tmp_path / "file.h5", write)
    assert seen[0].parent == tmp_path
    assert (tmp_path / "file.h5").read_bytes() == b"whole"
    assert (tmp_path / "file.h5").stat().st_mode & 0o044 == 0o044  # others may read it
    write_atomically(tmp_path / "new" / "file.h5", b"bytes")
    assert (tmp_path / "new" / "file.h5").read_bytes() == b"bytes"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.h5", "new"]


def test_a_full_disk_is_told_in_a_sentence(tmp_path: Path, fill_disk: Callable[..., None]) -> None:
    path = write_atomically(tmp_path / "file.bin", b"old")
    fill_disk()
    with pytest.raises(OSError, match=r"^file\.bin was not written: the disk is full\. Make room, then run it again"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_may_fill_up_at_any_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def full(*of: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    for module, step in ((files.tempfile, "mkstemp"), (files.os, "replace"), (files.Path, "mkdir")):
        with monkeypatch.context() as patch:
            patch.setattr(module, step, full)
            with pytest.raises(OSError, match="the disk is full"):
                write_atomically(tmp_path / "file.bin", b"content")
        assert list(tmp_path.iterdir()) == [], step


def test_a_writer_that_loses_the_number_of_its_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As numpy's tofile does. Where there is space it was something else."""

    def write(temporary: Path) -> None:
        raise OSError("4000000 requested and 1048320 written")

    with pytest.raises(OSError, match="requested and"):
        write_atomically(tmp_path / "file.bin", write)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(OSError, match="the disk is full"):
        write_atomically(tmp_path / "file.bin", write)
    assert list(tmp_path.iterdir()) == []


@given(st.binary(max_size=300))
def test_a_seal_is_broken_by_any_bit(content: bytes) -> None:
    whole = sealed(content)
    assert unsealed(whole) == content
    for _, damaged in flipped(whole, 40):
        with pytest.raises(ValueError, match="its sha256 is missing or another"):
            unsealed(damaged)
    for part in (whole[:-1], whole[1:], content, b""):
        with pytest.raises(ValueError, match="its sha256 is missing or another"):
            unsealed(part)


def test_other_errors_pass(tmp_path: Path) -> None:
    def write(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise KeyError("something else")

    with pytest.raises(KeyError, match="something else"):
        write_atomically(tmp_path / "file.bin", write)
    assert list(tmp_path.iterdir()) == []


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(plain)
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    path = tmp_path_factory.getbasetemp() / "content"
    path.write_text(json.dumps(content))
    assert read_json(path) == content
    path.write_text(yaml.safe_dump(content))
    assert read_yaml(path) == content


@given(st.text(alphabet="[]{}:,-!&*<>?|'\"#%@` \n0a~=.e", max_size=30) | st.binary(max_size=20))
def test_whatever_stands_in_a_file_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: str | bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "content"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for read in (read_json, read_yaml):
        with suppress(ValueError):
            read(path)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        *((deep, "nested too deeply") for deep in DEEP),
        ("- " * 10_000, "nested too deeply"),
        ("[" * 51 + "]" * 51, "nested too deeply"),
        (LAUGHS, r"\*a0 is an alias, which is not read\. Write the value out\."),
        ("a: &a {b: 1}\nc:\n  <<: *a\n", "alias"),
        ("a: 1\n" * 60_000, "larger than 256 KiB"),
        ("a: 2020-13-45", "month must be"),
        ("!!timestamp x", "is not YAML"),
        ("!!bool x", "is not YAML"),
        ("!!python/object/apply:os.system [ls]", "is not YAML"),
        ("a: " + "9" * 5000, "is not YAML"),
    ],
)
def test_yaml_that_would_take_all_memory_or_time(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "some.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=match) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(str(path))


def test_yaml_may_be_nested_as_deeply_as_is_said(tmp_path: Path) -> None:
    (tmp_path / "some.yaml").write_text("- " * 49 + "1")
    content = read_yaml(tmp_path / "some.yaml")
    for _ in range(49):
        (content,) = content
    assert content == 1


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "some").write_bytes(b"a: \xff\xfe")
    for read in (read_yaml, read_json):
        with pytest.raises(ValueError, match="some is not"):
            read(tmp_path / "some")


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "some.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "some.json") == {"a": 1}


@pytest.mark.parametrize("text", [*DEEP, "", "[1,", "9" * 5000])
def test_json_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="^x is not JSON"):
        parse_json(text, "x")


@pytest.mark.parametrize("deep", DEEP)
def test_every_reader_ends_in_a_sentence(tmp_path: Path, deep: str) -> None:
    for name in ("toy.yaml", "run.json", "metrics.json", "outlines.geojson"):
        (tmp_path / name).write_text(deep)
    for error, read in (
        (ManifestError, lambda: load_manifest(tmp_path / "toy.yaml")),
        (LessonsError, lambda: read_parameter_file(tmp_path / "toy.yaml", {})),
        (LessonsError, lambda: read_claims(tmp_path / "toy.yaml")),
        (LessonsError, lambda: read_evidence(tmp_path / "run.json")),
        (LessonsError, lambda: read_baseline(tmp_path / "run.json")),
        (LessonsError, lambda: read_run(tmp_path)),
        (ValueError, lambda: read_geojson(tmp_path / "outlines.geojson", (4, 4), ["a"])),
    ):
        with pytest.raises(error):
            read()
