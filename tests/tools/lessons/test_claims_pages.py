"""What README, index.html and the terminal say of the claims."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.tools.lessons import made_up_lessons
from tests.tools.lessons.made_up_lessons import (
    BETTER,
    CLAIMS,
    NUMBERS,
    WORSE,
    claim,
)
from tools.lessons import claims_report
from tools.lessons.claims import (
    FAILS,
    HOLDS,
    OPEN,
    ClaimError,
    Judgement,
    judge,
    judge_all,
)
from tools.lessons.claims_page import as_section
from tools.lessons.claims_picture import effect, picture
from tools.lessons.claims_report import BEGIN, END, as_markdown, replace_block, show


def test_markdown_counts_and_says_at_what_size() -> None:
    text = " ".join(as_markdown(CLAIMS, NUMBERS).replace("\u00a0", " ").split())
    assert "Of 2 claims of the papers 1 holds, 1 does not hold here and 0 are inconclusive." in text
    assert "1 more cannot be judged by these numbers." in text
    assert "over 5 seeds, on phantom slides, at the lessons' tutorial size with what [`claims_run.yaml`]" in text
    assert "One interval in twenty misses by chance." in text
    told = "0.8 to 0.7 | +0.100 (+0.075 to +0.125);"
    assert f"| A beats B. (Table 1) | {told} 5.0 sd, n = 5 | ✓ holds |" in text
    against = "against dice b, to be below 0.050, 5.0 sd, n = 5"
    assert f"| A beats B. (Table 1) *C is ours.* | {told} {against} | ✗ does not hold here |" in text
    assert "<summary>SIC: 0 hold, 1 does not hold here and 0 are inconclusive</summary>" in text


def test_other_tissue_is_told() -> None:
    numbers = json.loads(json.dumps(NUMBERS))
    numbers["00_a"]["parameters"]["data"] = "glas"
    assert "on glas," in as_markdown(CLAIMS, numbers)


def test_cells_keep_their_borders() -> None:
    odd = claim(claim="P(A|B) < 1_000 & so on", published="a|b")
    (row,) = (line for line in as_markdown([odd], NUMBERS).splitlines() if "A" in line and line.startswith("| P"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 5
    assert "P(A\\|B) &lt; 1\\_000" in row


def test_a_number_that_rounds_to_zero_has_no_sign() -> None:
    assert claims_report.number(-0.0001, signed=True) == claims_report.number(0.0, signed=True) == "0.000"
    assert claims_report.number(-0.0123, signed=True) == "−0.012"
    assert claims_report.number(0.0123, signed=True) == "+0.012"


def test_readme_keeps_what_is_around_its_block() -> None:
    readme = f"# Title\n\n{BEGIN}\nold\n{END}\n\n## More\n"
    assert replace_block(readme, "new") == f"# Title\n\n{BEGIN}\n\nnew\n\n{END}\n\n## More\n"
    assert replace_block(replace_block(readme, "new"), "new") == replace_block(readme, "new")
    for spoilt in ("", BEGIN, f"{END}\n{BEGIN}", readme + END, readme.replace(BEGIN, BEGIN + BEGIN)):
        with pytest.raises(ClaimError, match="put them back"):
            replace_block(spoilt, "new")


def test_terminal_lists_verdicts_and_counts_them(capsys: pytest.CaptureFixture[str]) -> None:
    show(judge_all(CLAIMS, NUMBERS), ["other: [01_b] has not been run to its end."])
    first, *_, last = capsys.readouterr().out.replace("\u00a0", " ").strip().splitlines()
    assert first.split() == ["claim", "effect", "interval", "verdict"]
    assert last == "Of 2 claims 1 holds, 1 does not hold here and 0 are inconclusive."


class Tags(HTMLParser):
    """Counts elements, and notices those that are not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: Counter[str] = Counter()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        self.seen[tag] += 1

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.seen[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_section_has_a_row_and_a_picture_a_claim() -> None:
    odd = claim(id="odd", claim="A <b>&</b> B", note='"C" < D')
    page = as_section([*CLAIMS, odd], NUMBERS)
    tags = Tags(page)
    assert tags.open == []
    assert (tags.seen["table"], tags.seen["tr"], tags.seen["svg"]) == (2, 2 + 3, 1 + 3)
    assert "A &lt;b&gt;&amp;&lt;/b&gt; B" in page
    assert page.count("✓ holds") == 2
    assert page.count("✗ does not hold here") == 1
    assert as_section(CLAIMS, made_up_lessons.evidence(0, 1, 2, dice_a=BETTER[:3], dice_b=WORSE[:3])) == ""
    assert as_section([], NUMBERS) == ""


def judged(low: float, high: float, **fields: Any) -> Judgement:
    said = claim(**fields)
    return replace(judge(said, NUMBERS), effect=(low + high) / 2, low=low, high=high)


@pytest.mark.parametrize(
    ("low", "high", "drawn"),
    [
        (0.05, 0.15, "M120.0 9.0H160.0"),
        (0.05, 0.3, "M120.0 9.0H200.0M195 5.0L199 9.0L195 13.0"),  # an arrow points beyond the axis
        (-0.3, -0.05, "M0.0 9.0H80.0M5 5.0L1 9.0L5 13.0"),
    ],
)
def test_an_interval_is_drawn_where_it_lies(low: float, high: float, drawn: str) -> None:
    assert f'd="{drawn}"' in effect(judged(low, high), 200)


def test_the_band_is_where_a_claim_holds() -> None:
    assert '<rect class="band" x="100.0" width="100.0"' in effect(judged(0.05, 0.15), 200)
    assert '<rect class="band" x="0.0" width="120.0"' in effect(judged(0.05, 0.15, bound=0.05, within=True), 200)


def test_a_picture_tells_verdicts_by_form_and_is_the_same_again() -> None:
    claims = {HOLDS: claim(), FAILS: claim(bound=0.95), OPEN: claim(bound=0.8)}
    signs = {}
    for verdict, one in claims.items():
        assert (found := judge(one, NUMBERS)).verdict == verdict
        root = ElementTree.fromstring(picture([found]))  # which would refuse what is not well-formed
        (row,) = (g for g in root.iter() if g.get("transform"))
        *_, sign = row.iter()
        signs[verdict] = (sign.tag.rpartition("}")[2], sign.get("class"))
    assert signs == {HOLDS: ("circle", "mark dot"), FAILS: ("path", "mark"), OPEN: ("circle", "mark dot")}
    assert ".holds .dot { fill: var(--mark); } .open .dot { fill: var(--card); }" in picture([])
    assert picture(judge_all(CLAIMS, NUMBERS)) == picture(judge_all(CLAIMS, NUMBERS))
