"""A data set's folder, broken in every way: each bad file is listed with its reason, and none raises."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from histolab_lite.methods.wsss4luad import Problem, check_dataset
from tests.methods.wsss4luad.challenge_folder import SIZES, save, write_dataset

PATCH, AGAIN = "1.training/4361-0-7-[1, 1, 0].png", "1.training/4361_0_7_[1, 0, 0].png"
IMAGE, MASK, WHITE = (f"3.testing/{kind}/01.png" for kind in ("img", "mask", "background-mask"))
RGB = np.random.default_rng(5).integers(0, 256, (200, 210, 3), dtype=np.uint8)
ZEROS = np.zeros(SIZES["01"], np.uint8)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def root(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "data"))


def copy(source: str, target: str):
    return lambda root: shutil.copy(root / source, root / target)


def write(name: str, array: np.ndarray):
    return lambda root: save(array, root / name)


@pytest.mark.parametrize(
    ("name", "reason", "spoil"),
    [
        ("1.training/a.png", "is not a name", lambda root: (root / PATCH).rename(root / "1.training/a.png")),
        ("1.training/Thumbs.db", "is not a name", lambda root: (root / "1.training/Thumbs.db").write_text("x")),
        (PATCH, "the file is empty", lambda root: (root / PATCH).write_bytes(b"")),
        (PATCH, "a grey PNG", write(PATCH, RGB[..., 0])),
        (AGAIN, r"same place 0, 7 on slide 4361 as 4361-0-7-\[1, 1, 0\]\.png", write(AGAIN, RGB)),
        ("1.training/zz-1-2-[110].png", "same image as 1.training/4361", copy(PATCH, "1.training/zz-1-2-[110].png")),
        (IMAGE, "same image as 2.validation/img/01.png", copy("2.validation/img/01.png", IMAGE)),
        ("1.training", "the folder is missing", lambda root: shutil.rmtree(root / "1.training")),
        ("3.testing/mask", "the folder is missing", lambda root: shutil.rmtree(root / "3.testing/mask")),
        *[(name, "is missing", lambda root, name=name: (root / name).unlink()) for name in (IMAGE, MASK, WHITE)],
        ("3.testing/mask/a.png", "not named by a number", copy(MASK, "3.testing/mask/a.png")),
        (IMAGE, "a grey PNG", write(IMAGE, RGB[..., 0])),
        (MASK, "300 x 229 px; 300 x 230 are", write(MASK, ZEROS[:-1])),
        (WHITE, "299 x 230 px; 300 x 230 are", write(WHITE, ZEROS[:, 1:])),
        (MASK, "holds the value 7", write(MASK, ZEROS + 7)),
        (WHITE, r"holds the values \[2\]", write(WHITE, ZEROS + 2)),
    ],
)
def test_each_bad_file_is_listed_with_its_reason_and_no_other(root, name, reason, spoil):
    spoil(root)
    problems = check_dataset(root)
    own = [problem for problem in problems if problem.path == name and re.search(reason, problem.reason)]
    assert [problem.level for problem in own] == ["error"], problems
    assert all(Path(problem.path).name == Path(name).name for problem in problems), problems


def test_all_bad_files_are_listed_at_once_in_order(root):
    assert check_dataset(root) == check_dataset(str(root)) == []
    for name in (PATCH, MASK, WHITE):
        (root / name).write_bytes(b"")
    assert check_dataset(root) == [Problem(name, "the file is empty.") for name in (PATCH, MASK, WHITE)]


def test_unusual_sizes_get_a_warning(root):
    save(RGB[:149], root / PATCH)
    save(np.zeros((199, 300, 3), np.uint8), root / IMAGE)
    for name in (MASK, WHITE):
        save(np.zeros((199, 300), np.uint8), root / name)
    assert check_dataset(root) == [
        Problem(PATCH, "210 x 149 px; patches have sides of 150 to 300.", "warning"),
        Problem(IMAGE, "300 x 199 px; images have sides of 200 to 500 or 1500 to 5000.", "warning"),
    ]


def test_missing_and_empty_folders_are_listed(tmp_path):
    assert [problem.path for problem in check_dataset(tmp_path / "nowhere")] == ["."]
    kinds = ("img", "mask", "background-mask")
    folders = ["1.training", *[f"{split}/{kind}" for split in ("2.validation", "3.testing") for kind in kinds]]
    assert [problem.path for problem in check_dataset(tmp_path)] == folders
    for name in folders:
        (tmp_path / name).mkdir(parents=True)
    empty = [Problem(name, "the folder is empty.") for name in folders if name.endswith(("training", "img"))]
    assert check_dataset(tmp_path) == empty
