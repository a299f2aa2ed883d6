"""The regression check on seeds that the baseline has not seen: what is compared, and how wide the tolerance is."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.tools.lessons.made_up_lessons import lesson, metrics_json
from tests.tools.lessons.tiny_lessons import command, notebook
from tools.lessons.regression import FLOOR, SURE, BaselineError, Finding, compare, propose, tolerance

FIRST = {"00_a": lesson(dice=[0.8, 0.81, 0.79], same=[0.5, 0.5, 0.5], once=0.9)}
THREE_MORE = {"00_a": lesson(chosen={"seeds": [3, 4, 5]}, dice=[0.7, 0.9, 0.75], same=[0.5, 0.5, 0.5], once=0.8)}
OTHERS = {"seeds": [7, 8, 9]}
SEEDS = [0.8, 0.81, 0.79, 0.7, 0.9, 0.75]


def expected(baseline: dict[str, Any], metric: str) -> dict[str, Any]:
    return baseline["00_a"]["defaults"]["metrics"][metric]


def finding(baseline: dict[str, Any], metric: str, chosen: dict[str, Any] | None = None, **metrics: Any) -> Finding:
    run = {"00_a": lesson(chosen=chosen, **metrics)}
    return next(f for f in compare(run, baseline) if f.metric == metric)


def verdict(baseline: dict[str, Any], metric: str, **metrics: Any) -> str:
    """What is said of a metric of a run with seeds of its own."""
    return finding(baseline, metric, OTHERS, **metrics).verdict


def test_too_few_seeds_say_nothing_of_others() -> None:
    baseline = propose(FIRST, {})
    for metric, value in (("dice", [0.1, 0.1, 0.1]), ("once", 0.1)):
        assert verdict(baseline, metric, **{metric: value}) == "not compared"
    expected(baseline, "once")["why"] = "the spread over draws, on the same slides"
    assert verdict(baseline, "once", once=0.1) == "not compared"


def test_the_spread_is_that_of_all_seeds_and_the_value_that_of_the_run() -> None:
    line = expected(propose(FIRST, {}, [THREE_MORE]), "dice")
    assert (line["value"], line["n"]) == (pytest.approx(0.8), 6)
    assert line["sd"] == pytest.approx(np.std(SEEDS, ddof=1), rel=1e-2)
    t = stats.t.ppf(0.975, 5)
    assert line["tolerance"] == pytest.approx(t * np.std(SEEDS, ddof=1) * math.sqrt(2 / 3), rel=1e-2)


def test_with_enough_seeds_others_are_compared() -> None:
    baseline = propose(FIRST, {}, [THREE_MORE])
    assert verdict(baseline, "dice", dice=[0.7, 0.7, 0.7]) == "as expected"
    assert verdict(baseline, "dice", dice=[0.1, 0.1, 0.1]) == "worse"
    assert verdict(baseline, "same", same=[0.5 - FLOOR, 0.5, 0.5]) == "as expected"
    assert verdict(baseline, "same", same=[0.4, 0.4, 0.4]) == "changed"  # all agreed, as far as is known they still do
    assert verdict(baseline, "once", once=0.1) == "not compared"  # two runs, two values


def test_the_tolerance_is_wider_for_other_seeds_and_says_so() -> None:
    baseline = propose(FIRST, {}, [THREE_MORE])
    moved = [0.8 - 2 * expected(baseline, "dice")["tolerance"]] * 3
    other = finding(baseline, "dice", OTHERS, dice=moved)
    assert (finding(baseline, "dice", dice=moved).verdict, other.verdict) == ("worse", "as expected")
    wide = stats.t.ppf((1 + SURE) / 2, 5) * expected(baseline, "dice")["sd"] * math.sqrt(2 / 3)
    assert float(other.expected.split()[2]) == pytest.approx(wide, rel=1e-2)
    del expected(baseline, "dice")["n"]  # a person's line: taken to know enough
    assert verdict(baseline, "dice", dice=moved) == "as expected"
    expected(baseline, "dice").update(tolerance=9, why="a person said so")
    assert float(finding(baseline, "dice", OTHERS, dice=moved).expected.split()[2]) == 9


def test_a_spread_of_many_seeds_outlives_a_proposal_of_few() -> None:
    known = propose(FIRST, {}, [THREE_MORE])
    again = propose({"00_a": lesson(dice=[0.6, 0.61, 0.62])}, known)
    assert expected(again, "dice")["value"] == pytest.approx(0.61)
    assert [expected(again, "dice")[k] for k in ("sd", "n")] == [expected(known, "dice")[k] for k in ("sd", "n")]
    assert expected(again, "dice")["tolerance"] == pytest.approx(expected(known, "dice")["tolerance"], rel=0.02)


def test_a_hundred_numbers_of_new_seeds_hardly_ever_make_it_red() -> None:
    random = np.random.default_rng(3)
    red = 0
    for _ in range(200):
        then, new = random.normal(100, 10, (100, 9)), random.normal(100, 10, (100, 3)).mean(1)
        kept = [tolerance(x[:3], x.std(ddof=1), 9, SURE) for x in then]
        red += bool((np.abs(new - then[:, :3].mean(1)) > kept).any())
    assert red / 200 < 0.04


def test_as_many_seeds_as_are_known_bring_their_own_spread() -> None:
    six = {"00_a": lesson(dice=SEEDS)}
    narrower = {"00_a": lesson(dice=[0.8, 0.81, 0.82, 0.8, 0.81, 0.82])}
    assert expected(propose(narrower, propose(six, {})), "dice") == expected(propose(narrower, {}), "dice")


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"seeds": [2, 3, 4]}, r"share the seeds \[2\]"),
        ({"seeds": [3, 4, 5], "epochs": 4}, "another experiment, epochs=4"),
    ],
)
def test_runs_that_say_nothing_of_the_spread_are_refused(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(BaselineError, match=message):
        propose(FIRST, {}, [{"00_a": lesson(chosen=chosen, dice=[0.7, 0.9, 0.75])}])


def test_other_seeds_need_not_be_as_many() -> None:
    five = {"00_a": lesson(chosen={"seeds": [3, 4, 5, 6, 7]}, dice=[0.7, 0.9, 0.75, 0.8, 0.8], once=0.7)}
    one = lesson(dice=0.8) | {"defaults": {"data": "phantom", "seeds": [0], "epochs": 8}}
    line = expected(propose({"00_a": one}, {}, [five]), "dice")
    assert line["n"] == 6
    assert line["tolerance"] == pytest.approx(stats.t.ppf(0.975, 5) * line["sd"] * math.sqrt(2), rel=1e-2)


def test_a_lesson_that_failed_elsewhere_adds_nothing() -> None:
    failed = {"00_a": lesson("cell 3: KeyError", chosen={"seeds": [3, 4, 5]}, dice=[0.7, 0.9, 0.75])}
    assert propose(FIRST, {}, [failed]) == propose(FIRST, {})


def test_on_the_command_line(tmp_path: Path) -> None:
    notebook(tmp_path / "nb", "00_a", "")
    (tmp_path / "nb" / "expected.json").write_text(json.dumps({"lessons": {}}))
    for name, run in (("first", FIRST), ("more", THREE_MORE)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(metrics_json(run))
    where = ["--lessons", tmp_path / "nb", "--earlier", tmp_path / "first"]
    outcome = command(*where, "--update", "--other-seeds", tmp_path / "more")
    assert outcome.exit_code == 0, outcome.output
    proposed = json.loads((tmp_path / "first" / "expected.json").read_text())["lessons"]
    assert expected(proposed, "dice")["n"] == 6
    assert command(*where, "--check", "--other-seeds", tmp_path / "more").exit_code == 2
