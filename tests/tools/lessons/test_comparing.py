"""One comparison: on which side of a bound an interval lies, and how many of them are told."""

import math
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.lessons.made_up import BASELINE, lesson
from tools.lessons.checking import compare
from tools.lessons.comparing import CONFIDENCE, Comparison, as_junit, half_interval, judge, show


@given(st.floats(-10, 10), st.floats(0, 10), st.floats(-10, 10), st.floats(0, 10))
def test_a_larger_effect_is_never_on_a_lower_side(effect, margin, bound, more):
    assert judge(effect, margin, bound) <= judge(effect + more, margin, bound)
    assert judge(effect, margin, bound) == -judge(-effect, margin, -bound)


def test_half_an_interval_is_students_and_misses_as_often_as_is_told():
    assert half_interval(0.1, 3, 1 / 3) == pytest.approx(4.302653 * 0.1 * math.sqrt(1 / 3))
    then, now = np.random.default_rng(0).normal(100, 10, (2, 4000, 3))
    margins = [half_interval(sd, 3, 2 / 3) for sd in then.std(1, ddof=1)]
    inside = [judge(*effect) == 0 for effect in zip(now.mean(1), margins, then.mean(1), strict=True)]
    assert np.mean(inside) == pytest.approx(CONFIDENCE, abs=0.012)


def test_junit_counts_and_names_what_is_red():
    run = {
        "00_a": lesson(dice=[0.1, 0.1, 0.1], best=0.9, extra=1),
        "01_b": lesson("cell 3 of 5\x1b[0m:\n  Traceback\x00\n  ValueError: <&> \ud800"),
    }
    root = ElementTree.fromstring(as_junit(compare(run, BASELINE), {"00_a": 12.0, "01_b": 30.0}))
    assert [root.tag, *(suite.get("name") for suite in root)] == ["testsuites", "00_a", "01_b"]
    counts = {key: root.get(key) for key in ("tests", "failures", "errors", "time")}
    assert counts == {"tests": "6", "failures": "2", "errors": "1", "time": "42.0"}
    cases = {(case.get("classname"), case.get("name")): case for case in root.iter("testcase")}
    assert cases["notebooks.00_a", "the lesson runs"].get("time") == "12.0"
    worse = cases["notebooks.00_a", "dice"].find("failure")
    assert worse.get("type") == "worse"
    assert worse.get("message") == "dice: worse: expected 0.8 ± 0.0351, found 0.1, higher is better"
    assert len(cases["notebooks.00_a", "best"]) == 0
    assert "new" in cases["notebooks.00_a", "extra"].findtext("system-out")
    error = cases["notebooks.01_b", "the lesson runs"].find("error")
    assert error.get("message") == "the lesson runs: failed: cell 3 of 5[0m: ValueError: <&> "
    assert "Traceback" in error.text


def test_a_table_names_each_lesson_once(capsys):
    headings = ("lesson", "metric", "expected", "found", "verdict", "")
    failed = Comparison("00_a", None, "failed", note="cell 3:\n  Traceback\n  KeyError: [x]")
    show([Comparison("00_a", "dice", "worse", "0.8 ± 0.1", "0.1", "higher is better"), failed], headings)
    _, first, second = capsys.readouterr().out.strip().splitlines()
    assert first.split() == "00_a dice 0.8 ± 0.1 0.1 worse higher is better".split()
    assert second.split() == ["failed", "cell", "3:", "KeyError:", "[x]"]
    show([], headings)
    assert capsys.readouterr().out == ""
