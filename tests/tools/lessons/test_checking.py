"""The regression check: what it lets pass and what it refuses, in made-up numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import stdev
from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.tools.lessons.made_up_lessons import BEFORE, lesson
from tools.lessons import LessonsError, checking, parameters
from tools.lessons.__main__ import LESSONS
from tools.lessons.checking import Baseline, Expected, as_json, compare, counted, propose, read_baseline, tolerance
from tools.lessons.comparing import Comparison
from tools.lessons.runs import Result, gather

NAMES = st.text("abc_", min_size=1, max_size=6)
SCORES = st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=5)


def verdicts(findings: list[Comparison]) -> dict[tuple[str, str | None], str]:
    return {(f.lesson, f.name): f.verdict for f in findings if f.verdict != "as expected"}


def written(baseline: Baseline) -> Any:
    """As in the file, for a person to edit."""
    return json.loads(as_json(baseline))


def read(folder: Path, content: Any) -> Baseline:
    (folder / "expected.json").write_text(json.dumps(content))
    return read_baseline(folder / "expected.json")


def line(baseline: Baseline, metric: str, stem: str = "00_a") -> Expected:
    return baseline[stem]["defaults"].metrics[metric]


def spread(values: list[float]) -> tuple[float | None, int]:
    return (stdev(values) if len(values) > 1 else None), len(values)


def is_red(findings: list[Comparison]) -> bool:
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
    ],
)
def test_direction_says_which_side_is_refused(direction: str, found: float, verdict: str) -> None:
    assert Expected(0.8, 0.1, direction).verdict(found) == verdict


def test_no_tolerance_refuses_any_change() -> None:
    assert Expected(49, 0, "equal").verdict(49.0) == "as expected"
    assert Expected(49, 0, "equal").verdict(50.0) == "changed"


@given(st.floats(-10, 10), st.floats(0, 10), st.floats(-30, 30), st.floats(0, 30))
def test_what_passes_still_passes_when_it_gets_better(value: float, slack: float, found: float, gain: float) -> None:
    if Expected(value, slack, "higher").verdict(found) != "worse":
        assert Expected(value, slack, "higher").verdict(found + gain) != "worse"
    if Expected(value, slack, "lower").verdict(found) != "worse":
        assert Expected(value, slack, "lower").verdict(found - gain) != "worse"


# Tolerance from the spread of seeds


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.7, 0.8, 0.9], 4.302653 * 0.1 * math.sqrt(2 / 3)),  # Student's t with 2 degrees of freedom, both sides 95 %
        ([0.8, 0.8, 0.8], checking.FLOOR),
        ([300.5, 300.5], 6.01),  # two hundredths of what is larger than 1
        ([6, 6, 6], 1),  # a count moves in whole steps
        ([1, 1, 1], checking.FLOOR),  # a perfect score is no count
        ([0.8], checking.SINGLE),
        ([-500], 50),
    ],
)
def test_tolerance(values: list[float], expected: float) -> None:
    assert tolerance(values, *spread(values)) == pytest.approx(expected)


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
    with pytest.raises(LessonsError, match="nothing to compare"):
        compare({"01_b": BEFORE["01_b"]}, BASELINE, {"07_x"})


@pytest.mark.parametrize(
    ("chosen", "complaint"),
    [
        ({"data": "glas"}, "00_a: there is no baseline for data=glas, only for defaults."),
        ({"seeds": [0]}, "00_a: there is no baseline for seeds=[0], only for defaults."),
        ({"seeds": [3, 4, 5]}, "or of other seeds, are not compared"),
        ({"epochs": 2}, "no baseline for epochs=2"),
    ],
)
def test_other_experiments_are_refused(chosen: dict[str, Any], complaint: str) -> None:
    with pytest.raises(LessonsError) as refusal:
        compare({"00_a": lesson(chosen=chosen, dice=0.8)}, BASELINE, {"00_a"})
    assert complaint in str(refusal.value)
    assert "--update" in str(refusal.value)


def test_changed_defaults_are_refused() -> None:
    changed = lesson(dice=[0.8, 0.8, 0.8])
    changed.defaults.update({"epochs": 4, "width": 16})
    with pytest.raises(LessonsError, match=r"00_a: .* changed .*\(epochs: 8, now 4; width: None, now 16\)"):
        compare({"00_a": changed}, BASELINE, {"00_a"})


def test_a_parameter_set_to_its_default_changes_nothing() -> None:
    run = {"01_b": lesson(chosen={"epochs": 8}, dice=[0.7, 0.7, 0.7])}
    assert not verdicts(compare(run, BASELINE, {"01_b"}))


# A proposal


@given(st.dictionaries(NAMES, SCORES, min_size=1, max_size=4), st.data())
def test_a_run_agrees_with_the_baseline_proposed_from_it(metrics: dict[str, list[float]], data: Any) -> None:
    run = {"00_a": lesson(**metrics)}
    content = written(propose(run, {}))["lessons"]["00_a"]["defaults"]
    for edited in content["metrics"].values():
        edited["direction"] = data.draw(st.sampled_from(sorted(checking.DIRECTIONS)))
        if data.draw(st.booleans()):
            edited |= {"tolerance": 0, "why": "a person said so"}
    entries = {name: Expected(**edited) for name, edited in content["metrics"].items()}
    baseline = {"00_a": {"defaults": checking.Profile(content["parameters"], entries)}}
    assert not verdicts(compare(run, baseline))
    assert not checking.changes(baseline, propose(run, baseline))


def test_direction_of_a_new_metric_is_by_the_rule() -> None:
    found = propose({"00_a": lesson(dice_cq=1, tag_auc=1, dice_minus_dq=1, loss=1, diced=1)}, {})["00_a"]["defaults"]
    directions = {name: entry.direction for name, entry in found.metrics.items()}
    expected = {"dice_cq": "higher", "tag_auc": "higher", "dice_minus_dq": "equal", "loss": "equal", "diced": "equal"}
    assert directions == expected


def test_a_proposal_keeps_what_a_person_has_said(tmp_path: Path) -> None:
    content = written(BASELINE)
    metrics = content["lessons"]["00_a"]["defaults"]["metrics"]
    metrics["loss"]["direction"] = "lower"
    metrics["dice"] |= {"tolerance": 0.2, "why": "it depends on the machine"}
    metrics["best"] = {"value": 0.9, "tolerance": 0.5, "direction": "higher"}  # without a reason
    baseline = read(tmp_path, content)
    run = {"00_a": lesson(dice=[0.6, 0.7, 0.8], loss=[1.0, 1.1, 1.2], best=0.9)}
    proposed = propose(run, baseline)
    assert (line(proposed, "loss").direction, line(proposed, "loss").value) == ("lower", pytest.approx(1.1))
    dice = line(proposed, "dice")
    assert (dice.value, dice.tolerance, dice.why) == (pytest.approx(0.7), 0.2, "it depends on the machine")
    assert line(proposed, "best").tolerance == checking.SINGLE
    assert proposed["01_b"] == baseline["01_b"]
    assert line(baseline, "loss").value == pytest.approx(1.5)  # left as it was


def test_another_profile_stands_beside_the_first_and_takes_its_directions(tmp_path: Path) -> None:
    content = written(BASELINE)
    content["lessons"]["01_b"]["defaults"]["metrics"]["dice"]["direction"] = "equal"
    baseline = read(tmp_path, content)
    glas = {"01_b": lesson(chosen={"data": "glas"}, dice=[0.5, 0.5, 0.5])}
    proposed = propose(glas, baseline)
    assert list(proposed["01_b"]) == ["defaults", "data=glas"]
    assert proposed["01_b"]["defaults"] == baseline["01_b"]["defaults"]
    assert proposed["01_b"]["data=glas"].metrics["dice"].direction == "equal"
    assert not verdicts(compare(glas, proposed, {"01_b"}))
    assert not verdicts(compare(BEFORE, proposed))
    (change,) = checking.changes(baseline, proposed)
    assert (change.verdict, change.note) == ("new", "data=glas")


def test_changed_defaults_replace_the_profile() -> None:
    changed = lesson(dice=[0.5, 0.5, 0.5])
    changed.defaults.update({"epochs": 4})
    proposed = propose({"00_a": changed}, BASELINE)
    assert list(proposed["00_a"]) == ["defaults"]
    assert proposed["00_a"]["defaults"].parameters["epochs"] == 4
    said = {f.name: f.verdict for f in checking.changes(BASELINE, proposed)}
    assert said == {"dice": "moved", "loss": "gone", "best": "gone"}


def test_a_failed_lesson_keeps_its_baseline() -> None:
    assert propose({"00_a": lesson("cell 3: KeyError", dice=0.1)}, BASELINE) == BASELINE


# The spread of more seeds

THREE_MORE = lesson(chosen={"seeds": [3, 4, 5]}, dice=[0.7, 0.9, 0.75], loss=[1.5] * 3, best=0.8)
SEEDS = [0.8, 0.81, 0.79, 0.7, 0.9, 0.75]


def test_the_spread_is_that_of_all_seeds_and_the_value_that_of_the_run() -> None:
    dice = line(propose(BEFORE, {}, [{"00_a": THREE_MORE}]), "dice")
    assert (dice.value, dice.n, dice.sd) == (pytest.approx(0.8), 6, pytest.approx(stdev(SEEDS), rel=1e-2))
    assert dice.tolerance == pytest.approx(stats.t.ppf(0.975, 5) * stdev(SEEDS) * math.sqrt(2 / 3), rel=1e-2)
    assert line(propose(BEFORE, {}, [{"00_a": THREE_MORE}]), "best").n == 1  # two values say nothing


def test_a_spread_of_many_seeds_outlives_a_proposal_of_few() -> None:
    known = propose(BEFORE, {}, [{"00_a": THREE_MORE}])
    again = line(propose({"00_a": lesson(dice=[0.6, 0.61, 0.62])}, known), "dice")
    assert again.value == pytest.approx(0.61)
    assert (again.sd, again.n) == (line(known, "dice").sd, 6)
    assert again.tolerance == pytest.approx(line(known, "dice").tolerance, rel=0.02)
    six = {"00_a": lesson(dice=[0.8, 0.81, 0.82, 0.8, 0.81, 0.82])}  # as many bring their own
    assert line(propose(six, known), "dice").sd == line(propose(six, {}), "dice").sd


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"seeds": [2, 3, 4]}, r"share the seeds \[2\]"),
        ({"seeds": [3, 4, 5], "epochs": 4}, r"seeds \[3, 4, 5\] are of another experiment, .*epochs=4"),
    ],
)
def test_runs_that_say_nothing_of_the_spread_are_refused(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(LessonsError, match=message):
        propose(BEFORE, {}, [{"00_a": lesson(chosen=chosen, dice=[0.7, 0.9, 0.75])}])


def test_a_lesson_that_failed_elsewhere_adds_nothing() -> None:
    failed = lesson("cell 3: KeyError", chosen={"seeds": [3, 4, 5]}, dice=[0.7, 0.9, 0.75])
    assert propose(BEFORE, {}, [{"00_a": failed}]) == BASELINE


# The file


def test_expected_json_has_one_line_per_metric(tmp_path: Path) -> None:
    text = as_json(BASELINE)
    assert sum('"value"' in line for line in text.splitlines()) == text.count('"value"') == 4
    assert read(tmp_path, json.loads(text)) == BASELINE


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        ({"direction": "up"}, "00_a, dice: the direction is higher or lower or equal, not 'up'"),
        ({"tolerance": -0.1}, "00_a, dice: a tolerance is not negative, as -0.1 is"),
        ({"tolerance": "0.1"}, "00_a, dice: the tolerance is a number, not '0.1'"),
        ({"value": None}, "00_a, dice: the value is a number, not None"),
        ({"value": math.nan}, "00_a, dice: the value is a number, not nan"),
        ({"sd": "0.1"}, "00_a, dice: the sd is a number, not '0.1'"),
        ({"n": True}, "00_a, dice: the n is a number, not True"),
        ({"vale": 1}, "is not as --update writes it: 00_a, dice: TypeError"),
    ],
)
def test_a_baseline_that_a_person_has_spoilt_is_refused(tmp_path: Path, edit: Any, complaint: str) -> None:
    content = written(BASELINE)
    content["lessons"]["00_a"]["defaults"]["metrics"]["dice"] |= edit
    with pytest.raises(LessonsError) as refusal:
        read(tmp_path, content)
    assert complaint in str(refusal.value)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"lessons": {"00_a": []}}', '{"lessons": {"00_a": {"x": {}}}}'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "expected.json").write_text(text)
    with pytest.raises(LessonsError, match=r"expected\.json"):
        read_baseline(tmp_path / "expected.json")


# What is counted


def test_what_is_as_expected_is_counted_with_the_rest() -> None:
    worse = {"00_a": lesson(dice=[0.1, 0.1, 0.1], loss=[1.5] * 3, best=0.9)}
    assert counted(compare(worse, BASELINE, {"00_a"})) == "2 of 3 numbers as expected, 1 worse"
    assert counted(compare(worse, BASELINE)) == "2 of 3 numbers as expected, 1 worse, 1 lesson missing"
    assert counted(compare(BEFORE, BASELINE)) == "4 of 4 numbers as expected"


# What is committed


def test_committed_outputs_are_those_that_are_expected() -> None:
    run = {}
    for path in sorted(LESSONS.glob("*.ipynb")):
        executed = nbformat.read(path, as_version=4)
        declared = parameters.declared(executed, path.stem)
        run[path.stem] = Result(path.stem, {}, declared, metrics=gather(executed)[0])
    found = compare(run, read_baseline(LESSONS / "expected.json"))
    assert [f for f in found if f.red] == []
