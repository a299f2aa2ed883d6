"""Claims: how strictly the file is read, and what intervals over seeds make of a claim."""

import math
from dataclasses import replace

import numpy as np
import pytest
import yaml
from scipy.stats import ttest_rel

from tests.tools.lessons.made_up import BETTER, WORSE, claim, evidence
from tools.lessons import LessonsError
from tools.lessons.claims import Claim, judge_claims, number, problem, read_claims
from tools.lessons.comparing import FAILS, HOLDS, OPEN

TEXTS = ("a_above_b", "CVM", "Table 1", "A is better than B.", "0.8 against 0.7", "00_a", "dice_a")
ENTRY = dict(zip(("id", "paper", "where", "claim", "published", "lesson", "metric"), TEXTS, strict=True))


def read(folder, *entries):
    (folder / "00_a.ipynb").touch()
    (folder / "claims.yaml").write_text(yaml.safe_dump(list(entries)))
    return read_claims(folder / "claims.yaml")


def judge(values, baselines, **fields):
    """What is said of the claim that dice_a beats each of the baselines."""
    one = claim(beats=tuple(baselines), **fields)
    return judge_claims([one], evidence(dice_a=values, **baselines))[one]


# The file


def test_an_entry_is_read(tmp_path):
    beats = {"id": "more", "beats": "dice_b", "by": 0.01, "claim": "A is\n  better than B."}
    within = {"id": "near", "beats": ["dice_b", "dice_c"], "within": 0.03, "note": "Ours."}
    first, second, third = read(tmp_path, ENTRY, ENTRY | beats, ENTRY | within)
    assert first == Claim(*TEXTS)
    assert second == replace(first, id="more", beats=("dice_b",), bound=0.01)
    assert third == replace(first, id="near", beats=("dice_b", "dice_c"), bound=0.03, within=True, note="Ours.")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"published": ...}, "published: is missing"),
        ({"id": ...}, "id: is missing"),
        ({"where": "  "}, "where: expected a text"),
        ({"published": 0.75}, "published: expected a text, not 0.75. Put it in quotes"),
        ({"note": None}, "note: expected a text"),
        ({"id": "A above B"}, "id: expected small letters"),
        ({"paper": "U-Net"}, "paper: 'U-Net' is none of Proto2Seg, MLPS"),
        ({"bets": "dice_b"}, "bets: there is no such field"),
        ({"lesson": "00"}, "lesson: there is no 00.ipynb"),
        ({"by": 0, "within": 0.1}, "by, within: a claim has one of them"),
        *(({"by": value}, "by: expected a number") for value in ("0.1", True)),
        *(({"within": value}, "within: expected a number") for value in (math.nan, None)),
        *(({"beats": value}, "beats: expected the name of a metric") for value in ([], ["dice_b", 3], None)),
        *(({"beats": value}, "beats: names a metric twice") for value in ("dice_a", ["dice_b", "dice_b"])),
        ({"id": "first"}, "id: an earlier claim is called first"),
        ("A is better", "expected lines 'field: value'"),
    ],
)
def test_what_does_not_fit_is_refused_by_entry_and_field(tmp_path, change, complaint):
    if isinstance(change, dict):
        change = {field: value for field, value in (ENTRY | change).items() if value is not ...}
    with pytest.raises(LessonsError, match=f"entry 2.*{complaint}"):
        read(tmp_path, ENTRY | {"id": "first"}, change)


@pytest.mark.parametrize("text", ["", "[]", "a: b", "- [", "- id: x\n\tpaper: y"])
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / "claims.yaml").write_text(text)
    with pytest.raises(LessonsError, match=r"claims\.yaml"):
        read_claims(tmp_path / "claims.yaml")
    with pytest.raises(FileNotFoundError, match="No claims"):
        read_claims(tmp_path / "other.yaml")


# Verdicts


