"""Submissions, broken in every way: each problem is listed, none raises, and none is scored or packed."""

import os
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histolab_lite.formats.masks import mask_png
from histolab_lite.methods.wsss4luad import (
    PALETTE,
    SubmissionError,
    challenge_scores,
    check_submission,
    pack,
    read_evaluation,
    score_submission,
)
from histolab_lite.methods.wsss4luad.challenge import submission
from tests.methods.refused import refused
from tests.methods.wsss4luad.challenge_folder import SIZES, png, save, write_dataset

NAME, SIZE = "01.png", SIZES["01"]
MASK = np.random.default_rng(2).integers(0, 4, SIZE, dtype=np.uint8)
GOOD = mask_png(MASK, PALETTE)


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("challenge")) / "3.testing"


@pytest.fixture
def folder(tmp_path):
    where = tmp_path / "predictions"
    where.mkdir()
    random = np.random.default_rng(1)
    for name, size in SIZES.items():
        (where / f"{name}.png").write_bytes(mask_png(random.integers(0, 4, size, dtype=np.uint8), PALETTE))
    return where


def zipped(folder: Path, names: list[str] | None = None) -> Path:
    path = folder.parent / "sent.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names or sorted(os.listdir(folder)):
            archive.write(folder / name, name)
    return path


def assert_problems(prediction: Path, truth: Path, expected: dict[str, str]) -> None:
    problems = check_submission(prediction, truth)
    assert [problem.path for problem in problems] == list(expected), problems
    assert all(expected[problem.path] in problem.reason for problem in problems), problems
    out = prediction.parent / "out.zip"
    for use in (lambda: score_submission(prediction, truth), lambda: pack(prediction, truth, out)):
        with pytest.raises(SubmissionError) as caught:
            use()
        assert caught.value.problems == problems
        assert all(f"{problem.path}: {problem.reason}" in str(caught.value) for problem in problems)
    assert not out.exists()


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (GOOD[:-40], "damaged or cut off"),
        (mask_png(MASK.T, PALETTE), "230 x 300 px; 300 x 230 are expected"),
        (mask_png(MASK, PALETTE[::-1]), "the palette gives 0 the colour"),
        (png(Image.fromarray(MASK + 1)), "holds the value 4"),
    ],
)
def test_a_bad_file_is_listed_with_its_reason(truth, folder, content, reason, packed):
    (folder / NAME).write_bytes(content)
    assert_problems(zipped(folder) if packed else folder, truth, {NAME: reason})


def rename(name: str):
    return lambda path: path.rename(path.with_name(name))


def replace(make):
    """Instead of the file, what `make` makes at its path."""
    return lambda path: (path.rename(path.parents[1] / "elsewhere.png"), make(path))


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (Path.unlink, {NAME: "is missing"}),
        (rename("1.png"), {NAME: "is missing", "1.png": "misnamed: 01.png"}),
        (rename("001.png"), {"001.png": "misnamed: 01.png", NAME: "is missing"}),
        (rename("01.PNG"), {"01.PNG": "misnamed: 01.png", NAME: "is missing"}),
        (rename("01.png.png"), {NAME: "is missing", "01.png.png": "misnamed: 01.png"}),
        (rename("a.png"), {NAME: "is missing", "a.png": "no image has this name"}),
        (lambda path: path.with_name("80.png").write_bytes(GOOD), {"80.png": "no image has this name"}),
        (lambda path: path.with_name("old").mkdir(), {"old": "is a folder"}),
        (replace(Path.mkdir), {NAME: "is a folder"}),
        (replace(os.mkfifo), {NAME: "is no plain file"}),
        (replace(lambda path: path.symlink_to(path.parents[1] / "elsewhere.png")), {NAME: "a link to a file outside"}),
        (replace(lambda path: path.symlink_to("gone.png")), {NAME: "is a link to a file that is not there"}),
        (replace(lambda path: path.symlink_to(path)), {NAME: "is a link"}),
        (replace(lambda path: path.symlink_to("00.png")), {NAME: "211 x 200 px; 300 x 230 are expected"}),
    ],
)
def test_a_bad_entry_of_a_folder_is_listed_with_its_reason(truth, folder, spoil, expected):
    spoil(folder / NAME)
    assert_problems(folder, truth, expected)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["masks/01.png"], {"masks/01.png": "is in a folder", NAME: "is missing"}),
        (["../01.png"], {"../01.png": "leads out", NAME: "is missing"}),
        (["/01.png"], {"/01.png": "leads out", NAME: "is missing"}),
        (["c:/01.png"], {"c:/01.png": "leads out", NAME: "is missing"}),
        (["..\\01.png"], {NAME: "is missing", "..\\01.png": "leads out"}),
        ([NAME, NAME], {NAME: "is 2 times in the archive"}),
        ([], {NAME: "is a link"}),
    ],
)
def test_a_bad_member_of_an_archive_is_listed_with_its_reason(truth, folder, names, expected):
    path = zipped(folder, ["00.png", "10.png"])
    link = zipfile.ZipInfo(NAME)
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        for name in names or [link]:
            archive.writestr(name, GOOD)
    assert_problems(path, truth, expected)


