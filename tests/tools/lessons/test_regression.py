"""The regression check: what it lets pass and what it refuses, in made-up numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import stdev
from typing import Any
from xml.etree import ElementTree

import nbformat
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histolab_lite.recording import gather
from tests.tools.lessons.made_up_lessons import BEFORE, lesson
from tools.lessons import parameters, regression, runs
from tools.lessons.__main__ import LESSONS
from tools.lessons.findings import as_junit, show
from tools.lessons.regression import BaselineError, Finding, compare, judge, propose, tolerance

NAMES = st.text("abc_", min_size=1, max_size=6)
SCORES = st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=5)


def entry(value: float, tolerance: float, direction: str) -> dict[str, Any]:
    return {"value": value, "tolerance": tolerance, "direction": direction}


def verdicts(findings: list[Finding]) -> dict[tuple[str, str | None], str]:
    return {(f.lesson, f.metric): f.verdict for f in findings if f.verdict != "as expected"}


def spread(values: list[float]) -> tuple[float | None, int]:
    return (stdev(values) if len(values) > 1 else None), len(values)


def is_red(findings: list[Finding]) -> bool:
    return any(finding.red for finding in findings)


# One number


@pytest.mark.parametrize(
    ("direction", "found", "verdict"),
    [
        ("higher", 0.7, "as expected"),  # the bound itself, though 0.8 - 0.1 > 0.7 in floating point
        ("higher", 0.699, "worse"),
        ("higher", 0.9, "as expected"),
        ("higher", 0.901, "improved"),
        ("lower", 0.699, "improved"),
        ("lower", 0.7, "as expected"),
        ("lower", 0.901, "worse"),
        ("equal", 0.699, "changed"),
        ("equal", 0.901, "changed"),
        ("higher", math.nan, "worse"),
        ("lower", math.nan, "worse"),
        ("equal", math.nan, "changed"),
    ],
)
def test_direction_says_which_side_is_refused(direction: str, found: float, verdict: str) -> None:
    assert judge(entry(0.8, 0.1, direction), found) == verdict


def test_no_tolerance_refuses_any_change() -> None:
    assert judge(entry(49, 0, "equal"), 49.0) == "as expected"
    assert judge(entry(49, 0, "equal"), 50.0) == "changed"


@given(st.floats(-10, 10), st.floats(0, 10), st.floats(-30, 30), st.floats(0, 30))
def test_what_passes_still_passes_when_it_gets_better(value: float, slack: float, found: float, gain: float) -> None:
    if judge(entry(value, slack, "higher"), found) != "worse":
        assert judge(entry(value, slack, "higher"), found + gain) != "worse"
    if judge(entry(value, slack, "lower"), found) != "worse":
        assert judge(entry(value, slack, "lower"), found - gain) != "worse"


# Tolerance from the spread of seeds


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.7, 0.8, 0.9], 4.302653 * 0.1 * math.sqrt(2 / 3)),  # Student's t with 2 degrees of freedom, both sides 95 %
        ([0.8, 0.8, 0.8], regression.FLOOR),
        ([300.5, 300.5], 6.01),  # two hundredths of what is larger than 1
        ([6, 6, 6], 1),  # a count moves in whole steps
        ([1, 1, 1], regression.FLOOR),  # a perfect score is no count
        ([0.8], regression.SINGLE),
        ([-500], 50),
    ],
)
def test_tolerance(values: list[float], expected: float) -> None:
    assert tolerance(values, *spread(values)) == pytest.approx(expected)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_means_of_new_seeds_lie_within_the_tolerance_as_often_as_stated(n: int) -> None:
    then, now = np.random.default_rng(n).normal(100, 10, (2, 4000, n))  # far above the floor
    inside = [abs(b.mean() - a.mean()) <= tolerance(a, a.std(ddof=1), n) for a, b in zip(then, now, strict=True)]
    assert np.mean(inside) == pytest.approx(runs.CONFIDENCE, abs=0.012)


# A run


BASELINE = propose(BEFORE, {})


def test_every_kind_of_difference_has_its_own_word() -> None:
    run = {
        "00_a": lesson(dice=[0.9, 0.9, 0.9], best=0.9, extra=1),
        "02_c": lesson(dice=0.5),
        "03_d": lesson("cell 3 of 5: ZeroDivisionError: division by zero"),
    }
    found = compare(run, BASELINE)
    assert verdicts(found) == {
        ("00_a", "dice"): "improved",
        ("00_a", "loss"): "missing",
        ("00_a", "extra"): "new",
        ("01_b", None): "missing",
        ("02_c", None): "new",
        ("03_d", None): "failed",
    }
    assert {f.verdict for f in found if f.red} == {"missing", "failed"}
    (failed,) = (f for f in found if f.verdict == "failed")
    assert "ZeroDivisionError" in failed.note


@pytest.mark.parametrize(
    ("values", "verdict"), [([0.77, 0.77, 0.77], None), ([0.76, 0.76, 0.76], "worse"), ([0.9, 0.9, 0.9], "improved")]
)
def test_a_mean_is_held_to_the_spread_of_the_seeds(values: list[float], verdict: str | None) -> None:
    run = BEFORE | {"00_a": lesson(dice=values, loss=[1.5, 1.6, 1.4], best=0.9)}
    assert verdicts(compare(run, BASELINE)) == ({("00_a", "dice"): verdict} if verdict else {})


def test_a_lesson_that_recorded_nothing_lacks_every_number() -> None:
    assert verdicts(compare({"01_b": lesson()}, BASELINE, {"01_b"})) == {("01_b", "dice"): "missing"}


def test_part_of_the_lessons_is_compared_with_part_of_the_baseline() -> None:
    assert not is_red(compare({"01_b": BEFORE["01_b"]}, BASELINE, {"01_b"}))
    assert verdicts(compare({"01_b": BEFORE["01_b"]}, BASELINE)) == {("00_a", None): "missing"}
    with pytest.raises(BaselineError, match="nothing to compare"):
        compare({"01_b": BEFORE["01_b"]}, BASELINE, {"07_x"})


@pytest.mark.parametrize(
    ("chosen", "complaint"),
    [
        ({"data": "glas"}, "00_a: there is no baseline for data=glas, only for defaults."),
        ({"seeds": [0]}, "00_a: there is no baseline for number of seeds=1, only for defaults."),
        ({"epochs": 2}, "no baseline for epochs=2"),
    ],
)
def test_other_experiments_are_refused(chosen: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BaselineError) as refusal:
        compare({"00_a": lesson(chosen=chosen, dice=0.8)}, BASELINE, {"00_a"})
    assert complaint in str(refusal.value)
    assert "--update" in str(refusal.value)


def test_changed_defaults_are_refused() -> None:
    changed = lesson(dice=[0.8, 0.8, 0.8])
    changed["defaults"] |= {"epochs": 4, "width": 16}
    with pytest.raises(BaselineError, match=r"00_a: .* changed .*\(epochs: 8, now 4; width: None, now 16\)"):
        compare({"00_a": changed}, BASELINE, {"00_a"})


def test_a_parameter_set_to_its_default_changes_nothing() -> None:
    run = {"01_b": lesson(chosen={"epochs": 8}, dice=[0.7, 0.7, 0.7])}
    assert not verdicts(compare(run, BASELINE, {"01_b"}))


# A proposal


@given(st.dictionaries(NAMES, SCORES, min_size=1, max_size=4), st.data())
def test_a_run_agrees_with_the_baseline_proposed_from_it(metrics: dict[str, list[float]], data: Any) -> None:
    run = {"00_a": lesson(**metrics)}
    written = json.loads(regression.as_text(propose(run, {})))["lessons"]
    for line in written["00_a"]["defaults"]["metrics"].values():
        line["direction"] = data.draw(st.sampled_from(sorted(regression.DIRECTIONS)))
        if data.draw(st.booleans()):
            line |= {"tolerance": 0, "why": "a person said so"}
    assert not verdicts(compare(run, written))
    assert not regression.changes(written, propose(run, written))


def test_direction_of_a_new_metric_is_by_the_rule() -> None:
    metrics = propose({"00_a": lesson(dice_cq=1, tag_auc=1, dice_minus_dq=1, loss=1, diced=1)}, {})["00_a"]["defaults"]
    directions = {name: line["direction"] for name, line in metrics["metrics"].items()}
    expected = {"dice_cq": "higher", "tag_auc": "higher", "dice_minus_dq": "equal", "loss": "equal", "diced": "equal"}
    assert directions == expected


def test_a_proposal_keeps_what_a_person_has_said() -> None:
    baseline = json.loads(json.dumps(BASELINE))
    metrics = baseline["00_a"]["defaults"]["metrics"]
    metrics["loss"]["direction"] = "lower"
    metrics["dice"] |= {"tolerance": 0.2, "why": "it depends on the machine"}
    metrics["best"]["tolerance"] = 0.5  # without a reason
    run = {"00_a": lesson(dice=[0.6, 0.7, 0.8], loss=[1.0, 1.1, 1.2], best=0.9)}
    proposed = propose(run, baseline)
    line = proposed["00_a"]["defaults"]["metrics"]
    assert line["loss"]["direction"] == "lower"
    assert line["loss"]["value"] == pytest.approx(1.1)
    assert line["dice"]["value"] == pytest.approx(0.7)
    assert (line["dice"]["tolerance"], line["dice"]["why"]) == (0.2, "it depends on the machine")
    assert line["best"]["tolerance"] == regression.SINGLE
    assert proposed["01_b"] == baseline["01_b"]
    assert baseline["00_a"]["defaults"]["metrics"]["loss"]["value"] == pytest.approx(1.5)  # left as it was


def test_another_profile_stands_beside_the_first_and_takes_its_directions() -> None:
    baseline = json.loads(json.dumps(BASELINE))
    baseline["01_b"]["defaults"]["metrics"]["dice"]["direction"] = "equal"
    glas = {"01_b": lesson(chosen={"data": "glas"}, dice=[0.5, 0.5, 0.5])}
    proposed = propose(glas, baseline)
    assert list(proposed["01_b"]) == ["defaults", "data=glas"]
    assert proposed["01_b"]["defaults"] == baseline["01_b"]["defaults"]
    assert proposed["01_b"]["data=glas"]["metrics"]["dice"]["direction"] == "equal"
    assert not verdicts(compare(glas, proposed, {"01_b"}))
    assert not verdicts(compare(BEFORE, proposed))
    (change,) = regression.changes(baseline, proposed)
    assert (change.verdict, change.note) == ("new", "data=glas")
    proposed["01_b"]["data=glas"]["metrics"]["dice"]["direction"] = "lower"
    assert propose(BEFORE, proposed)["01_b"]["defaults"]["metrics"]["dice"]["direction"] == "equal"  # each has its own


def test_changed_defaults_replace_the_profile() -> None:
    changed = lesson(dice=[0.5, 0.5, 0.5])
    changed["defaults"] |= {"epochs": 4}
    proposed = propose({"00_a": changed}, BASELINE)
    assert list(proposed["00_a"]) == ["defaults"]
    assert proposed["00_a"]["defaults"]["parameters"]["epochs"] == 4
    said = {f.metric: f.verdict for f in regression.changes(BASELINE, proposed)}
    assert said == {"dice": "moved", "loss": "gone", "best": "gone"}


def test_a_failed_lesson_keeps_its_baseline() -> None:
    assert propose({"00_a": lesson("cell 3: KeyError", dice=0.1)}, BASELINE) == BASELINE


def test_expected_json_has_one_line_a_metric(tmp_path: Path) -> None:
    text = regression.as_text(BASELINE)
    assert sum('"value"' in line for line in text.splitlines()) == text.count('"value"') == 4
    (tmp_path / "expected.json").write_text(text)
    assert regression.read_baseline(tmp_path / "expected.json") == BASELINE


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ({"direction": "up"}, "00_a, dice: the direction is higher or lower or equal, not 'up'"),
        ({"tolerance": -0.1}, "00_a, dice: a tolerance is not negative, as -0.1 is"),
        ({"tolerance": "0.1"}, "00_a, dice: the tolerance is a number, not '0.1'"),
        ({"value": None}, "00_a, dice: the value is a number, not None"),
        ({"value": math.nan}, "00_a, dice: the value is a number, not nan"),
        ({"sd": "0.1"}, "00_a, dice: the sd is a number, not '0.1'"),
        ({"n": True}, "00_a, dice: the n is a number, not True"),
    ],
)
def test_a_baseline_that_a_person_has_spoilt_is_refused(tmp_path: Path, line: Any, complaint: str) -> None:
    baseline = json.loads(json.dumps(BASELINE))
    baseline["00_a"]["defaults"]["metrics"]["dice"] |= line
    (tmp_path / "expected.json").write_text(json.dumps({"lessons": baseline}))
    with pytest.raises(BaselineError) as refusal:
        regression.read_baseline(tmp_path / "expected.json")
    assert complaint in str(refusal.value)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"lessons": {"00_a": []}}', '{"lessons": {"00_a": {"x": {}}}}'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    for name, read in (
        ("expected.json", regression.read_baseline),
        ("metrics.json", lambda p: runs.read_run(tmp_path)),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises((BaselineError, runs.RunError), match=name):
            read(tmp_path / name)


# What is told


def test_junit_counts_and_names_what_is_red() -> None:
    run = {
        "00_a": lesson(dice=[0.1, 0.1, 0.1], best=0.9, extra=1),
        "01_b": lesson("cell 3 of 5\x1b[0m:\n  Traceback\x00\n  ValueError: <&> \ud800"),
    }
    root = ElementTree.fromstring(as_junit(compare(run, BASELINE), run))
    assert root.tag == "testsuites"
    assert [suite.get("name") for suite in root] == ["00_a", "01_b"]
    counts = {key: root.get(key) for key in ("tests", "failures", "errors", "skipped", "time")}
    assert counts == {"tests": "6", "failures": "2", "errors": "1", "skipped": "0", "time": "24.0"}
    cases = {(case.get("classname"), case.get("name")): case for case in root.iter("testcase")}
    worse = cases["notebooks.00_a", "dice"].find("failure")
    assert worse is not None
    assert worse.get("type") == "worse"
    assert worse.get("message") == "dice: worse: expected 0.8 ± 0.0351, found 0.1, higher is better"
    assert len(cases["notebooks.00_a", "best"]) == 0
    assert "new" in (cases["notebooks.00_a", "extra"].findtext("system-out") or "")
    error = cases["notebooks.01_b", "the lesson runs"].find("error")
    assert error is not None
    assert error.get("message") == "the lesson runs: failed: cell 3 of 5[0m: ValueError: <&> "
    assert "Traceback" in (error.text or "")
    assert cases["notebooks.00_a", "the lesson runs"].get("time") == "12.0"


def test_junit_skips_what_is_not_compared() -> None:
    run = {"00_a": lesson(chosen={"seeds": [7, 8, 9]}, dice=[0.8] * 3, loss=[1.5] * 3, best=0.2)}
    suite = ElementTree.fromstring(as_junit(compare(run, BASELINE, {"00_a"}), run))[0]
    assert (suite.get("tests"), suite.get("skipped"), suite.get("failures")) == ("4", "3", "0")


def test_terminal_shows_what_matters_and_counts_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    show(compare({"00_a": lesson(dice=[0.1, 0.1, 0.1], loss=[1.5] * 3, best=0.9)}, BASELINE, {"00_a"}))
    *table, summary = capsys.readouterr().out.strip().splitlines()
    (row,) = (line.split() for line in table if "worse" in line)
    assert row == ["00_a", "dice", "0.8", "±", "0.0351", "0.1", "worse", "higher", "is", "better"]
    assert "loss" not in "\n".join(table)
    assert summary == "Regression check failed: 2 of 3 numbers as expected, 1 worse."
    show(compare(BEFORE, BASELINE))
    assert capsys.readouterr().out == "Regression check passed: 4 of 4 numbers as expected.\n"


# What is committed


def test_committed_outputs_are_those_that_are_expected() -> None:
    run = {}
    for path in sorted(LESSONS.glob("*.ipynb")):
        executed = nbformat.read(path, as_version=4)
        declared = parameters.declared(executed, path.stem)
        run[path.stem] = {"metrics": gather(executed)[0], "defaults": declared, "parameters": {}, "error": None}
    found = compare(run, regression.read_baseline(LESSONS / "expected.json"))
    assert [f for f in found if f.red] == []
