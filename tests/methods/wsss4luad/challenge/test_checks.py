"""A data set's folder, broken in every way: each bad file is listed with its reason, and none raises."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histolab_lite.formats.masks import mask_png
from histolab_lite.methods.wsss4luad import PALETTE, Problem, check_dataset
from tests.methods.wsss4luad.challenge_folder import SIZES, raw_png, save, write_dataset

PATCH = "1.training/4361-0-7-[1, 1, 0].png"
IMAGE, MASK, WHITE = (f"3.testing/{kind}/01.png" for kind in ("img", "mask", "background-mask"))
RGB = np.random.default_rng(5).integers(0, 256, (200, 210, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def root(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "data"))


def rename(root: Path, name: str, other: str) -> None:
    (root / name).rename(root / other)


def cut(root: Path, name: str, share: float = 0.5) -> None:
    content = (root / name).read_bytes()
    (root / name).write_bytes(content[: int(len(content) * share)])


def stop(root: Path, name: str, place: int) -> None:
    content = bytearray((root / name).read_bytes())
    content[place] ^= 0xFF
    (root / name).write_bytes(content)


def mask(root: Path, name: str, values: np.ndarray, palette=PALETTE) -> None:
    (root / name).write_bytes(mask_png(values, palette))


def folder(root: Path, name: str) -> None:
    (root / name).unlink()
    (root / name).mkdir()


def sixteen_bits(root: Path, name: str) -> None:
    save(np.full(SIZES["01"], 300, np.uint16), root / name)


ZEROS = np.zeros(SIZES["01"], np.uint8)
BROKEN = {
    "name without tags": (lambda r: rename(r, PATCH, "1.training/4361-0-7.png"), "4361-0-7.png", "is not a name"),
    "two tags": (lambda r: rename(r, PATCH, "1.training/1-2-3-[1, 0].png"), "1-2-3-[1, 0].png", "has 2 tags"),
    "tags of 0": (lambda r: rename(r, PATCH, "1.training/1-2-3-[0, 0, 0].png"), "1-2-3-[0, 0, 0].png", "no tag that"),
    "another file": (lambda r: (r / "1.training/Thumbs.db").write_text("x"), "1.training/Thumbs.db", "is not a name"),
    "no png": (lambda r: (r / PATCH).write_text("hello"), PATCH, "no PNG, but another file"),
    "a jpeg": (lambda r: Image.fromarray(RGB).save(r / PATCH, format="JPEG"), PATCH, "no PNG, but a JPEG"),
    "empty": (lambda r: (r / PATCH).write_bytes(b""), PATCH, "the file is empty"),
    "cut off": (lambda r: cut(r, PATCH), PATCH, "damaged or cut off"),
    "cut off in its header": (lambda r: cut(r, PATCH, 0.0002), PATCH, "cut off within its header"),
    "a flipped byte": (lambda r: stop(r, IMAGE, 2000), IMAGE, "damaged or cut off"),
    "a folder": (lambda r: folder(r, PATCH), PATCH, "no plain file"),
    "grey": (lambda r: save(RGB[..., 0], r / PATCH), PATCH, "a grey PNG of 8 bits"),
    "alpha": (lambda r: Image.fromarray(RGB).convert("RGBA").save(r / IMAGE), IMAGE, "a RGBA PNG of 8 bits"),
    "16 bits": (lambda r: sixteen_bits(r, PATCH), PATCH, "a grey PNG of 16 bits"),
    "16 bits in three colours": (
        lambda r: (r / PATCH).write_bytes(raw_png((150, 160), bytes((6 * 160 + 1) * 150), 16, 2)),
        PATCH,
        "a RGB PNG of 16 bits; 8-bit RGB is expected",
    ),
    "a place twice": (
        lambda r: save(RGB, r / "1.training/4361_0_7_[1, 0, 0].png"),
        "1.training/4361_0_7_[1, 0, 0].png",
        "the place 0, 7 of slide 4361 is that of 4361-0-7-[1, 1, 0].png",
    ),
    "a picture twice": (
        lambda r: shutil.copy(r / "2.validation/img/01.png", r / IMAGE),
        IMAGE,
        "is the same picture as 2.validation/img/01.png",
    ),
    "a patch twice": (
        lambda r: shutil.copy(r / PATCH, r / "1.training/zz-1-2-[1, 0, 0].png"),
        "1.training/zz-1-2-[1, 0, 0].png",
        f"is the same picture as {PATCH}",
    ),
    "no folder": (lambda r: shutil.rmtree(r / "1.training"), "1.training", "the folder is missing"),
    "no folder of masks": (lambda r: shutil.rmtree(r / "3.testing/mask"), "3.testing/mask", "the folder is missing"),
    "no mask": (lambda r: (r / MASK).unlink(), MASK, "is missing"),
    "no background mask": (lambda r: (r / WHITE).unlink(), WHITE, "is missing"),
    "no picture": (lambda r: (r / IMAGE).unlink(), IMAGE, "is missing"),
    "no number": (
        lambda r: shutil.copy(r / MASK, r / "3.testing/mask/copy.png"),
        "3.testing/mask/copy.png",
        "not named by a number",
    ),
    "mask of another size": (lambda r: mask(r, MASK, ZEROS[:-1]), MASK, "300 x 229 px; 300 x 230 are expected"),
    "background of another size": (lambda r: save(ZEROS[:, 1:], r / WHITE), WHITE, "299 x 230 px; 300 x 230 are"),
    "mask of colours": (
        lambda r: save(np.zeros((*SIZES["01"], 3), np.uint8), r / MASK),
        MASK,
        "a RGB PNG of 8 bits; a mask is a palette PNG",
    ),
    "mask of other colours": (
        lambda r: mask(r, MASK, ZEROS, PALETTE[::-1]),
        MASK,
        "the palette gives 0 the colour (255, 255, 255), not (0, 64, 128)",
    ),
    "mask of unknown values": (lambda r: save(ZEROS + 7, r / MASK), MASK, "holds the value 7; known are 0 to 3"),
    "mask of 16 bits": (lambda r: sixteen_bits(r, MASK), MASK, "a grey PNG of 16 bits"),
    "background of classes": (
        lambda r: mask(r, WHITE, np.where(ZEROS.cumsum(1) == 0, 2, 0).astype(np.uint8)),
        WHITE,
        "holds the values [2]; a background mask holds 0 and 1",
    ),
    "background of greys": (
        lambda r: save(np.indices(SIZES["01"]).sum(0).astype(np.uint8), r / WHITE),
        WHITE,
        "holds the values [0, 1, 2, 3, 4, 5, 6, 7]",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_each_bad_file_is_named_with_its_reason(root, kind):
    spoil, name, reason = BROKEN[kind]
    spoil(root)
    problems = check_dataset(root)
    own = [problem for problem in problems if problem.path.endswith(name) and reason in problem.reason]
    assert len(own) == 1, problems
    assert all(problem.level == "error" for problem in own)
    others = [problem for problem in problems if problem not in own]
    assert all(problem.path.endswith(Path(name).name) for problem in others), others  # no file is blamed for another


def test_a_whole_data_set_has_no_problem(whole):
    assert check_dataset(whole) == []
    assert check_dataset(str(whole)) == []


def test_all_bad_files_are_listed_at_once(root):
    for name in (PATCH, MASK, WHITE):
        (root / name).write_bytes(b"")
    assert check_dataset(root) == [Problem(name, "the file is empty.") for name in (PATCH, MASK, WHITE)]


def test_sizes_that_are_unusual_are_warned_of(root):
    save(RGB[:149], root / PATCH)
    save(np.zeros((199, 300, 3), np.uint8), root / IMAGE)
    save(np.zeros((199, 300), np.uint8), root / WHITE)
    mask(root, MASK, np.zeros((199, 300), np.uint8))
    assert check_dataset(root) == [
        Problem(PATCH, "210 x 149 px; patches have sides of 150 to 300.", "warning"),
        Problem(IMAGE, "300 x 199 px; pictures have sides of 200 to 500 or 1500 to 5000.", "warning"),
    ]


def test_a_mask_may_be_grey_and_a_background_mask_of_255(root):
    save(np.asarray(Image.open(root / MASK)), root / MASK)
    save(np.asarray(Image.open(root / WHITE)) * np.uint8(255), root / WHITE)
    Image.open(root / WHITE).convert("1").save(root / "3.testing/background-mask/01.png")
    assert check_dataset(root) == []


def test_nothing_at_all(tmp_path):
    assert [problem.path for problem in check_dataset(tmp_path / "nowhere")] == ["."]
    names = [problem.path for problem in check_dataset(tmp_path)]
    assert names[0] == "1.training"
    assert len(names) == 7
    (tmp_path / "1.training").mkdir()
    assert Problem("1.training", "the folder is empty.") in check_dataset(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(root):
    (root / PATCH).unlink()
    os.mkfifo(root / PATCH)
    assert [problem.path for problem in check_dataset(root)] == [PATCH]


def test_a_picture_of_impossible_size_is_not_decoded(root):
    content = bytearray((root / PATCH).read_bytes())
    content[16:24] = (100_000).to_bytes(4, "big") * 2
    (root / PATCH).write_bytes(content)
    [problem] = check_dataset(root)
    assert problem.path == PATCH
    assert "100000 x 100000 px are more than" in problem.reason
