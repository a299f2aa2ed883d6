"""python -m histolab_lite.wsss4luad as people meet it: tables, lists of problems, exit statuses, no tracebacks."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from histolab_lite.methods.wsss4luad import read_training
from histolab_lite.wsss4luad import app
from tests.methods.wsss4luad.challenge_folder import write_dataset


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data")


@pytest.fixture
def predictions(root: Path) -> Path:
    return Path(shutil.copytree(root / "3.testing" / "mask", root.parent / "predictions"))


def test_the_leaderboard_shows_the_entry_at_its_place(root: Path, predictions: Path) -> None:
    done = run("evaluate", predictions, root / "3.testing", "--name", "[red]mine[/]", "--json", root.parent / "s.json")
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.output.splitlines()]
    assert rows[0] == ["team", "mIoU", "tumour", "normal", "stroma"]
    assert rows[1] == ["1", "[red]mine[/]", *["1.0000"] * 4]
    assert rows[2][:3] == ["2", "ChunhuiLin", "0.8413"]
    assert len(rows) == 16
    assert json.loads((root.parent / "s.json").read_text()) == dict.fromkeys(
        ("mean_iou", "tumour", "stroma", "normal"), 1.0
    )


def test_a_class_that_does_not_occur_is_null(root: Path, tmp_path: Path) -> None:
    truth, guess = tmp_path / "truth", tmp_path / "guess"
    for folder in (truth, guess):
        folder.mkdir()
        Image.fromarray(np.array([[0, 1], [1, 3]], np.uint8)).save(folder / "00.png")
    done = run("evaluate", guess, truth, "--json", tmp_path / "s.json")
    assert done.exit_code == 0, done.output
    assert "–" in done.output
    assert json.loads((tmp_path / "s.json").read_text())["normal"] is None


def test_problems_of_a_submission_are_listed_and_nothing_is_scored_or_packed(root: Path, predictions: Path) -> None:
    (predictions / "00.png").unlink()
    (predictions / "01.png").write_bytes(b"")
    (predictions / "[x].png").write_bytes(b"")
    scores, archive = root.parent / "s.json", root.parent / "out.zip"
    for done in (
        run("evaluate", predictions, root / "3.testing", "--json", scores),
        run("pack", predictions, root / "3.testing" / "img", "--out", archive),
    ):
        assert done.exit_code == 1
        assert done.output.splitlines() == [
            "00.png: is missing.",
            "01.png: the file is empty.",
            "[x].png: is not expected: no image has this name.",
            "3 problems, 0 warnings.",
        ]
    assert not scores.exists()
    assert not archive.exists()


def test_names_that_cannot_be_printed_are_listed_too(root: Path, predictions: Path) -> None:
    try:
        (predictions / "a\nb\udcff.png").write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes text alone for a name")
    done = run("evaluate", predictions, root / "3.testing")
    assert done.exit_code == 1
    assert done.output.splitlines()[0] == "'a\\nb\\udcff.png': is not expected: no image has this name."


def test_predictions_are_packed(root: Path, predictions: Path) -> None:
    archive = root.parent / "out.zip"
    done = run("pack", predictions, root / "3.testing" / "img", "--out", archive)
    assert done.exit_code == 0, done.output
    assert f"{archive} is ready" in done.output
    with zipfile.ZipFile(archive) as file:
        assert file.namelist() == ["00.png", "01.png", "10.png"]
    assert run("evaluate", archive, root / "3.testing").exit_code == 0


def test_a_data_set_is_checked(root: Path) -> None:
    done = run("check", root)
    assert done.exit_code == 0
    assert done.output.splitlines() == [f"{root} is a whole data set."]
    patch = sorted((root / "1.training").iterdir())[0]
    Image.fromarray(np.zeros((100, 160, 3), np.uint8)).save(patch)
    unusual = run("check", root)
    assert unusual.exit_code == 0
    assert f"1.training/{patch.name}: 160 x 100 px; patches have sides of 150 to 300." in unusual.output
    assert "0 problems, 1 warnings." in unusual.output
    patch.write_bytes(b"")
    failed = run("check", root)
    assert failed.exit_code == 1
    assert f"1.training/{patch.name}: the file is empty." in failed.output
    assert "whole" not in failed.output
    assert run("check", root / "nowhere").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("evaluate", "nowhere", "data/3.testing"), "there is no submission at nowhere"),
        (("evaluate", "predictions", "nowhere"), "there is no folder nowhere"),
        (("pack", "predictions", "nowhere", "--out", "x.zip"), "there is no folder nowhere"),
        (("pack", "predictions", "data/3.testing", "--out", "x.rar"), "a submission is a .zip archive"),
        (("pack", "predictions", "data/3.testing", "--out", "predictions/00.png/x.zip"), "00.png"),
        (("evaluate", "predictions", "data/3.testing", "--json", "predictions/00.png/s.json"), "00.png"),
        (("phantom", "predictions"), "is no phantom data set"),
        (("phantom", "new", "--n-training", "0"), "at least one training patch"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(
    root: Path, predictions: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], reason: str
) -> None:
    monkeypatch.chdir(root.parent)
    done = run(*arguments)
    assert done.exit_code == 2
    assert "Error: " in done.stderr
    assert reason in done.stderr
    assert "Traceback" not in done.output


def test_a_phantom_is_made_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache")
    sizes = ("--slide", 192, "--mpp", 2, "--patch", 24, 40, "--small", 50, 90)
    counts = ("--n-training", 12, "--n-validation", 1, 0, "--n-testing", 1, 0, "--n-slides", 1, 1, 1)
    done = run("phantom", tmp_path / "out", *sizes, *counts, "--seed", 2)
    assert done.exit_code == 0, done.output
    assert f"the phantom is in {tmp_path / 'out'}" in done.output
    assert {patch.slide for patch in read_training(tmp_path / "out")} == {"002000"}
    assert run("check", tmp_path / "out").exit_code == 0


def test_help_does_not_wait_for_torch() -> None:
    script = "import sys, histolab_lite.wsss4luad; print('torch' in sys.modules or 'PIL' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
    for command in ("evaluate", "check", "pack", "phantom"):
        assert run(command, "--help").exit_code == 0
    assert run("nonsense").exit_code == 2
