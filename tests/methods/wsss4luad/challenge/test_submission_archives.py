"""Submissions as zip archives: what is wrong with a member is named, nothing dangerous is unpacked, packing repeats."""

import os
import stat
import zipfile

import pytest

from histolab_lite.methods.wsss4luad import SubmissionError, check_submission, pack
from histolab_lite.methods.wsss4luad.challenge import submission
from tests.methods.wsss4luad.submissions import GOOD, NAME, assert_problems, zipped


def member(name: str, **fields: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info


LINK = (stat.S_IFLNK | 0o777) << 16
MEMBERS = {
    "in a folder": ([member("masks/01.png")], {"masks/01.png": "is in a folder", NAME: "is missing"}),
    "out of the archive": ([member("../01.png")], {"../01.png": "leads out", NAME: "is missing"}),
    "at the root": ([member("/01.png")], {"/01.png": "leads out", NAME: "is missing"}),
    "twice": ([member(NAME), member(NAME)], {NAME: "is 2 times in the archive"}),
    "a link": ([member(NAME, external_attr=LINK)], {NAME: "is a link"}),
    "a folder": ([member("empty/"), member(NAME)], {"empty/": "is in a folder"}),
}


@pytest.mark.parametrize("kind", MEMBERS)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_bad_member_of_an_archive_is_named_with_its_reason(truth, folder, kind):
    members, expected = MEMBERS[kind]
    path = zipped(folder, ["00.png", "10.png"])
    with zipfile.ZipFile(path, "a") as archive:
        for info in members:
            archive.writestr(info, b"" if info.is_dir() else GOOD)
    assert_problems(path, truth, expected)


def test_an_encrypted_member_is_named(truth, folder):
    path = zipped(folder)
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        place = content.index(signature, content.index(signature) + 1)  # of the second member
        content[place + offset] |= 1
    path.write_bytes(content)
    assert_problems(path, truth, {NAME: "is encrypted"})


def test_a_member_that_unpacks_to_too_much_is_not_unpacked(truth, folder, monkeypatch):
    path = zipped(folder)
    monkeypatch.setattr(submission, "MOST_BYTES", (folder / NAME).stat().st_size - 1)
    assert "unpacks to more than" in {p.path: p.reason for p in check_submission(path, truth)}[NAME]


def test_a_damaged_member_is_named(truth, folder):
    path = zipped(folder)
    content = bytearray(path.read_bytes())
    content[content.index(GOOD[:8], content.index(GOOD[:8]) + 1) + 500] ^= 0xFF  # its checksum no longer fits
    path.write_bytes(content)
    assert_problems(path, truth, {NAME: "cannot be unpacked"})


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\3\4" + bytes(40), b"PK\5\6" + b"\xff" * 18])
def test_what_is_neither_a_folder_nor_an_archive_is_named(truth, tmp_path, content):
    path = tmp_path / "sent.zip"
    path.write_bytes(content)
    assert_problems(path, truth, {"sent.zip": "neither a folder nor a zip archive"})


def test_a_cut_off_archive_is_named(truth, folder):
    path = zipped(folder)
    path.write_bytes(path.read_bytes()[:-30])
    assert_problems(path, truth, {"sent.zip": "neither a folder nor a zip archive"})


def test_an_archive_is_the_same_whenever_and_from_wherever_it_is_packed(truth, folder, tmp_path):
    first = pack(folder, truth / "img", tmp_path / "first.zip")
    for path in folder.iterdir():
        os.utime(path, (10**9, 10**9))
    second = pack(first, truth, tmp_path / "new" / "second.zip")
    assert first.read_bytes() == second.read_bytes()
    assert check_submission(second, truth) == []
    with zipfile.ZipFile(second) as archive:
        assert archive.namelist() == ["00.png", "01.png", "10.png"]
        assert archive.read(NAME) == (folder / NAME).read_bytes()
        assert archive.testzip() is None
    (folder / NAME).unlink()
    with pytest.raises(SubmissionError):
        pack(folder, truth, second)
    assert first.read_bytes() == second.read_bytes()  # what was there stays
    assert sorted(path.name for path in second.parent.iterdir()) == ["second.zip"]
