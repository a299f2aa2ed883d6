"""What a lesson records: numbers with their spread, and clear words for everything else."""

import statistics
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from histolab_lite import recording
from histolab_lite.recording import METRICS_MIME, Summary, record, summarise


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_a_summary_is_mean_and_sample_deviation(values):
    summary = summarise("dice", values)
    assert (summary.values, summary.n) == (values, len(values))
    assert summary.mean == pytest.approx(statistics.fmean(values), abs=1e-6)
    assert summary.sd == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), [0.5], torch.tensor([0.5], requires_grad=True)])
def test_one_value_has_no_deviation(value):
    assert summarise("dice", value) == Summary(0.5, None, 1, [0.5])


@pytest.mark.parametrize(
    ("metrics", "keyword"),
    [
        ({}, "given nothing"),
        ({"dice": []}, "dice=.*empty"),
        ({"dice": float("nan")}, "dice=.*NaN"),
        ({"dice": [1.0, float("inf")]}, "dice=.*NaN or infinity"),
        ({"dice": "0.8"}, "dice=.*numbers only"),
        ({"dice": True}, "dice=.*numbers only"),
        ({"dice": None}, "dice=.*numbers only"),
        ({"dice": {"a": 1}}, "dice=.*numbers only"),
        ({"dice": [[1.0, 2.0]]}, "dice=.*shape"),
        ({"dice": [[1.0], [2.0, 3.0]]}, "dice=.*ragged"),
    ],
)
def test_other_values_are_refused_by_name(metrics, keyword):
    with pytest.raises(ValueError, match=rf"record\(.*{keyword}"):
        record(**metrics)


def test_outside_a_notebook_a_table_is_printed(capsys):
    record(dice=[0.8, 0.9], patches=3120)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["dice", "0.850", "±", "0.071", "2"]
    assert lines[2].split() == ["patches", "3120", "1"]


def test_in_a_notebook_the_numbers_keep_their_order_and_names_are_escaped(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.get_ipython", lambda: object())
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    record(**{"z<b>": [0.8, 0.9], "a": 3})
    (data,) = shown
    assert [metric["name"] for metric in data[METRICS_MIME]["metrics"]] == ["z<b>", "a"]
    assert data[METRICS_MIME]["metrics"][0]["values"] == [0.8, 0.9]
    assert data[METRICS_MIME]["peak_memory_mib"] == pytest.approx(recording._peak_memory_mib(), rel=0.5)
    assert "<td style='text-align:left'>z&lt;b&gt;</td><td>0.850 ± 0.071</td><td>2</td>" in data["text/html"]
    assert "z<b>" in data["text/plain"]


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ([0.87654, 0.87654], "0.877 ± 0.000"),
        ([12.3456], "12.35"),
        ([1234.56], "1234.6"),
        ([3e-5], "3.00e-05"),
        ([2e6], "2.00e+06"),
        ([0], "0"),
    ],
)
def test_metrics_are_written_to_a_sensible_precision(values, written):
    assert str(summarise("x", values)) == written


def test_a_lesson_does_not_need_what_runs_it():
    loaded = "import sys, histolab_lite.recording; print(*{'papermill', 'nbformat', 'tools'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
