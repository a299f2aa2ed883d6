"""What may be set in a lesson, and for which lessons; mistakes are refused before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from nbformat.v4 import new_markdown_cell, new_notebook

from tests.tools.lessons.tiny_lessons import command, notebook, tagged, write
from tools.lessons import LessonsError, parameters


def test_declared_parameters_and_defaults() -> None:
    source = "a = 1\nb: float = 2.5\nc = d = [1, 2]\ne = 2 * 3\nprint(a)\nf: int"
    found = parameters.declared(new_notebook(cells=[tagged(source, "parameters")]), "01_x")
    assert found == {"a": 1, "b": 2.5, "c": [1, 2], "d": [1, 2], "e": None}


@pytest.mark.parametrize(
    "cells",
    [
        [],
        [tagged("a = 1", "parameters"), tagged("b = 1", "parameters")],
        [new_markdown_cell("a", metadata={"tags": ["parameters"]})],
        [tagged("a = ", "parameters")],
    ],
    ids=["none", "two", "prose", "not Python"],
)
def test_anything_but_one_parameters_cell_is_refused(cells: list[Any], tmp_path: Path) -> None:
    write(tmp_path, "01_x", *cells)
    with pytest.raises(LessonsError, match="01_x.*(parameters|tagged)"):
        parameters.find_lessons(tmp_path)


LESSONS = {
    "01_simclr": {"data": "phantom", "epochs": 3, "lr": 0.1},
    "02_proto": {"data": "phantom", "k": [1]},
}


def parameter_file(folder: Path, content: Any) -> Path:
    path = folder / "p.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_parameter_file_sets_all_then_one(tmp_path: Path) -> None:
    content = {"all": {"data": "glas", "lr": 1}, "02": {"data": "ocdc"}, "01_simclr": None}
    path = parameter_file(tmp_path, content)
    assert parameters.read_parameter_file(path, LESSONS) == {
        "01_simclr": {"data": "glas", "lr": 1},
        "02_proto": {"data": "ocdc"},
    }


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"01_simclr": {"epoch": 5}}, "01_simclr has no parameter 'epoch'. It has data, epochs, lr"),
        ({"all": {"epoch": 5}}, "no lesson declares the parameter 'epoch'"),
        ({"07": {"epochs": 5}}, "the key '07' means no lesson"),
        ({"0": {"epochs": 5}}, "means 01_simclr and 02_proto"),
        ({1: {"epochs": 5}}, "in quotes"),
        ("01_simclr:\n  lr: 1e-3", "write 1.0e-3"),
        ({"01_simclr": {"epochs": True}}, "expects a number for 'epochs', not the truth value True"),
        ({"02_proto": {"k": 3}}, "expects a list"),
        ({"01_simclr": [1]}, "`parameter: value` lines"),
        ([1], "expected a mapping"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_parameter_file_that_does_not_fit_is_refused(tmp_path: Path, content: Any, complaint: str) -> None:
    with pytest.raises(LessonsError) as refusal:
        parameters.read_parameter_file(parameter_file(tmp_path, content), LESSONS)
    assert complaint in str(refusal.value)


def test_an_unknown_parameter_is_refused_before_anything_runs(tmp_path: Path) -> None:
    notebook(tmp_path / "nb", "00_a", "record(x=1)")
    path = parameter_file(tmp_path, {"00_a": {"sseeds": [1]}})
    outcome = command("--lessons", tmp_path / "nb", "--params", path, "--out", tmp_path / "out")
    assert outcome.exit_code == 2
    assert "00_a has no parameter 'sseeds'" in outcome.output
    assert not (tmp_path / "out").exists()


def test_data_that_no_lesson_takes_is_refused(tmp_path: Path) -> None:
    notebook(tmp_path / "nb", "00_a", "record(x=1)", defaults="seeds = [0]")
    outcome = command("--lessons", tmp_path / "nb", "--data", "glas", "--out", tmp_path / "out")
    assert outcome.exit_code == 2
    assert "none of 00_a has it" in outcome.output


def test_only_takes_the_starts_of_names(tmp_path: Path) -> None:
    for name in ("02_c", "00_a", "01_b"):
        notebook(tmp_path, name, "")
    found = [lesson.stem for lesson in parameters.find_lessons(tmp_path, ["02", "00_a.ipynb"])]
    assert found == ["00_a", "02_c"]


@pytest.mark.parametrize("name", ["../00_a", "/etc/passwd", "*", "", "ö 🧫", "00_a/..", "-rf"])
def test_only_refuses_what_is_no_lesson(tmp_path: Path, name: str) -> None:
    notebook(tmp_path, "00_a", "")
    outcome = command("--lessons", tmp_path, f"--only={name}", "--out", tmp_path / "out")
    assert outcome.exit_code == 2
    assert f"No lesson starts with '{name}'. The lessons are 00_a." in outcome.output


def test_a_folder_with_other_files_is_not_written_to(tmp_path: Path) -> None:
    path = notebook(tmp_path, "00_a", "record(x=1)")
    before = path.read_bytes()
    outcome = command("--lessons", tmp_path, "--out", tmp_path)
    assert outcome.exit_code == 2
    assert "holds other files" in outcome.output
    assert path.read_bytes() == before


def test_in_place_takes_no_parameters(tmp_path: Path) -> None:
    assert command("--lessons", tmp_path, "--in-place", "--data", "glas").exit_code == 2


def test_help_explains_every_option() -> None:
    outcome = command("--help")
    assert outcome.exit_code == 0
    options = ("--only", "--data", "--params", "--out", "--in-place", "--check", "--update", "--earlier", "--timeout")
    for option in (*options, "metrics.json"):
        assert option in outcome.output
