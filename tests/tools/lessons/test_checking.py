"""The regression check: what it lets pass and what it refuses, in made-up numbers."""

import json
import math
from statistics import stdev

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.tools.lessons.made_up import BASELINE, BEFORE, lesson
from tools.lessons import LessonsError, checking, parameters
from tools.lessons.__main__ import LESSONS
from tools.lessons.checking import Expected, as_json, changes, compare, counted, propose, read_baseline, tolerance
from tools.lessons.runs import Result, gather

NAMES, SCORES = st.text("abc_", min_size=1, max_size=6), st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=5)


def verdicts(run, baseline=BASELINE, wanted=None):
    return {(x.lesson, x.name): x.verdict for x in compare(run, baseline, wanted) if x.verdict != "as expected"}


def edited(folder, metric, stem="00_a", **edit):
    """BASELINE, after a person has edited the entry of a metric in the file."""
    content = json.loads(as_json(BASELINE))
    content["lessons"][stem]["defaults"]["metrics"][metric] |= edit
    (folder / "expected.json").write_text(json.dumps(content))
    return read_baseline(folder / "expected.json")


def entry(baseline, metric):
    return baseline["00_a"]["defaults"].metrics[metric]


# One number


@pytest.mark.parametrize(
    ("direction", "slack", "found", "verdict"),
    [
        ("higher", 0.1, 0.7, "as expected"),  # the bound itself, though 0.8 - 0.1 > 0.7 in floating point
        ("higher", 0.1, 0.699, "worse"),
        ("higher", 0.1, 0.901, "improved"),
        ("lower", 0.1, 0.699, "improved"),
        ("lower", 0.1, 0.9, "as expected"),
        ("lower", 0.1, 0.901, "worse"),
        ("equal", 0.1, 0.699, "changed"),
        ("equal", 0.1, 0.901, "changed"),
        ("equal", 0, 0.8, "as expected"),
        ("equal", 0, 0.800001, "changed"),
    ],
)
def test_direction_says_which_side_is_refused(direction, slack, found, verdict):
    assert Expected(0.8, slack, direction).verdict(found) == verdict


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
def test_tolerance_is_by_the_spread_of_the_seeds(values, expected):
    assert tolerance(values, stdev(values) if len(values) > 1 else None, len(values)) == pytest.approx(expected)


# A run


def test_every_kind_of_difference_has_its_own_word():
    failed = lesson("cell 3 of 5: ZeroDivisionError: division by zero")
    run = {"00_a": lesson(dice=[0.9, 0.9, 0.9], best=0.9, extra=1), "02_c": lesson(dice=0.5), "03_d": failed}
    assert verdicts(run) == {
        ("00_a", "dice"): "improved",
        ("00_a", "loss"): "missing",
        ("00_a", "extra"): "new",
        ("01_b", None): "missing",
        ("02_c", None): "new",
        ("03_d", None): "failed",
    }
    found = compare(run, BASELINE)
    assert {x.verdict for x in found if x.red} == {"missing", "failed"}
    assert [x.note for x in found if x.verdict == "failed"] == [failed.error]
    numbers, lessons = "1 improved, 1 missing, 1 new", "1 lesson missing, 1 lesson new, 1 lesson failed"
    assert counted(found) == f"1 of 4 numbers as expected, {numbers}, {lessons}"


