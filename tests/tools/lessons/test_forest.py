"""The forest plot: what is drawn where, told by form too, and the same bytes again."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from tests.tools.lessons.made_up_lessons import CLAIMS, NUMBERS, claim
from tools.lessons.claims import Claim, judge_claims
from tools.lessons.comparing import FAILS, HOLDS, OPEN, Interval
from tools.lessons.forest import BAND, MARKS, draw

SVG = "{http://www.w3.org/2000/svg}"


def drawn(one: Claim, interval: Interval) -> str:
    judged = judge_claims([one], NUMBERS)
    return draw({one: replace(judged[one], interval=interval)}).decode()


def test_every_claim_is_named_below_its_paper_with_its_numbers() -> None:
    root = ElementTree.fromstring(draw(judge_claims(CLAIMS, NUMBERS)))
    told = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert told[-4:] == [HOLDS, FAILS, OPEN, "where the interval has to lie"]
    both = "+0.100 (+0.075 to +0.125)"
    rows = [text for text in told if text in ("CVM", "a above b", "SIC", "below c", both)]
    assert rows == ["CVM", "a above b", both, "SIC", "below c", both]


def test_the_same_verdicts_are_the_same_bytes_and_no_date() -> None:
    first = draw(judge_claims(CLAIMS, NUMBERS))
    assert draw(judge_claims(CLAIMS, NUMBERS)) == first
    assert b"<dc:date>" not in first


def test_verdicts_differ_by_form_and_colour() -> None:
    assert MARKS.keys() == {HOLDS, FAILS, OPEN}
    forms = {(marker, fill == "white") for marker, _, fill in MARKS.values()}
    assert len(forms) == len({colour for _, colour, _ in MARKS.values()}) == 3


def test_what_lies_beyond_the_axis_is_told_by_an_arrow() -> None:
    inside, beyond = drawn(claim(), Interval(0.05, 0.1, 0.15)), drawn(claim(), Interval(0.05, 0.1, 0.3))
    assert beyond.count("<use ") == inside.count("<use ") + 1


def band(picture: str) -> tuple[float, float]:
    """From where to where the row's band reaches, in points."""
    path = next(x for x in ElementTree.fromstring(picture).iter(f"{SVG}path") if BAND in x.get("style", ""))
    across = [float(x) for x in re.findall(r"[ML] ([\d.]+)", path.get("d", ""))]
    return min(across), max(across)


def test_the_band_is_where_a_claim_holds() -> None:
    at = Interval(0.0, 0.1, 0.2)
    above, within = band(drawn(claim(bound=0.05), at)), band(drawn(claim(bound=0.05, within=True), at))
    assert within[1] == above[0]
    assert (within[1] - within[0]) / (above[1] - above[0]) == pytest.approx(0.3 / 0.2, rel=1e-3)
