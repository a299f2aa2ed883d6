"""The results of a run: what is refused when they are gathered, and when they are read again."""

import json

import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from histolab_lite.recording import METRICS_MIME
from tests.tools.lessons.made_up import MACHINE
from tools.lessons import LessonsError
from tools.lessons.runs import gather, read_run


@pytest.mark.parametrize(
    "fields",
    [
        None,
        {"parameters": 3},
        {"metrics": {"dice": {"mean": 0.5}}},
        {"metrics": {"dice": {"mean": float("nan"), "sd": None, "n": 1, "values": [0.5]}}},
        {"extra": 1},
    ],
)
def test_other_files_are_refused(tmp_path, fields):
    lesson = {"parameters": {}, "defaults": {}, "runtime_s": 1.0, "metrics": {}, "error": None} | (fields or {})
    content = json.dumps({"lessons": {"00_a": lesson}, "environment": MACHINE}) if fields else "{"
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(LessonsError, match=r"metrics\.json is not as this version writes it"):
        read_run(tmp_path)


def test_a_name_recorded_twice_is_refused():
    summary = {"name": "dice", "mean": 1.0, "sd": None, "n": 1, "values": [1.0]}
    payload = {"metrics": [summary], "peak_memory_mib": 12.5}
    cell = new_code_cell("", outputs=[new_output("display_data", data={METRICS_MIME: payload})])
    metrics, peak = gather(new_notebook(cells=[cell]))
    assert (list(metrics), peak) == (["dice"], 12.5)
    with pytest.raises(LessonsError, match="'dice' is recorded twice"):
        gather({"cells": [cell, cell]})
