"""The forest plot: what is drawn where, told by form too, and the same bytes again."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from tests.tools.lessons.made_up import CLAIMS, NUMBERS, claim
from tools.lessons.claims import judge_claims
from tools.lessons.comparing import FAILS, HOLDS, OPEN, Interval
from tools.lessons.forest import BAND, MARKS, draw

SVG = "{http://www.w3.org/2000/svg}"


def drawn(interval, **fields):
    one = claim(**fields)
    return draw({one: replace(judge_claims([one], NUMBERS)[one], interval=Interval(*interval))}).decode()


def band(figure):
    """From where to where the row's band reaches, in points."""
    path = next(x for x in ElementTree.fromstring(figure).iter(f"{SVG}path") if BAND in x.get("style", ""))
    across = [float(x) for x in re.findall(r"[ML] ([\d.]+)", path.get("d"))]
    return min(across), max(across)


def test_every_claim_is_named_below_its_paper_with_its_numbers():
    figure = draw(judge_claims(CLAIMS, NUMBERS))
    told = ["".join(text.itertext()) for text in ElementTree.fromstring(figure).iter(f"{SVG}text")]
    assert told[-4:] == [HOLDS, FAILS, OPEN, "where the interval has to lie"]
    both = "+0.100 (+0.075 to +0.125)"
    rows = [text for text in told if text in ("CVM", "a above b", "SIC", "below c", both)]
    assert rows == ["CVM", "a above b", both, "SIC", "below c", both]
    assert draw(judge_claims(CLAIMS, NUMBERS)) == figure
    assert b"<dc:date>" not in figure
    forms = {(marker, fill == "white") for marker, _, fill in MARKS.values()}
    assert (
        len(forms) == len({colour for _, colour, _ in MARKS.values()}) == len({HOLDS, FAILS, OPEN} & MARKS.keys()) == 3
    )


def test_what_lies_beyond_the_axis_is_told_by_an_arrow():
    inside, beyond = drawn((0.05, 0.1, 0.15)), drawn((0.05, 0.1, 0.3))
    assert beyond.count("<use ") == inside.count("<use ") + 1


def test_the_band_is_where_a_claim_holds():
    above, within = (band(drawn((0.0, 0.1, 0.2), bound=0.05, within=within)) for within in (False, True))
    assert within[1] == above[0]
    assert (within[1] - within[0]) / (above[1] - above[0]) == pytest.approx(0.3 / 0.2, rel=1e-3)
