"""The ledger of claims: what a run adds to the evidence, what README and index.html say of it, and the command."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nbformat
import pytest
import yaml
from typer.testing import CliRunner

from histolab_lite.notebooks import claims_report, evidence, parameters
from histolab_lite.notebooks.__main__ import LESSONS, app
from histolab_lite.notebooks.claims import (
    FAILS,
    HOLDS,
    OPEN,
    ClaimError,
    Judgement,
    judge,
    judge_all,
    problem,
    read_claims,
)
from histolab_lite.notebooks.claims_page import as_section
from histolab_lite.notebooks.claims_picture import effect, picture
from histolab_lite.notebooks.claims_report import BEGIN, END, as_markdown, replace_block, show
from histolab_lite.notebooks.ledger import Ledger
from tests import made_up_lessons
from tests.made_up_lessons import claim, lesson, metrics_json
from tests.test_notebook_check import notebook

FIVE = {"seeds": [0, 1, 2, 3, 4]}
BETTER, WORSE = [0.81, 0.79, 0.83, 0.8, 0.77], [0.72, 0.68, 0.7, 0.71, 0.69]
CLAIMS = [
    claim(beats=("dice_b",)),
    claim(id="below_c", paper="SIC", beats=("dice_b", "dice_c"), within=True, bound=0.05, note="C is ours."),
    claim(id="other", paper="MLPS", lesson="01_b", metric="f1"),
]
RUN = {"00_a": lesson(chosen=FIVE, dice_a=BETTER, dice_b=WORSE, dice_c=[0.8] * 5), "02_c": lesson(dice=0.5)}
NUMBERS = made_up_lessons.evidence(0, 1, 2, 3, 4, dice_a=BETTER, dice_b=WORSE, dice_c=[0.8] * 5)
ENVIRONMENT = json.loads(metrics_json({}))["environment"]


# Evidence


def test_a_run_is_taken_in_lesson_by_lesson() -> None:
    first = evidence.take({}, evidence.of_run(RUN, ENVIRONMENT), CLAIMS)
    assert list(first) == ["00_a"]  # no claim names 02_c
    assert first["00_a"]["parameters"] == {"data": "phantom", "epochs": 8, **FIVE}
    assert first["00_a"]["date"] == "2026-02-03"
    assert first["00_a"]["versions"] == {"python": "3.11.9", "torch": "2.6.0", "numpy": "2.1.0"}
    assert first["00_a"]["metrics"]["dice_a"] == {"values": BETTER}
    second = evidence.take(first, evidence.of_run({"01_b": lesson(chosen=FIVE, f1=WORSE)}, ENVIRONMENT), CLAIMS)
    assert second["00_a"] == first["00_a"]
    assert second["01_b"]["metrics"]["f1"] == {"values": WORSE}
    again = evidence.take(second, evidence.of_run({"01_b": lesson(chosen=FIVE, f1=BETTER)}, ENVIRONMENT), CLAIMS)
    assert again["01_b"]["metrics"]["f1"] == {"values": BETTER}


@pytest.mark.parametrize(
    ("run", "complaint"),
    [
        ({"00_a": lesson(chosen=FIVE, dice_a=BETTER, dice_b=WORSE)}, "below_c: 00_a did not record dice_c"),
        ({"01_b": lesson(f1=[0.1, 0.2, 0.3])}, "other: f1 of 01_b needs 5 seeds, and has 3"),
        ({"01_b": lesson("cell 3: KeyError", chosen=FIVE, f1=BETTER)}, "none has run to its end here"),
        ({"02_c": RUN["02_c"]}, "There is nothing to take"),
    ],
)
def test_a_run_that_does_not_allow_to_judge_is_not_taken(run: Any, complaint: str) -> None:
    with pytest.raises(ClaimError, match=complaint):
        evidence.take({}, evidence.of_run(run, ENVIRONMENT), CLAIMS)


def test_evidence_has_one_line_a_metric_and_is_read_as_it_was(tmp_path: Path) -> None:
    known = evidence.take({}, evidence.of_run(RUN, ENVIRONMENT), CLAIMS)
    text = evidence.as_text(known)
    assert sum('"values"' in line for line in text.splitlines()) == text.count('"values"') == 3
    (tmp_path / "evidence.json").write_text(text)
    assert evidence.read_evidence(tmp_path / "evidence.json") == known
    assert evidence.read_evidence(tmp_path / "none.json") == {}


@pytest.mark.parametrize("text", ["{", "[]", '{"00_a": {}}', '{"00_a": {"parameters": 3, "metrics": {}}}'])
def test_other_files_are_no_evidence(tmp_path: Path, text: str) -> None:
    (tmp_path / "evidence.json").write_text(text)
    with pytest.raises(ClaimError, match=r"evidence\.json is not as --claims writes it"):
        evidence.read_evidence(tmp_path / "evidence.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.8", True, None])
def test_evidence_is_numbers(tmp_path: Path, value: Any) -> None:
    spoilt = made_up_lessons.evidence(dice_a=[*BETTER[:4], value])
    (tmp_path / "evidence.json").write_text(json.dumps(spoilt))
    with pytest.raises(ClaimError, match="00_a, dice_a: expected numbers"):
        evidence.read_evidence(tmp_path / "evidence.json")


# What is told


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


# The command

DEFAULTS = "data = 'phantom'\nseeds = [0, 1, 2]\nepochs = 8"
LESSON = """
from random import Random
noise = [Random(seed).gauss(0, 0.01) for seed in seeds]
record(dice_a=[0.8 + x for x in noise], dice_b=[0.7 - x for x in noise])
"""


def command(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with two lessons, one claim on each, and the results of a run of the first."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for stem in ("00_a", "01_b"):
        notebook(tmp_path / "nb", stem, LESSON, DEFAULTS)
    entry = {"paper": "CVM", "where": "Table 1", "claim": "A beats B.", "published": "0.8 to 0.7", "metric": "dice_a"}
    entries = [entry | {"id": f"a_{stem}", "lesson": stem, "beats": "dice_b"} for stem in ("00_a", "01_b")]
    (tmp_path / "nb" / "claims.yaml").write_text(yaml.safe_dump(entries))
    (tmp_path / "README.md").write_text(f"# Title\n\n{BEGIN}\n{END}\n")
    (tmp_path / "run").mkdir()
    write_run(tmp_path, {"00_a": lesson(chosen=FIVE, dice_a=BETTER, dice_b=WORSE)})
    return tmp_path


def write_run(checkout: Path, lessons: Any) -> None:
    (checkout / "run" / "metrics.json").write_text(metrics_json(lessons))


def test_an_earlier_run_is_taken_into_evidence_and_readme(checkout: Path) -> None:
    outcome = command("--lessons", "nb", "--claims", "--earlier", "run")
    assert outcome.exit_code == 0
    assert "a_01_b: 01_b has not been run to its end." in outcome.output
    assert "Of 1 claims 1 holds" in outcome.output
    assert list(evidence.read_evidence(checkout / "nb" / "evidence.json")) == ["00_a"]
    first = (checkout / "README.md").read_text()
    assert first.startswith(f"# Title\n\n{BEGIN}\n\nOf 1 claims of the papers 1 holds")
    assert "](nb/claims.svg)" in first
    assert (checkout / "nb" / "claims.svg").exists()
    write_run(checkout, {"01_b": lesson(chosen=FIVE, dice_a=WORSE, dice_b=BETTER)})
    outcome = command("--lessons", "nb", "--claims", "--earlier", "run")
    assert outcome.exit_code == 0  # a claim that does not hold is no failure
    assert "Of 2 claims 1 holds, 1 does not hold here" in outcome.output
    assert list(evidence.read_evidence(checkout / "nb" / "evidence.json")) == ["00_a", "01_b"]


@pytest.mark.parametrize(
    ("spoil", "options", "complaint"),
    [
        ("", ["--claims"], "Claims need 5 seeds, and 00_a, 01_b would have fewer. Run the lessons with --params"),
        ("", ["--claims", "--in-place"], "--in-place runs the defaults"),
        ("nb/claims.yaml", ["--claims", "--earlier", "run"], "claims.yaml: expected a list of claims"),
        ("nb/claims.yaml", [], "claims.yaml: expected a list of claims"),
        ("README.md", ["--claims", "--earlier", "run"], "README.md holds the lines"),
        ("nb/evidence.json", ["--claims", "--earlier", "run"], "evidence.json is not as --claims writes it"),
        ("run/metrics.json", ["--claims", "--earlier", "run"], "metrics.json is not as this version writes it"),
    ],
)
def test_status_2_before_anything_is_run_or_written(
    checkout: Path, spoil: str, options: list[str], complaint: str
) -> None:
    if spoil:
        (checkout / spoil).write_text("[]")
    before = {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()}
    outcome = command("--lessons", "nb", *options)
    assert outcome.exit_code == 2
    assert complaint in outcome.output
    assert {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()} == before


def test_a_run_that_lacks_a_metric_is_told_and_not_taken(checkout: Path) -> None:
    write_run(checkout, {"00_a": lesson(chosen=FIVE, dice_a=BETTER)})
    outcome = command("--lessons", "nb", "--claims", "--earlier", "run")
    assert outcome.exit_code == 2
    assert "a_00_a: 00_a did not record dice_b" in outcome.output
    assert not (checkout / "nb" / "evidence.json").exists()


@pytest.mark.slow
def test_a_run_of_its_own_is_judged_in_index_html_and_taken(checkout: Path) -> None:
    (checkout / "five.yaml").write_text(yaml.safe_dump({"all": FIVE}))
    notebook(checkout / "nb", "01_b", "raise KeyError('dice')", DEFAULTS)
    outcome = command("--lessons", "nb", "--params", "five.yaml", "--out", "new", "--claims")
    assert outcome.exit_code == 1  # 01_b failed
    assert "01_b failed: the evidence keeps what it had of it." in outcome.output
    page = (checkout / "new" / "index.html").read_text()
    assert page.count("✓ holds") == 1
    assert "--holds:" in page
    known = evidence.read_evidence(checkout / "nb" / "evidence.json")
    assert len(known["00_a"]["metrics"]["dice_a"]["values"]) == 5
    assert "1 holds" in (checkout / "README.md").read_text()

    assert command("--lessons", "nb", "--only", "00", "--out", "three").exit_code == 0
    page = (checkout / "three" / "index.html").read_text()  # three seeds judge nothing
    assert "claims" not in page


# What is committed


def test_readme_says_what_the_evidence_says() -> None:
    ledger = Ledger.read(LESSONS, to_write=True)
    known = evidence.read_evidence(LESSONS / evidence.EVIDENCE)
    rendered = ledger.rendered(known)
    assert ledger.readme.read_text(encoding="utf-8") == rendered.pop(ledger.readme), "run: make claims EARLIER=runs/…"
    for path, text in rendered.items():
        assert path.exists() == bool(known)
        assert not known or path.read_text(encoding="utf-8") == text


def test_committed_evidence_judges_every_claim_on_its_lessons() -> None:
    known = evidence.read_evidence(LESSONS / evidence.EVIDENCE)
    complaints = [problem(one, known) for one in read_claims(LESSONS / "claims.yaml") if one.lesson in known]
    assert [complaint for complaint in complaints if complaint] == []


def test_committed_evidence_was_run_as_the_lessons_and_their_parameter_file_say() -> None:
    known = evidence.read_evidence(LESSONS / evidence.EVIDENCE)
    if not known:
        return
    declared = {
        path.stem: parameters.declared(nbformat.read(path, as_version=4), path.stem)
        for path in sorted(LESSONS.glob("*.ipynb"))
    }
    chosen = parameters.read_parameter_file(LESSONS / evidence.RUN_PARAMETERS, declared)
    for stem, ran in known.items():
        now = json.loads(json.dumps(declared[stem] | chosen[stem]))
        moved = {name: (ran["parameters"][name], now.get(name)) for name in ran["parameters"]}
        assert {name: pair for name, pair in moved.items() if pair[0] != pair[1]} == {}, stem
