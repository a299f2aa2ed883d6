"""What came of a run: gathered from the notebooks, and read again as it was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from histolab_lite.recording import METRICS_MIME
from tests.tools.lessons.made_up_lessons import BEFORE, MACHINE, write
from tools.lessons import LessonsError
from tools.lessons.runs import gather, read_run


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    run, machine = read_run(write(tmp_path, BEFORE))
    assert machine == MACHINE
    assert [result.metrics for result in run.values()] == [result.metrics for result in BEFORE.values()]
    assert [result.used for result in run.values()] == [result.used for result in BEFORE.values()]
    assert [(stem, result.stem) for stem, result in run.items()] == [("00_a", "00_a"), ("01_b", "01_b")]
    assert list(read_run(tmp_path, {"01_b"})[0]) == ["01_b"]


def spoilt(**fields: Any) -> str:
    lesson = {"parameters": {}, "defaults": {}, "runtime_s": 1.0, "metrics": {}, "error": None} | fields
    return json.dumps({"lessons": {"00_a": lesson}, "environment": MACHINE})


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"lessons": {"00_a": []}}',
        spoilt(parameters=3),
        spoilt(metrics={"dice": {"mean": 0.5}}),
        spoilt(metrics={"dice": {"mean": float("nan"), "sd": None, "n": 1, "values": [0.5]}}),
        spoilt(extra=1),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(LessonsError, match=r"metrics\.json is not as this version writes it"):
        read_run(tmp_path)


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no metrics.json"):
        read_run(tmp_path)


def test_a_name_recorded_twice_is_refused() -> None:
    summary = {"name": "dice", "mean": 1.0, "sd": None, "n": 1, "values": [1.0]}
    payload = {"metrics": [summary], "peak_memory_mib": 12.5}
    cell = new_code_cell("", outputs=[new_output("display_data", data={METRICS_MIME: payload})])
    metrics, peak = gather(new_notebook(cells=[cell]))
    assert (list(metrics), peak) == (["dice"], 12.5)
    with pytest.raises(LessonsError, match="'dice' is recorded twice"):
        gather({"cells": [cell, cell]})
