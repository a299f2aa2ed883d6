"""Submissions, broken in every way: each is named with its reason, none raises, and none is packed or scored."""

import io
import os
import struct
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
    challenge_scores,
    check_submission,
    pack,
    read_evaluation,
    score_submission,
)
from histolab_lite.methods.wsss4luad.challenge import pictures
from tests.methods.wsss4luad.challenge_folder import SIZES, raw_png, save, write_dataset
from tests.methods.wsss4luad.submissions import GOOD, MASK, NAME, SIZE, assert_problems, zipped

RGB = np.array(PALETTE, np.uint8)[MASK]


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
