"""Claims: how strictly the file is read, and what intervals over seeds make of a claim."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.lessons.made_up_lessons import BETTER, WORSE, claim, evidence
from tools.lessons import LessonsError
from tools.lessons.__main__ import LESSONS
from tools.lessons.claims import Claim, Evidence, judge_claims, number, problem, read_claims
from tools.lessons.comparing import FAILS, HOLDS, OPEN, Comparison

FILE = LESSONS / "claims.yaml"
ENTRY = {
    "id": "a_above_b",
    "paper": "CVM",
    "where": "Table 1",
    "claim": "A is better than B.",
    "published": "0.8 against 0.7",
    "lesson": "00_a",
    "metric": "dice_a",
}
SCORE = st.floats(0, 1, width=32)
SEEDS = st.integers(5, 8)


def read(folder: Path, *entries: Any) -> list[Claim]:
    (folder / "00_a.ipynb").touch()
    (folder / "claims.yaml").write_text(yaml.safe_dump(list(entries)))
    return read_claims(folder / "claims.yaml")


def without(field: str) -> dict[str, Any]:
    return {key: value for key, value in ENTRY.items() if key != field}


def judge(one: Claim, numbers: dict[str, Evidence]) -> Comparison:
    return judge_claims([one], numbers)[one]


def verdict(values: list[float], rival: list[float] | None = None, **fields: Any) -> str:
    metrics = {"dice_a": values} | ({} if rival is None else {"dice_b": rival})
    return judge(claim(beats=() if rival is None else ("dice_b",), **fields), evidence(**metrics)).verdict


# The file


def test_an_entry_is_read(tmp_path: Path) -> None:
    beats = {"beats": "dice_b", "by": 0.01, "claim": "A is\n  better than B."}
    within = {"id": "near", "beats": ["dice_b", "dice_c"], "within": 0.03, "note": "Ours."}
    first, second, third = read(tmp_path, ENTRY, ENTRY | beats | {"id": "more"}, ENTRY | within)
    assert first == Claim("a_above_b", "CVM", "Table 1", "A is better than B.", "0.8 against 0.7", "00_a", "dice_a")
    assert second == replace(first, id="more", beats=("dice_b",), bound=0.01)
    assert third == replace(first, id="near", beats=("dice_b", "dice_c"), bound=0.03, within=True, note="Ours.")


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (without("published"), r"entry 2 \(a_above_b\): published: is missing"),
        (without("id"), "entry 2: id: is missing"),
        (ENTRY | {"where": "  "}, r"entry 2 \(a_above_b\): where: expected a text, not '  '"),
        (ENTRY | {"published": 0.75}, "published: expected a text, not 0.75. Put it in quotes"),
        (ENTRY | {"note": None}, "note: expected a text, not None"),
        (ENTRY | {"id": "A above B"}, "id: expected small letters, digits and underscores, not 'A above B'"),
        (ENTRY | {"paper": "U-Net"}, "paper: 'U-Net' is none of Proto2Seg, MLPS"),
        (ENTRY | {"bets": "dice_b"}, r"entry 2 \(a_above_b\): bets: there is no such field. Fields are id, paper"),
        (ENTRY | {"lesson": "00"}, "lesson: there is no 00.ipynb beside this file"),
        (ENTRY | {"by": 0, "within": 0.1}, "by, within: a claim has one of them"),
        (ENTRY | {"by": "0.1"}, "by: expected a number, not '0.1'"),
        (ENTRY | {"by": True}, "by: expected a number, not True"),
        (ENTRY | {"within": math.nan}, "within: expected a number, not nan"),
        (ENTRY | {"within": None}, "within: expected a number, not None"),
        (ENTRY | {"beats": []}, r"beats: expected the name of a metric or a list of names, not \[\]"),
        (ENTRY | {"beats": ["dice_b", 3]}, "beats: expected the name of a metric or a list"),
        (ENTRY | {"beats": None}, "beats: expected the name of a metric or a list of names, not None"),
        (ENTRY | {"beats": "dice_a"}, "beats: names a metric twice, or the claim's own metric"),
        (ENTRY | {"beats": ["dice_b", "dice_b"]}, "beats: names a metric twice"),
        (ENTRY | {"id": "first"}, r"entry 2 \(first\): id: an earlier claim is called first"),
        ("A is better", "entry 2: expected lines 'field: value', not 'A is better'"),
    ],
)
def test_what_does_not_fit_is_refused_by_entry_and_field(tmp_path: Path, entry: Any, complaint: str) -> None:
    with pytest.raises(LessonsError, match=complaint):
        read(tmp_path, ENTRY | {"id": "first"}, entry)


@pytest.mark.parametrize("text", ["", "[]", "a: b", "- [", "- id: x\n\tpaper: y"])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "claims.yaml").write_text(text)
    with pytest.raises(LessonsError, match=r"claims\.yaml"):
        read_claims(tmp_path / "claims.yaml")
    with pytest.raises(FileNotFoundError, match="No claims"):
        read_claims(tmp_path / "other.yaml")


# Verdicts


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, HOLDS),
        ({"bound": 0.05}, HOLDS),
        ({"bound": 0.1}, OPEN),
        ({"bound": 0.15}, FAILS),
        ({"within": True}, FAILS),
        ({"bound": 0.1, "within": True}, OPEN),
        ({"bound": 0.15, "within": True}, HOLDS),
    ],
)
def test_the_side_of_its_bound_on_which_an_interval_lies(fields: dict[str, Any], expected: str) -> None:
    assert verdict(BETTER, WORSE, **fields) == expected  # the interval is 0.075 to 0.125


def test_a_metric_without_rivals_is_judged_itself() -> None:
    assert verdict(BETTER, bound=0.7) == HOLDS
    assert verdict(BETTER, bound=0.9) == FAILS
    assert verdict(BETTER, bound=0.9, within=True) == HOLDS
    assert judge(claim(), evidence(dice_a=BETTER)).found == "0.800 (0.772 to 0.828)"


def test_effect_interval_and_deviation_are_those_of_the_paired_t_test() -> None:
    from scipy.stats import ttest_rel

    found = judge(claim(beats=("dice_b",)), evidence(dice_a=BETTER, dice_b=WORSE))
    low, high = ttest_rel(BETTER, WORSE).confidence_interval(0.95)
    assert found.interval == pytest.approx((low, 0.1, high))
    assert found.note == f"{0.1 / np.std(np.subtract(BETTER, WORSE), ddof=1):.1f}\u00a0sd, n\u00a0=\u00a05"


def test_intervals_miss_as_often_as_is_told() -> None:
    draws = np.random.default_rng(0).normal(0, 0.1, (4000, 5))
    found = [verdict(values.tolist()) for values in draws]  # the truth is no effect
    assert found.count(HOLDS) / len(found) == pytest.approx(0.025, abs=0.007)
    assert found.count(FAILS) / len(found) == pytest.approx(0.025, abs=0.007)


def test_no_spread_leaves_the_mean() -> None:
    assert verdict([0.8] * 5, [0.7] * 5) == HOLDS
    assert verdict([0.7] * 5, [0.8] * 5) == FAILS
    assert verdict([0.7] * 5, [0.7] * 5) == OPEN
    assert verdict([0.8] * 5, [0.7] * 5, bound=0.1) == OPEN  # though 0.8 - 0.7 > 0.1 in floating point
    assert verdict([0.8] * 5, [0.7] * 5, bound=0.1, within=True) == OPEN


@pytest.mark.parametrize(
    ("rivals", "expected", "told"),
    [
        ({"b": WORSE, "c": [0.6] * 5}, HOLDS, "b"),
        ({"b": [0.6] * 5, "c": BETTER[::-1]}, OPEN, "c"),
        ({"b": BETTER[::-1], "c": [0.9] * 5}, FAILS, "c"),
        # the smallest effect would be that of b, which holds
        ({"b": [x - 0.05 for x in BETTER], "c": [0.5, 0.9, 0.5, 0.9, 0.5]}, OPEN, "c"),
    ],
)
def test_each_rival_is_to_be_beaten_and_the_one_that_decides_is_told(
    rivals: dict[str, list[float]], expected: str, told: str
) -> None:
    found = judge(claim(beats=tuple(rivals)), evidence(dice_a=BETTER, **rivals))
    assert (found.verdict, found.note.split(",")[0]) == (expected, f"against {told}")


def test_within_is_decided_by_the_rival_that_is_furthest() -> None:
    numbers = evidence(dice_a=BETTER, b=WORSE, c=[0.6] * 5)
    found = judge(claim(beats=("b", "c"), bound=0.4, within=True), numbers)
    assert (found.verdict, found.note.split(",")[0]) == (HOLDS, "against c")
    assert judge(claim(beats=("b", "c"), bound=0.15, within=True), numbers).verdict == FAILS


@given(st.data(), SEEDS, st.floats(-0.5, 0.5), st.booleans())
def test_a_claim_holds_only_where_its_interval_clears_the_bound(data: Any, n: int, bound: float, within: bool) -> None:
    a, b, c = (data.draw(st.lists(SCORE, min_size=n, max_size=n)) for _ in range(3))
    found = judge(claim(beats=("b", "c"), bound=bound, within=within), evidence(dice_a=a, b=b, c=c))
    assert found.interval is not None
    low, effect, high = found.interval
    assert low <= effect <= high
    above, below = (FAILS, HOLDS) if within else (HOLDS, FAILS)
    if found.verdict != OPEN:
        assert found.verdict == (above if low > bound else below)
    elif low > bound or high < bound:
        assert min(abs(low - bound), abs(high - bound)) < 1e-6  # as near as numbers are written


@given(st.data(), SEEDS, st.floats(0, 0.5))
def test_no_two_metrics_beat_each_other(data: Any, n: int, bound: float) -> None:
    a, b = (data.draw(st.lists(SCORE, min_size=n, max_size=n)) for _ in range(2))
    assert (verdict(a, b, bound=bound), verdict(b, a, bound=bound)) != (HOLDS, HOLDS)
    if bound == 0:
        mirror = {HOLDS: FAILS, FAILS: HOLDS, OPEN: OPEN}
        assert verdict(b, a) == mirror[verdict(a, b)]


@given(st.data(), SEEDS, st.floats(-1, 1), st.floats(-0.5, 0.5))
def test_what_all_seeds_share_changes_nothing_and_neither_does_their_order(
    data: Any, n: int, shift: float, bound: float
) -> None:
    a, b = (data.draw(st.lists(SCORE, min_size=n, max_size=n)) for _ in range(2))
    before = judge(claim(beats=("b",), bound=bound), evidence(dice_a=a, b=b))
    moved = judge(claim(beats=("b",), bound=bound), evidence(dice_a=[x + shift for x in a], b=[x + shift for x in b]))
    assert moved.interval == pytest.approx(before.interval, abs=1e-9)
    order = data.draw(st.permutations(range(n)))
    permuted = judge(claim(beats=("b",), bound=bound), evidence(dice_a=[a[i] for i in order], b=[b[i] for i in order]))
    assert permuted == before


@given(st.data(), SEEDS, st.floats(-0.5, 0.5), st.floats(0, 0.5))
def test_what_holds_still_holds_with_a_weaker_bound(data: Any, n: int, bound: float, less: float) -> None:
    values = data.draw(st.lists(SCORE, min_size=n, max_size=n))
    if verdict(values, bound=bound) == HOLDS:
        assert verdict(values, bound=bound - less) == HOLDS
    if verdict(values, bound=bound, within=True) == HOLDS:
        assert verdict(values, bound=bound + less, within=True) == HOLDS


# What cannot be judged


@pytest.mark.parametrize(
    ("numbers", "complaint"),
    [
        ({}, "a_above_b: 00_a has not been run to its end"),
        (evidence(dice_a=BETTER), "a_above_b: 00_a did not record dice_b"),
        (evidence(dice_b=BETTER), "a_above_b: 00_a did not record dice_a"),
        (evidence(dice_a=BETTER[:3], dice_b=WORSE[:3]), "a_above_b: dice_a of 00_a needs 5 seeds, and has 3"),
        (evidence(dice_a=BETTER, dice_b=WORSE[:1]), "a_above_b: dice_b of 00_a needs 5 seeds, and has 1"),
        (
            evidence(0, 1, 2, 3, 4, dice_a=BETTER, dice_b=WORSE * 2),
            "ran with 5 seeds, and recorded 10 values of dice_b",
        ),
        (evidence(0, 0, 1, 2, 3, dice_a=BETTER, dice_b=WORSE), r"ran with seeds \[0, 0, 1, 2, 3\]. Each counts once"),
        (evidence(dice_a=BETTER, dice_b=WORSE * 2), "recorded dice_a and dice_b over different numbers of seeds"),
    ],
)
def test_a_claim_without_its_numbers_is_refused_by_name(numbers: Any, complaint: str) -> None:
    unsupported = claim(beats=("dice_b",))
    assert re.search(complaint, problem(unsupported, numbers) or "")
    assert judge_claims([unsupported], numbers) == {}


def test_a_number_that_rounds_to_zero_has_no_sign() -> None:
    assert number(-0.0001, signed=True) == number(0.0, signed=True) == "0.000"
    assert number(-0.0123, signed=True) == "−0.012"
    assert number(0.0123, signed=True) == "+0.012"


# What is committed


def test_committed_claims_name_lessons_and_are_many() -> None:
    claims = read_claims(FILE)
    assert len(claims) >= 25
    assert len({one.paper for one in claims}) == 5
