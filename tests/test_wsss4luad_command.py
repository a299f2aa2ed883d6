"""python -m histolab_lite.wsss4luad as people meet it: tables, lists of problems, exit statuses, no tracebacks."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from histolab_lite.methods.wsss4luad import read_training
from histolab_lite.wsss4luad import app
from tests.methods.wsss4luad.challenge_folder import write_dataset


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A data set in "data", in the current folder."""
    monkeypatch.chdir(tmp_path)
    return write_dataset(tmp_path / "data")


@pytest.fixture
def predictions(root):
    return shutil.copytree(root / "3.testing" / "mask", root.parent / "predictions")


def test_the_leaderboard_shows_the_entry_at_its_place(root, predictions):
    done = run("evaluate", predictions, root / "3.testing", "--name", "[red]mine[/]", "--json", "s.json")
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.output.splitlines()]
    assert rows[0] == ["team", "mIoU", "tumour", "normal", "stroma"]
    assert rows[1] == ["1", "[red]mine[/]", *["1.0000"] * 4]
    assert rows[2][:3] == ["2", "ChunhuiLin", "0.8413"]
    assert len(rows) == 16
    scores = json.loads((root.parent / "s.json").read_text())
    assert scores == dict.fromkeys(("mean_iou", "tumour", "stroma", "normal"), 1.0)


def test_a_class_that_does_not_occur_is_null(tmp_path):
    truth, predicted = tmp_path / "truth", tmp_path / "predicted"
    for folder in (truth, predicted):
        folder.mkdir()
        Image.fromarray(np.array([[0, 1], [1, 3]], np.uint8)).save(folder / "00.png")
    done = run("evaluate", predicted, truth, "--json", tmp_path / "s.json")
    assert done.exit_code == 0, done.output
    assert "–" in done.output
    assert json.loads((tmp_path / "s.json").read_text())["normal"] is None


def test_problems_of_a_submission_are_listed_and_nothing_is_scored_or_packed(root, predictions):
    (predictions / "00.png").unlink()
    (predictions / "01.png").write_bytes(b"")
    names = ["00.png", "01.png", "[x].png"]
    (predictions / "[x].png").write_bytes(b"")
    try:
        (predictions / "a\nb\udcff.png").write_bytes(b"")
        names.append("'a\\nb\\udcff.png'")  # a name that cannot be printed as it is
    except OSError:
        pass  # this file system takes text alone for a name
    for done in (
        run("evaluate", predictions, root / "3.testing", "--json", "s.json"),
        run("pack", predictions, root / "3.testing" / "img", "--out", "out.zip"),
    ):
        assert done.exit_code == 1
        *problems, counts = done.output.splitlines()
        assert [line.split(": ")[0] for line in problems] == names
        assert "empty" in problems[1]
        assert counts == f"{len(names)} problems, 0 warnings."
    assert not [path for path in (root.parent / "s.json", root.parent / "out.zip") if path.exists()]


def test_packed_predictions_can_be_scored(root, predictions):
    done = run("pack", predictions, root / "3.testing" / "img", "--out", "out.zip")
    assert done.exit_code == 0, done.output
    assert "out.zip is ready" in done.output
    assert run("evaluate", "out.zip", root / "3.testing").exit_code == 0


def test_a_data_set_is_checked(root):
    done = run("check", root)
    assert done.exit_code == 0
    assert done.output.splitlines() == [f"{root} is a complete data set."]
    patch = sorted((root / "1.training").iterdir())[0]
    Image.fromarray(np.zeros((100, 160, 3), np.uint8)).save(patch)
    unusual = run("check", root)
    assert unusual.exit_code == 0
    assert f"1.training/{patch.name}: 160 x 100 px" in unusual.output
    assert "0 problems, 1 warnings." in unusual.output
    patch.write_bytes(b"")
    failed = run("check", root)
    assert failed.exit_code == 1
    assert f"1.training/{patch.name}: " in failed.output
    assert "complete" not in failed.output
    assert run("check", root / "nowhere").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "keyword"),
    [
        (("evaluate", "nowhere", "data/3.testing"), "nowhere"),
        (("evaluate", "predictions", "nowhere"), "nowhere"),
        (("pack", "predictions", "nowhere", "--out", "x.zip"), "nowhere"),
        (("pack", "predictions", "data/3.testing", "--out", "x.rar"), ".zip archive"),
        (("pack", "predictions", "data/3.testing", "--out", "predictions/00.png/x.zip"), "00.png"),
        (("evaluate", "predictions", "data/3.testing", "--json", "predictions/00.png/s.json"), "00.png"),
        (("phantom", "predictions"), "predictions"),
        (("phantom", "new", "--n-training", "0"), "training"),
    ],
)
def test_a_command_that_cannot_be_run_ends_in_a_sentence(predictions, arguments, keyword):
    done = run(*arguments)
    assert done.exit_code == 2
    assert "Error: " in done.stderr
    assert keyword in done.stderr
    assert "Traceback" not in done.output


def test_a_phantom_is_made_and_checked(tmp_path, monkeypatch):
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache")
    sizes = ("--slide", 192, "--mpp", 2, "--patch", 24, 40, "--small", 50, 90)
    counts = ("--n-training", 12, "--n-validation", 1, 0, "--n-testing", 1, 0, "--n-slides", 1, 1, 1)
    done = run("phantom", tmp_path / "out", *sizes, *counts, "--seed", 2)
    assert done.exit_code == 0, done.output
    assert f"the phantom is in {tmp_path / 'out'}" in done.output
    patches = list(read_training(tmp_path / "out"))
    assert len(patches) == 12
    assert {patch.slide for patch in patches} == {"002000"}
    assert run("check", tmp_path / "out").exit_code == 0
