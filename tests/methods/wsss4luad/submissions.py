"""What the tests of submissions share: a mask that is right, and that problems are named wherever they matter."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from histolab_lite.formats.masks import mask_png
from histolab_lite.methods.wsss4luad import PALETTE, SubmissionError, check_submission, pack, score_submission
from tests.methods.wsss4luad.challenge_folder import SIZES

NAME, SIZE = "01.png", SIZES["01"]
MASK = np.random.default_rng(2).integers(0, 4, SIZE, dtype=np.uint8)
GOOD = mask_png(MASK, PALETTE)


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