def test_part_of_the_lessons_is_compared_with_part_of_the_baseline():
    part = {"01_b": lesson(chosen={"epochs": 8}, dice=[0.7] * 3)}  # a parameter set to its default changes nothing
    assert not verdicts(part, wanted={"01_b"})
    assert verdicts(part) == {("00_a", None): "missing"}
    assert verdicts({"01_b": lesson()}, wanted={"01_b"}) == {("01_b", "dice"): "missing"}
    with pytest.raises(LessonsError, match="nothing to compare"):
        compare(part, BASELINE, {"07_x"})


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        (lesson(chosen={"data": "glas"}), "00_a: there is no baseline for data=glas, only for defaults."),
        (lesson(chosen={"seeds": [3, 4, 5]}), "no baseline for seeds=[3, 4, 5]"),
        (
            lesson(defaults={"epochs": 4, "width": 16}),
            "changed since the baseline (epochs: 8, now 4; width: None, now 16)",
        ),
    ],
)
def test_other_experiments_are_refused(other, complaint):
    with pytest.raises(LessonsError) as refusal:
        compare({"00_a": other}, BASELINE, {"00_a"})
    assert complaint in str(refusal.value)
    assert "are not compared; propose a baseline with --update" in str(refusal.value)


# A proposal


@given(st.dictionaries(NAMES, SCORES, min_size=1, max_size=4), st.data())
def test_a_run_agrees_with_the_baseline_proposed_from_it(metrics, data):
    run = {"00_a": lesson(**metrics)}
    content = json.loads(as_json(propose(run, {})))["lessons"]["00_a"]["defaults"]
    for known in content["metrics"].values():
        known["direction"] = data.draw(st.sampled_from(sorted(checking.DIRECTIONS)))
        if data.draw(st.booleans()):
            known |= {"tolerance": 0, "why": "a person said so"}
    entries = {name: Expected(**known) for name, known in content["metrics"].items()}
    baseline = {"00_a": {"defaults": checking.Profile(content["parameters"], entries)}}
    assert not verdicts(run, baseline)
    assert not changes(baseline, propose(run, baseline))


def test_direction_of_a_new_metric_is_by_the_rule():
    found = propose({"00_a": lesson(dice_cq=1, tag_auc=1, dice_minus_dq=1, loss=1, diced=1)}, {})["00_a"]["defaults"]
    assert [known.direction for known in found.metrics.values()] == ["higher", "higher", "equal", "equal", "equal"]


def test_a_proposal_keeps_what_a_person_has_said(tmp_path):
    run = {"00_a": lesson(dice=[0.6, 0.7, 0.8], loss=[1.0, 1.1, 1.2], best=0.9)}
    lower = edited(tmp_path, "loss", direction="lower")
    loss = entry(propose(run, lower), "loss")
    assert (loss.direction, loss.value) == ("lower", pytest.approx(1.1))
    assert entry(lower, "loss").value == pytest.approx(1.5)  # left as it was
    dice = entry(propose(run, edited(tmp_path, "dice", tolerance=0.2, why="it depends on the machine")), "dice")
    assert (dice.value, dice.tolerance, dice.why) == (pytest.approx(0.7), 0.2, "it depends on the machine")
    without_a_reason = propose(run, edited(tmp_path, "best", tolerance=0.5))
    assert entry(without_a_reason, "best").tolerance == checking.SINGLE
    assert without_a_reason["01_b"] == BASELINE["01_b"]
    assert propose({"00_a": lesson("cell 3: KeyError", dice=0.1)}, BASELINE) == BASELINE  # a lesson that failed


def test_another_profile_stands_beside_the_first_and_takes_its_directions(tmp_path):
    baseline = edited(tmp_path, "dice", "01_b", direction="equal")
    glas = {"01_b": lesson(chosen={"data": "glas"}, dice=[0.5, 0.5, 0.5])}
    proposed = propose(glas, baseline)
    assert list(proposed["01_b"]) == ["defaults", "data=glas"]
    assert proposed["01_b"]["defaults"] == baseline["01_b"]["defaults"]
    assert proposed["01_b"]["data=glas"].metrics["dice"].direction == "equal"
    assert not verdicts(glas, proposed, {"01_b"})
    assert not verdicts(BEFORE, proposed)
    (change,) = changes(baseline, proposed)
    assert (change.verdict, change.note) == ("new", "data=glas")