@pytest.mark.parametrize(
    ("values", "against", "bound", "above", "within"),
    [
        (BETTER, WORSE, 0, HOLDS, FAILS),  # the interval is 0.075 to 0.125
        (BETTER, WORSE, 0.1, OPEN, OPEN),
        (BETTER, WORSE, 0.15, FAILS, HOLDS),
        (BETTER, None, 0.7, HOLDS, FAILS),  # without a baseline the metric itself is judged
        (BETTER, None, 0.9, FAILS, HOLDS),
        ([0.7] * 5, [0.8] * 5, 0, FAILS, HOLDS),  # no spread leaves the mean
        ([0.7] * 5, [0.7] * 5, 0, OPEN, OPEN),
        ([0.8] * 5, [0.7] * 5, 0.1, OPEN, OPEN),  # though 0.8 - 0.7 > 0.1 in floating point
    ],
)
def test_the_side_of_its_bound_on_which_an_interval_lies(values, against, bound, above, within):
    baselines = {"dice_b": against} if against else {}
    assert judge(values, baselines, bound=bound).verdict == above
    assert judge(values, baselines, bound=bound, within=True).verdict == within


def test_effect_interval_and_deviation_are_those_of_the_paired_t_test():
    found = judge(BETTER, {"dice_b": WORSE})
    low, high = ttest_rel(BETTER, WORSE).confidence_interval(0.95)
    assert found.interval == pytest.approx((low, 0.1, high))
    assert found.found == "+0.100 (+0.075 to +0.125)"
    assert found.note == f"{0.1 / np.std(np.subtract(BETTER, WORSE), ddof=1):.1f}\u00a0sd, n\u00a0=\u00a05"
    assert judge(BETTER, {}).found == "0.800 (0.772 to 0.828)"


@pytest.mark.parametrize(
    ("b", "c", "fields", "expected", "told"),
    [
        (WORSE, [0.6] * 5, {}, HOLDS, "b"),
        ([0.6] * 5, BETTER[::-1], {}, OPEN, "c"),
        (BETTER[::-1], [0.9] * 5, {}, FAILS, "c"),
        ([x - 0.05 for x in BETTER], [0.5, 0.9, 0.5, 0.9, 0.5], {}, OPEN, "c"),  # that of b, which holds, is smaller
        (WORSE, [0.6] * 5, {"bound": 0.4, "within": True}, HOLDS, "c"),
        (WORSE, [0.6] * 5, {"bound": 0.15, "within": True}, FAILS, "c"),
    ],
)
def test_each_baseline_is_to_be_beaten_and_the_one_that_decides_is_told(b, c, fields, expected, told):
    found = judge(BETTER, {"b": b, "c": c}, **fields)
    assert (found.verdict, found.note.split(",")[0]) == (expected, f"against {told}")


@pytest.mark.parametrize(
    ("numbers", "complaint"),
    [
        ({}, "00_a has not been run to its end"),
        (evidence(dice_a=BETTER), "00_a did not record dice_b"),
        (evidence(dice_b=BETTER), "00_a did not record dice_a"),
        (evidence(dice_a=BETTER[:4], dice_b=WORSE[:4]), "dice_a of 00_a needs 5 seeds, and has 4"),
        (evidence(dice_a=BETTER, dice_b=WORSE[:1]), "dice_b of 00_a needs 5 seeds, and has 1"),
        (evidence(0, 1, 2, 3, 4, dice_a=BETTER, dice_b=WORSE * 2), "5 seeds, and recorded 10 values of dice_b"),
        (evidence(0, 0, 1, 2, 3, dice_a=BETTER, dice_b=WORSE), "seeds [0, 0, 1, 2, 3]. Each seed counts once"),
        (evidence(dice_a=BETTER, dice_b=WORSE * 2), "dice_a and dice_b over different numbers of seeds"),
    ],
)
def test_a_claim_without_its_numbers_is_refused_by_name(numbers, complaint):
    unsupported = claim(beats=("dice_b",))
    told = problem(unsupported, numbers)
    assert told.startswith("a_above_b: ")
    assert complaint in told
    assert judge_claims([unsupported], numbers) == {}


def test_a_number_that_rounds_to_zero_has_no_sign():
    assert number(-0.0001, signed=True) == number(0.0, signed=True) == "0.000"
    assert (number(-0.0123, signed=True), number(0.0123, signed=True)) == ("−0.012", "+0.012")
