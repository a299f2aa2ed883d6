"""What a lesson records: numbers with their spread, and clear words for what is none."""

from __future__ import annotations

import statistics
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from histolab_lite.recording import Summary, record, summarise


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_summary_is_mean_and_sample_deviation(values: list[float]) -> None:
    summary = summarise("dice", values)
    assert summary.values == values
    assert summary.n == len(values)
    assert summary.mean == pytest.approx(statistics.fmean(values), abs=1e-6)
    assert summary.sd == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), torch.tensor(0.5), [0.5], torch.tensor([0.5])])
def test_one_value_has_no_deviation(value: Any) -> None:
    assert summarise("dice", value) == Summary(0.5, None, 1, [0.5])


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ([], "empty"),
        (float("nan"), "NaN"),
        ([1.0, float("inf")], "NaN or infinity"),
        ("0.8", "numbers only"),
        (True, "numbers only"),
        (None, "numbers only"),
        ({"a": 1}, "numbers only"),
        ([[1.0, 2.0]], "shape"),
        ([[1.0], [2.0, 3.0]], "ragged"),
    ],
)
def test_what_is_no_number_is_refused_by_name(value: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=rf"record\(dice=.*{complaint}"):
        record(dice=value)


def test_record_needs_something() -> None:
    with pytest.raises(ValueError, match="given nothing"):
        record()


def test_record_prints_a_table_outside_a_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    record(dice=[0.8, 0.9], patches=3120)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["dice", "0.850", "±", "0.071", "2"]
    assert lines[2].split() == ["patches", "3120", "1"]


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ([0.87654, 0.87654], "0.877 ± 0.000"),
        ([12.3456], "12.35"),
        ([1234.56], "1234.6"),
        ([3e-5], "3.00e-05"),
        ([0], "0"),
    ],
)
def test_metrics_are_written_to_a_sensible_precision(values: list[float], written: str) -> None:
    assert str(summarise("x", values)) == written


def test_a_lesson_needs_nothing_of_what_runs_it() -> None:
    loaded = "import sys, histolab_lite.recording; print(*{'papermill', 'nbformat', 'tools'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
