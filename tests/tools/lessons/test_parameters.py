"""What may be set in a lesson, and for which lessons."""

import pytest
import yaml
from nbformat.v4 import new_markdown_cell, new_notebook

from tests.tools.lessons.made_up import notebook, tagged, write_notebook
from tools.lessons import LessonsError, parameters

LESSONS = {"01_simclr": {"data": "phantom", "epochs": 3, "lr": 0.1}, "02_proto": {"data": "phantom", "k": [1]}}


def read(folder, content):
    path = folder / "p.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return parameters.read_parameter_file(path, LESSONS)


def test_declared_parameters_and_defaults():
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
def test_anything_but_one_parameters_cell_is_refused(cells, tmp_path):
    write_notebook(tmp_path, "01_x", *cells)
    with pytest.raises(LessonsError, match="01_x.*(parameters|tagged)"):
        parameters.find_lessons(tmp_path)


def test_only_takes_the_starts_of_names(tmp_path):
    for name in ("02_c", "00_a", "01_b"):
        notebook(tmp_path, name, "")
    assert [lesson.stem for lesson in parameters.find_lessons(tmp_path, ["02", "00_a.ipynb"])] == ["00_a", "02_c"]


def test_a_parameter_file_sets_all_then_one(tmp_path):
    found = read(tmp_path, {"all": {"data": "glas", "lr": 1}, "02": {"data": "ocdc"}, "01_simclr": None})
    assert found == {"01_simclr": {"data": "glas", "lr": 1}, "02_proto": {"data": "ocdc"}}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"01_simclr": {"epoch": 5}}, "01_simclr has no parameter 'epoch'. It has data, epochs, lr"),
        ({"all": {"epoch": 5}}, "no lesson declares the parameter 'epoch'"),
        ({"07": {"epochs": 5}}, "'07' means no lesson"),
        ({"0": {"epochs": 5}}, "means 01_simclr and 02_proto"),
        ({1: {"epochs": 5}}, "in quotes"),
        ("01_simclr:\n  lr: 1e-3", "write 1.0e-3"),
        ({"01_simclr": {"epochs": True}}, "a number for 'epochs', not the truth value True"),
        ({"02_proto": {"k": 3}}, "expects a list"),
        ({"01_simclr": [1]}, "`parameter: value` lines"),
        ([1], "expected a mapping"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_parameter_file_that_does_not_fit_is_refused(tmp_path, content, complaint):
    with pytest.raises(LessonsError, match=complaint):
        read(tmp_path, content)
