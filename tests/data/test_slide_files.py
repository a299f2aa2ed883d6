"""A slide is known by its files: however copied or touched it is the same, and another one of its name is not."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
from pathlib import Path

import pytest

from histolab_lite.data.slide_files import SlideFile, identify, is_same, slide_files

TIMES = itertools.count(10**18, 10**9)


def write(path: Path, content: bytes = b"tissue") -> Path:
    """Every write is a second later than the one before, however coarse the clock is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, ns=(0, next(TIMES)))
    return path


def test_a_copy_or_a_touched_file_is_the_same_and_another_of_its_size_is_not(tmp_path):
    path = write(tmp_path / "a.svs")
    known = identify(path)
    assert known == SlideFile(6, path.stat().st_mtime_ns, hashlib.sha256(b"tissue").hexdigest())
    os.utime(path, ns=(0, 0))
    assert is_same(path, known)
    assert is_same(shutil.copy(path, tmp_path / "b.svs"), known)
    assert not is_same(write(path, b"glass!"), known)
    assert not is_same(write(path, b"tissue, more of it"), known)


def test_a_slide_is_read_once_as_long_as_it_does_not_change(tmp_path, monkeypatch):
    path, read = write(tmp_path / "a.svs"), []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, name: (read.append(file.name), digest(file, name))[1])
    first = identify(path)
    assert identify(path) == first
    os.utime(path, ns=(1, 1))
    assert identify(path).sha256 == first.sha256
    assert read == [str(path)] * 2
    write(path, b"longer")
    assert is_same(path, SlideFile(6, path.stat().st_mtime_ns, "not read"))
    assert not is_same(write(path, b"longer than it"), first)
    assert read == [str(path)] * 2


@pytest.mark.parametrize(
    ("named", "others", "strange"),
    [
        ("a.svs", [], ["b.svs", "a/Slidedat.ini"]),
        ("a.mrxs", ["a/Data0000.dat", "a/Slidedat.ini"], ["b.mrxs", "b/Slidedat.ini"]),
        ("a.vms", ["a(1,0).jpg", "a-macro.jpg"], ["b.vms", "b.jpg"]),
        ("a.dcm", ["b.DCM", "c.dcm"], ["notes.txt", "deeper/d.dcm"]),
    ],
)
def test_slides_of_several_files(tmp_path, named, others, strange):
    path = write(tmp_path / named, b"[Slide]\nImageFile(1,0)=a(1,0).jpg\nMacroImage=a-macro.jpg\n")
    its = [path, *(write(tmp_path / name) for name in others)]
    for name in strange:
        write(tmp_path / name, b"another, and longer")
    assert set(slide_files(path)) == set(its)
    assert slide_files(path)[0] == path
    known = identify(path)
    assert known.size == sum(file.stat().st_size for file in its)
    assert known.modified == max(file.stat().st_mtime_ns for file in its)
    for file in its:
        before = file.read_bytes()
        write(file, bytes(reversed(before)))
        assert not is_same(path, known), file
        write(file, before)
        assert is_same(path, known)  # later, but the same
    if others:
        its[1].rename(its[1].with_suffix(".moved"))
        assert not is_same(path, known)