def test_changed_defaults_replace_the_profile():
    proposed = propose({"00_a": lesson(defaults={"epochs": 4}, dice=[0.5, 0.5, 0.5])}, BASELINE)
    assert list(proposed["00_a"]) == ["defaults"]
    assert proposed["00_a"]["defaults"].parameters["epochs"] == 4
    said = {change.name: change.verdict for change in changes(BASELINE, proposed)}
    assert said == {"dice": "moved", "loss": "gone", "best": "gone"}


def test_the_spread_is_that_of_all_seeds_and_the_value_that_of_the_run():
    more = lesson(chosen={"seeds": [3, 4, 5]}, dice=[0.7, 0.9, 0.75], loss=[1.5] * 3, best=0.8)
    sd = stdev([0.8, 0.81, 0.79, 0.7, 0.9, 0.75])
    known = propose(BEFORE, {}, [{"00_a": more}])
    dice = entry(known, "dice")
    assert (dice.value, dice.n, dice.sd) == (pytest.approx(0.8), 6, pytest.approx(sd, rel=1e-2))
    assert dice.tolerance == pytest.approx(stats.t.ppf(0.975, 5) * sd * math.sqrt(2 / 3), rel=1e-2)
    assert entry(known, "best").n == 1  # two values say nothing
    again = entry(propose({"00_a": lesson(dice=[0.6, 0.61, 0.62])}, known), "dice")  # few seeds keep it
    assert (again.value, again.sd, again.n) == (pytest.approx(0.61), dice.sd, 6)
    assert again.tolerance == pytest.approx(dice.tolerance, rel=0.02)
    six = {"00_a": lesson(dice=[0.8, 0.81, 0.82, 0.8, 0.81, 0.82])}  # as many bring their own
    assert entry(propose(six, known), "dice").sd == entry(propose(six, {}), "dice").sd


@pytest.mark.parametrize(
    ("chosen", "complaint"),
    [
        ({"seeds": [2, 3, 4]}, r"share the seeds \[2\]"),
        ({"seeds": [3, 4, 5], "epochs": 4}, r"seeds \[3, 4, 5\] are of another experiment, .*epochs=4"),
    ],
)
def test_runs_that_say_nothing_of_the_spread_are_refused(chosen, complaint):
    with pytest.raises(LessonsError, match=complaint):
        propose(BEFORE, {}, [{"00_a": lesson(chosen=chosen, dice=[0.7, 0.9, 0.75])}])
    failed = lesson("cell 3: KeyError", chosen=chosen, dice=[0.7, 0.9, 0.75])
    assert propose(BEFORE, {}, [{"00_a": failed}]) == BASELINE


# The file


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        ({"direction": "up"}, "the direction is higher or lower or equal, not 'up'"),
        ({"tolerance": -0.1}, "a tolerance is not negative"),
        ({"tolerance": "0.1"}, "the tolerance is a number, not '0.1'"),
        *(({"value": value}, "the value is a number") for value in (None, math.nan)),
        ({"sd": "0.1"}, "the sd is a number"),
        ({"n": True}, "the n is a number"),
        ({"vale": 1}, "TypeError"),
    ],
)
def test_an_entry_that_a_person_has_spoilt_is_refused(tmp_path, edit, complaint):
    with pytest.raises(LessonsError, match=f"00_a, dice: {complaint}"):
        edited(tmp_path, "dice", **edit)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"lessons": {"00_a": []}}', '{"lessons": {"00_a": {"x": {}}}}'])
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / "expected.json").write_text(text)
    with pytest.raises(LessonsError, match=r"expected\.json"):
        read_baseline(tmp_path / "expected.json")


def test_committed_outputs_are_those_that_are_expected():
    run = {}
    for path in sorted(LESSONS.glob("*.ipynb")):
        executed = nbformat.read(path, as_version=4)
        declared = parameters.declared(executed, path.stem)
        run[path.stem] = Result(path.stem, {}, declared, metrics=gather(executed)[0])
    assert [x for x in compare(run, read_baseline(LESSONS / "expected.json")) if x.red] == []
