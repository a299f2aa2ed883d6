"""Submissions, broken in every way: each is named with its reason, none raises, and none is packed or scored."""

import io
import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from histolab_lite.formats.masks import mask_png
from histolab_lite.methods.wsss4luad import (
    PALETTE,
    Problem,
    SubmissionError,
    challenge_scores,
    check_submission,
    pack,
    pictures,
    read_evaluation,
    score_submission,
)
from tests.methods.wsss4luad.challenge_folder import SIZES, raw_png, save, write_dataset

NAME, SIZE = "01.png", SIZES["01"]
MASK = np.random.default_rng(2).integers(0, 4, SIZE, dtype=np.uint8)
RGB = np.array(PALETTE, np.uint8)[MASK]


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("challenge")) / "3.testing"


@pytest.fixture
def folder(tmp_path):
    where = tmp_path / "predictions"
    where.mkdir()
    random = np.random.default_rng(1)
    for name, size in SIZES.items():
        content = mask_png(random.integers(0, 4, size, dtype=np.uint8), PALETTE)
        (where / f"{name}.png").write_bytes(content)
    return where


def png(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, **{"format": "PNG", **options})
    return file.getvalue()


def header(content: bytes, width: int, height: int) -> bytes:
    """The same PNG, claiming another size, with a right checksum."""
    chunk = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
    return content[:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[33:]


def interlaced(mask: np.ndarray, rows_lacking: int = 0) -> bytes:
    """Grey, in the seven passes of Adam7."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = [b"\0" + row.tobytes() for top, left, down, across in passes for row in mask[top::down, left::across]]
    return raw_png(SIZE, b"".join(rows[: len(rows) - rows_lacking]), 8, 0, interlaced=True)


GOOD = mask_png(MASK, PALETTE)
GREY = Image.fromarray(MASK)
CONTENTS = {
    "zero bytes": (b"", "the file is empty"),
    "text": (b"mIoU 0.99", "no PNG, but another file"),
    "a JPEG under a PNG's name": (png(Image.fromarray(RGB), format="JPEG"), "no PNG, but a JPEG"),
    "a TIFF under a PNG's name": (png(GREY, format="TIFF"), "no PNG, but a TIFF"),
    "a signature alone": (GOOD[:8], "cut off within its header"),
    "truncated": (GOOD[: len(GOOD) // 2], "damaged or cut off"),
    "truncated before its end": (GOOD[:-40], "damaged or cut off"),
    "a damaged byte": (GOOD[:-100] + bytes([GOOD[-100] ^ 255]) + GOOD[-99:], "damaged or cut off"),
    "a wrong checksum": (GOOD[:29] + b"abcd" + GOOD[33:], "damaged or cut off"),
    "another size": (mask_png(MASK[:, :-1], PALETTE), "299 x 230 px; 300 x 230 are expected"),
    "turned": (mask_png(MASK.T, PALETTE), "230 x 300 px; 300 x 230 are expected"),
    "a decompression bomb": (header(GOOD, 60_000, 60_000), "60000 x 60000 px are more than"),
    "a size of 0": (header(GOOD, 0, 230), "header is damaged"),
    "a size that its data do not fill": (header(mask_png(MASK[:9], PALETTE), 300, 230), "damaged or cut off"),
    "interlaced, and a row lacks": (interlaced(MASK, 1), "damaged or cut off"),
    "RGB": (png(Image.fromarray(RGB)), "a RGB PNG of 8 bits; a mask is"),
    "RGBA": (png(Image.fromarray(RGB).convert("RGBA")), "a RGBA PNG of 8 bits"),
    "grey with alpha": (png(GREY.convert("LA")), "a grey with alpha PNG of 8 bits"),
    "16 bits": (png(Image.fromarray(MASK.astype(np.uint16))), "a grey PNG of 16 bits"),
    "16 bits in three colours": (raw_png(SIZE, bytes((6 * SIZE[1] + 1) * SIZE[0]), 16, 2), "a RGB PNG of 16 bits"),
    "another palette": (mask_png(MASK, PALETTE[::-1]), "the palette gives 0 the colour (255, 255, 255)"),
    "one wrong colour": (mask_png(MASK, (*PALETTE[:2], (243, 152, 1), PALETTE[3])), "the palette gives 2 the colour"),
    "a class beyond the three": (mask_png(MASK + 1, (*PALETTE, (1, 1, 1))), "holds the value 4; known are 0 to 3"),
    "classes counted from 1": (png(Image.fromarray(MASK + 1)), "holds the value 4"),
    "ignored pixels": (mask_png(np.where(MASK == 3, 255, MASK), PALETTE), "holds the value 255"),
    "black and white": (png(Image.fromarray(np.where(MASK, 255, 0).astype(np.uint8))), "holds the value 255"),
    "an animation": (
        png(GREY, save_all=True, append_images=[Image.fromarray(3 - MASK)]),
        "an animation of 2 frames",
    ),
}


def link(folder: Path, target: Path) -> None:
    (folder / NAME).unlink()
    (folder / NAME).symlink_to(target)


def outside(folder: Path) -> None:
    (folder / NAME).rename(folder.parent / "elsewhere.png")
    (folder / NAME).symlink_to(folder.parent / "elsewhere.png")


def become_folder(folder: Path) -> None:
    (folder / NAME).unlink()
    (folder / NAME).mkdir()


def pipe(folder: Path) -> None:
    (folder / NAME).unlink()
    os.mkfifo(folder / NAME)


#: What is done to a folder, and what has to be said of which name.
ENTRIES = {
    "missing": (lambda f: (f / NAME).unlink(), {NAME: "is missing"}),
    "no leading zero": (lambda f: (f / NAME).rename(f / "1.png"), {NAME: "missing", "1.png": "misnamed: 01.png"}),
    "too many zeros": (lambda f: (f / NAME).rename(f / "001.png"), {NAME: "missing", "001.png": "misnamed: 01.png"}),
    "capitals": (lambda f: (f / NAME).rename(f / "01.PNG"), {NAME: "missing", "01.PNG": "misnamed: 01.png"}),
    "two suffixes": (lambda f: (f / NAME).rename(f / "01.png.png"), {NAME: "missing", "01.png.png": "misnamed: 01"}),
    "another suffix": (lambda f: (f / NAME).rename(f / "01.tif"), {NAME: "missing", "01.tif": "misnamed: 01.png"}),
    "another name": (lambda f: (f / NAME).rename(f / "a.png"), {NAME: "is missing", "a.png": "is not expected"}),
    "one too many": (lambda f: (f / "80.png").write_bytes(GOOD), {"80.png": "no picture has this name"}),
    "rubbish": (lambda f: (f / ".DS_Store").write_bytes(b"\0"), {".DS_Store": "is not expected"}),
    "a folder in its place": (become_folder, {NAME: "is a folder"}),
    "a folder besides": (lambda f: (f / "old").mkdir(), {"old": "is a folder"}),
    "a link to outside": (outside, {NAME: "is a link to a file outside"}),
    "a link to nothing": (lambda f: link(f, f / "gone.png"), {NAME: "is a link to a file that is not there"}),
    "a link to itself": (lambda f: link(f, f / NAME), {NAME: "is a link"}),
    "a pipe": (pipe, {NAME: "is no plain file"}),
}


def assert_problems(submission: Path, truth: Path, expected: dict[str, str]) -> None:
    problems = check_submission(submission, truth)
    assert {problem.path for problem in problems} == set(expected), problems
    assert len(problems) == len(expected)
    for problem in problems:
        assert expected[problem.path] in problem.reason, problem
    out = submission.parent / "out.zip"
    for use in (lambda: score_submission(submission, truth), lambda: pack(submission, truth, out)):
        with pytest.raises(SubmissionError) as caught:
            use()
        assert caught.value.problems == problems
        assert all(str(problem) in str(caught.value) for problem in problems)
    assert not out.exists()


def zipped(folder: Path, names: list[str] | None = None) -> Path:
    path = folder.parent / "sent.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names or sorted(os.listdir(folder)):
            archive.write(folder / name, name)
    return path


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize("kind", CONTENTS)
def test_a_bad_file_is_named_with_its_reason(truth, folder, kind, packed):
    content, reason = CONTENTS[kind]
    (folder / NAME).write_bytes(content)
    assert_problems(zipped(folder) if packed else folder, truth, {NAME: reason})


@pytest.mark.parametrize("kind", ENTRIES)
def test_a_bad_entry_is_named_with_its_reason(truth, folder, kind):
    spoil, expected = ENTRIES[kind]
    spoil(folder)
    assert_problems(folder, truth, expected)


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
    monkeypatch.setattr("histolab_lite.methods.wsss4luad.submission.MOST_BYTES", (folder / NAME).stat().st_size - 1)
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


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 700), st.integers(0, 255))
def test_no_rubbish_raises(tmp_path_factory, truth, tail, place, value):
    folder = tmp_path_factory.mktemp("rubbish")
    for name in SIZES:
        content = bytearray(GOOD)
        content[place] = value
        (folder / f"{name}.png").write_bytes(bytes(content[: 30 + place]) + tail)
    named = {problem.path for problem in check_submission(folder, truth)}
    assert named == {"00.png", "01.png", "10.png"}
    (folder / "sent.zip").write_bytes(b"PK\3\4" + tail)
    assert [problem.path for problem in check_submission(folder / "sent.zip", truth)] == ["sent.zip"]


def test_problems_are_listed_in_the_order_of_the_numbers(truth, folder):
    for name in ("00.png", "01.png", "10.png", "a.png"):
        (folder / name).write_bytes(b"")
    assert [problem.path for problem in check_submission(folder, truth)] == ["00.png", "01.png", "10.png", "a.png"]
    assert str(Problem("01.png", "is missing.")) == "01.png: is missing."


def test_a_whole_submission_is_scored_as_the_masks_say(truth, folder):
    save(MASK, folder / NAME)  # grey, as participants sent them
    (folder / "10.png").rename(folder.parent / "kept.png")
    (folder / "10.png").write_bytes((folder.parent / "kept.png").read_bytes())
    predictions = [np.asarray(Image.open(folder / f"{name}.png")) for name in SIZES]
    expected = challenge_scores(predictions, [p.mask() for p in read_evaluation(truth.parent, "testing")])
    for submission in (folder, zipped(folder)):
        assert check_submission(submission, truth) == []
        assert score_submission(submission, truth) == expected
        assert score_submission(str(submission), str(truth / "mask")) == expected


def test_an_interlaced_mask_is_read(truth, folder):
    (folder / NAME).write_bytes(GOOD)
    expected = score_submission(folder, truth)
    (folder / NAME).write_bytes(interlaced(MASK))
    assert check_submission(folder, truth) == []
    assert score_submission(folder, truth) == expected


def test_data_beyond_the_picture_are_not_unpacked(truth, folder):
    """A small picture whose data would fill the memory."""
    rows = b"".join(b"\0" + row.tobytes() for row in MASK) + bytes(50_000_000)
    content = raw_png(SIZE, rows, 8, 0)
    assert pictures._unpacked(content, pictures.read_header(content)) == MASK.size + len(MASK)
    (folder / NAME).write_bytes(content)
    assert check_submission(folder, truth) == []


def test_background_masks_count_besides_the_masks(tmp_path, folder):
    truth = write_dataset(tmp_path / "other") / "3.testing"
    before = score_submission(folder, truth)
    white = np.zeros(SIZE, np.uint8)
    white[:, : SIZE[1] // 2] = 1
    save(white, truth / "background-mask" / NAME)
    expected = challenge_scores(
        [np.asarray(Image.open(folder / f"{name}.png")) for name in SIZES],
        [picture.mask() for picture in read_evaluation(truth.parent, "testing")],
    )
    assert score_submission(folder, truth) == expected != before


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


def test_a_link_within_the_submission_is_followed(truth, folder):
    save(np.zeros(SIZES["00"], np.uint8), folder / "00.png")
    (folder / NAME).unlink()
    (folder / NAME).symlink_to("00.png")
    assert_problems(folder, truth, {NAME: "211 x 200 px; 300 x 230 are expected"})


def test_nonsense_is_refused(truth, folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no submission"):
        check_submission(tmp_path / "nowhere", truth)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        check_submission(folder, tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no PNG"):
        check_submission(folder, tmp_path)
    with pytest.raises(ValueError, match="a submission is a .zip archive"):
        pack(folder, truth, tmp_path / "x.tar")
    broken = write_dataset(tmp_path / "broken") / "3.testing"
    (broken / "background-mask" / NAME).write_bytes(b"")
    with pytest.raises(ValueError, match="01.png: the file is empty"):
        score_submission(folder, broken)
    (broken / "mask" / NAME).write_bytes(b"")
    with pytest.raises(ValueError, match="01.png: the file is empty"):
        check_submission(folder, broken)