def test_a_damaged_or_encrypted_member_is_listed(truth, folder):
    path = zipped(folder)
    content = bytearray(path.read_bytes())
    second = content.index(GOOD[:8], content.index(GOOD[:8]) + 1)
    content[second + 500] ^= 0xFF  # its checksum no longer fits
    path.write_bytes(content)
    assert_problems(path, truth, {NAME: "cannot be unpacked"})
    for signature, offset in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        place = content.index(signature, content.index(signature) + 1)  # of the second member
        content[place + offset] |= 1
    path.write_bytes(content)
    assert_problems(path, truth, {NAME: "is encrypted"})


def test_members_that_unpack_to_too_much_are_not_unpacked(truth, folder, monkeypatch):
    monkeypatch.setattr(submission, "MOST_BYTES", 1000)
    names = [f"{name}.png" for name in SIZES]
    assert_problems(zipped(folder), truth, dict.fromkeys(names, "unpacks to more than 1,000 bytes"))


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\3\4" + bytes(40), b"PK\5\6" + b"\xff" * 18, "cut off"])
def test_what_is_neither_a_folder_nor_an_archive_is_listed(truth, folder, content):
    path = zipped(folder)
    path.write_bytes(path.read_bytes()[:-30] if content == "cut off" else content)
    assert_problems(path, truth, {"sent.zip": "neither a folder nor a zip archive"})


def test_a_whole_submission_is_scored_with_the_white_of_both_masks(tmp_path, folder):
    truth = write_dataset(tmp_path / "own") / "3.testing"
    before = score_submission(folder, truth)
    save(np.asarray(Image.open(folder / NAME)), folder / NAME)  # grey, as participants sent them
    assert score_submission(folder, truth) == before
    white = np.zeros(SIZE, np.uint8)
    white[:, : SIZE[1] // 2] = 1
    save(white, truth / "background-mask" / NAME)
    predictions = [np.asarray(Image.open(folder / f"{name}.png")) for name in SIZES]
    expected = challenge_scores(predictions, [image.mask() for image in read_evaluation(truth.parent, "testing")])
    assert expected != before
    for prediction in (folder, zipped(folder)):
        assert check_submission(prediction, truth) == []
        assert score_submission(prediction, truth) == score_submission(str(prediction), str(truth / "mask")) == expected


def test_an_archive_is_the_same_whenever_and_from_wherever_it_is_packed(truth, folder, tmp_path):
    first = pack(folder, truth / "img", tmp_path / "first.zip")
    for path in folder.iterdir():
        os.utime(path, (10**9, 10**9))
    second = pack(first, truth, tmp_path / "new" / "second.zip")
    assert first.read_bytes() == second.read_bytes()
    assert check_submission(second, truth) == []
    with zipfile.ZipFile(second) as archive:
        assert archive.namelist() == ["00.png", "01.png", "10.png"]
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.read(NAME) == (folder / NAME).read_bytes()
    (folder / NAME).unlink()
    with pytest.raises(SubmissionError):
        pack(folder, truth, second)
    assert first.read_bytes() == second.read_bytes()  # the earlier archive stays
    assert [path.name for path in second.parent.iterdir()] == ["second.zip"]


def test_a_missing_or_damaged_folder_is_refused(folder, tmp_path):
    truth = write_dataset(tmp_path / "own") / "3.testing"
    refused("no submission", lambda: check_submission(folder / "nowhere", truth))
    refused("no folder", lambda: check_submission(folder, truth / "nowhere"))
    refused("holds no PNG", lambda: check_submission(folder, truth.parent))
    refused(r"a \.zip archive", lambda: pack(folder, truth, tmp_path / "x.tar"))
    for kind, use in (("background-mask", score_submission), ("mask", check_submission)):
        (truth / kind / NAME).write_bytes(b"")
        refused(r"01\.png: the file is empty", lambda use=use: use(folder, truth))
