"""Files appear whole or not at all, and every bad YAML or JSON file ends in a sentence."""

import errno
import json
import os
import shutil
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from histolab_lite import files
from histolab_lite.data.manifests import ManifestError, load_manifest
from histolab_lite.files import (
    ArchiveError,
    extract,
    parse_json,
    read_json,
    read_yaml,
    sealed,
    unsealed,
    write_atomically,
)
from histolab_lite.formats.qupath import read_geojson
from tests.flips import flipped
from tools.lessons import LessonsError
from tools.lessons.checking import read_baseline
from tools.lessons.claims import read_claims
from tools.lessons.ledger import read_evidence
from tools.lessons.parameters import read_parameter_file
from tools.lessons.runs import read_run

LAUGHS = "a0: &a0 [ha, ha]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))


def test_a_file_grows_hidden_in_the_folder_where_it_will_stand(tmp_path):
    """Only within one folder is the move into place one step of the file system."""
    path = tmp_path / "new" / "file.h5"
    seen = []

    def write(temporary):
        seen.append(temporary)
        assert list(path.parent.glob("*.h5")) == list(path.parent.glob("[!.]*")) == []
        temporary.write_bytes(b"whole")

    assert write_atomically(path, write) == path
    assert seen[0].parent == path.parent
    assert path.read_bytes() == b"whole"
    assert path.stat().st_mode & 0o044 == 0o044  # others may read it
    write_atomically(path, b"bytes")
    assert path.read_bytes() == b"bytes"
    assert list(path.parent.iterdir()) == [path]


def raise_error(error):
    def raising(*of, **options):
        raise error

    return raising


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize(("module", "step"), [("tempfile", "mkstemp"), ("os", "replace"), ("Path", "mkdir")])
def test_a_disk_may_fill_up_at_any_step(tmp_path, monkeypatch, number, module, step):
    monkeypatch.setattr(getattr(files, module), step, raise_error(OSError(number, os.strerror(number))))
    with pytest.raises(OSError, match=r"^file\.bin was not written: the disk is full\. Make room, then run it again"):
        write_atomically(tmp_path / "file.bin", b"content")
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_the_old_file_alone(tmp_path, fill_disk, monkeypatch):
    path = write_atomically(tmp_path / "file.bin", b"old")

    def check(content, error, keyword):
        with pytest.raises(error, match=keyword):
            write_atomically(path, content)
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    check(raise_error(KeyError("something else")), KeyError, "something else")
    without_number = raise_error(OSError("4000000 requested and 1048320 written"))  # as numpy's tofile does
    check(without_number, OSError, "requested and")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 10, 0))
        check(without_number, OSError, "the disk is full")
    fill_disk()
    check(b"new", OSError, "the disk is full")


@settings(max_examples=40)
@given(st.binary(max_size=300))
def test_any_flipped_bit_breaks_a_seal(content):
    whole = sealed(content)
    assert whole.startswith(content)
    assert unsealed(whole) == content
    broken = [damaged for _, damaged in flipped(whole, 40)]
    for damaged in [*broken, whole[:-1], whole[1:], content, b""]:
        with pytest.raises(ValueError, match="sha256 is missing or wrong"):
            unsealed(damaged)


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "bztar", "xztar"])
def test_a_damaged_archive_ends_in_a_sentence(tmp_path, kind):
    """The unsafe ones are tested with the downloads, which unpack them."""
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "text").write_text(" ".join(map(str, range(2000))))
    archive = Path(shutil.make_archive(tmp_path / "some", kind, tmp_path / "content"))
    refused = 0
    for _, damaged in flipped(archive.read_bytes(), 40):
        archive.write_bytes(damaged)
        try:
            extract(archive, tmp_path / "into")
        except ArchiveError:
            refused += 1
    assert refused


def test_an_encrypted_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.writestr("text", "content")
        archive.filelist[0].flag_bits |= 1
    with pytest.raises(ArchiveError, match="'text' is encrypted"):
        extract(tmp_path / "some.zip", tmp_path / "into")


text = st.text("a0eé😀\x85\u2028 \n\t'\"\\:#-[]{},&*!|>%@`~=.", max_size=8)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=40)
@given(plain)
def test_what_was_written_is_read(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "content"
    path.write_text(json.dumps(content))
    assert read_json(path) == content
    path.write_text(yaml.safe_dump(content))
    assert read_yaml(path) == content


@given(st.text(alphabet="[]{}:,-!&*<>?|'\"#%@` \n0a~=.e", max_size=30) | st.binary(max_size=20))
def test_any_content_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "content"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for read in (read_json, read_yaml):
        with suppress(ValueError):
            read(path)


@pytest.mark.parametrize(
    ("content", "keyword"),
    [
        ("[" * 300, "nested too deeply"),
        ('{"a": ' * 300, "nested too deeply"),
        ("- " * 1000, "nested too deeply"),
        ("[" * 51 + "]" * 51, "nested too deeply"),
        (LAUGHS, r"\*a0 is an alias"),
        ("a: &a {b: 1}\nc:\n  <<: *a\n", "alias"),
        ("a: 1\n" * 60_000, "larger than 256 KiB"),
        ("a: 2020-13-45", "month must be"),
        ("!!timestamp x", "is not YAML"),
        ("!!bool x", "is not YAML"),
        ("!!python/object/apply:os.system [ls]", "is not YAML"),
        ("a: " + "9" * 5000, "is not YAML"),
        (b"a: \xff\xfe", "is not YAML"),
    ],
)
def test_bad_yaml_is_refused(tmp_path, content, keyword):
    path = tmp_path / "some.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=keyword) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(str(path))


def test_yaml_may_have_fifty_levels(tmp_path):
    (tmp_path / "some.yaml").write_text("[" * 49 + "1" + "]" * 49)
    assert read_yaml(tmp_path / "some.yaml") == json.loads("[" * 49 + "1" + "]" * 49)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a": ' * 100_000, "", "[1,", "9" * 5000, b"\xff\xfe"])
def test_bad_json_is_refused(content):
    with pytest.raises(ValueError, match="^x is not JSON"):
        parse_json(content, "x")
    assert parse_json(b'\xef\xbb\xbf{"a": 1}', "x") == {"a": 1}  # a byte order mark is no error


def test_every_reader_ends_in_a_sentence(tmp_path):
    (tmp_path / "toy.yaml").write_text("[" * 100)
    for name in ("run.json", "metrics.json", "outlines.geojson"):
        (tmp_path / name).write_text("[" * 100_000)
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
