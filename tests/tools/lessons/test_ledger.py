"""The ledger: what runs add to the evidence, what docs/claims.md says of it, and the command that writes both."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from tests.tools.lessons import made_up_lessons
from tests.tools.lessons.made_up_lessons import BETTER, CLAIMS, FIVE, MACHINE, NUMBERS, RUN, WORSE, claim, lesson, write
from tests.tools.lessons.tiny_lessons import command, notebook
from tools.lessons import LessonsError, ledger, parameters
from tools.lessons.__main__ import LESSONS
from tools.lessons.claims import Claim, Ledger, judge_claims, problem, read_claims
from tools.lessons.ledger import BEGIN, END, as_json, merge, of_run, read_evidence, replace_block

# The evidence


def test_a_run_is_taken_in_lesson_by_lesson() -> None:
    first = merge({}, of_run(RUN, MACHINE), CLAIMS)
    assert list(first) == ["00_a"]  # no claim names 02_c
    assert first["00_a"].parameters == {"data": "phantom", "epochs": 8, **FIVE}
    assert first["00_a"].date == "2026-02-03"
    assert first["00_a"].versions == {"python": "3.11.9", "torch": "2.6.0", "numpy": "2.1.0"}
    assert first["00_a"].values["dice_a"] == BETTER
    second = merge(first, of_run({"01_b": lesson(chosen=FIVE, f1=WORSE)}, MACHINE), CLAIMS)
    assert second["00_a"] == first["00_a"]
    assert second["01_b"].values == {"f1": WORSE}
    again = merge(second, of_run({"01_b": lesson(chosen=FIVE, f1=BETTER)}, MACHINE), CLAIMS)
    assert again["01_b"].values == {"f1": BETTER}


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
    with pytest.raises(LessonsError, match=complaint):
        merge({}, of_run(run, MACHINE), CLAIMS)


def test_evidence_has_one_line_per_metric_and_is_read_as_it_was(tmp_path: Path) -> None:
    known = merge({}, of_run(RUN, MACHINE), CLAIMS)
    text = as_json(known)
    assert sum('"values"' in line for line in text.splitlines()) == text.count('"values"') == 3
    (tmp_path / "evidence.json").write_text(text)
    assert read_evidence(tmp_path / "evidence.json") == known
    assert read_evidence(tmp_path / "none.json") == {}


@pytest.mark.parametrize("text", ["{", "[]", '{"00_a": {}}', '{"00_a": {"parameters": 3, "metrics": {}}}'])
def test_other_files_are_no_evidence(tmp_path: Path, text: str) -> None:
    (tmp_path / "evidence.json").write_text(text)
    with pytest.raises(LessonsError, match=r"evidence\.json is not as --claims writes it"):
        read_evidence(tmp_path / "evidence.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.8", True, None])
def test_evidence_is_numbers(tmp_path: Path, value: Any) -> None:
    text = as_json(made_up_lessons.evidence(dice_a=BETTER)).replace("0.77", json.dumps(value))
    (tmp_path / "evidence.json").write_text(text)
    with pytest.raises(LessonsError, match="00_a, dice_a: expected numbers"):
        read_evidence(tmp_path / "evidence.json")


# The page's block


def as_markdown(claims: list[Claim], numbers: Ledger) -> str:
    return ledger.as_markdown(claims, judge_claims(claims, numbers), numbers, "at a size", "nb/claims.svg")


def test_markdown_counts_and_says_at_what_size() -> None:
    text = " ".join(as_markdown(CLAIMS, NUMBERS).replace("\u00a0", " ").split())
    assert "Of 2 claims of the papers 1 holds, 1 does not hold here and 0 are inconclusive." in text
    assert "1 more cannot be judged by these numbers." in text
    assert "over 5 seeds, on phantom slides, at a size:" in text
    assert "](nb/claims.svg)" in text
    told = "0.8 to 0.7 | +0.100 (+0.075 to +0.125);"
    assert f"| A beats B. (Table 1) | {told} 5.0 sd, n = 5 | ✓ holds |" in text
    against = "against dice b, to be below 0.050, 5.0 sd, n = 5"
    assert f"| A beats B. (Table 1) *C is ours.* | {told} {against} | ✗ does not hold here |" in text
    assert "<summary>SIC: 0 hold, 1 does not hold here and 0 are inconclusive</summary>" in text


def test_other_tissue_is_told() -> None:
    glas = {"00_a": replace(NUMBERS["00_a"], parameters={"data": "glas"})}
    assert "on glas," in as_markdown(CLAIMS, glas)


def test_cells_keep_their_borders() -> None:
    odd = claim(claim="P(A|B) < 1_000 & so on", published="a|b")
    (row,) = (line for line in as_markdown([odd], NUMBERS).splitlines() if line.startswith("| P"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 5
    assert "P(A\\|B) &lt; 1\\_000" in row


def test_the_page_keeps_what_is_around_its_block() -> None:
    page = f"# Title\n\n{BEGIN}\nold\n{END}\n\n## More\n"
    assert replace_block(page, "new") == f"# Title\n\n{BEGIN}\n\nnew\n\n{END}\n\n## More\n"
    assert replace_block(replace_block(page, "new"), "new") == replace_block(page, "new")
    for spoilt in ("", BEGIN, f"{END}\n{BEGIN}", page + END, page.replace(BEGIN, BEGIN + BEGIN)):
        with pytest.raises(LessonsError, match="put them back"):
            replace_block(spoilt, "new")


# The command

DEFAULTS = "data = 'phantom'\nseeds = [0, 1, 2]\nepochs = 8"
LESSON = """
from random import Random
noise = [Random(seed).gauss(0, 0.01) for seed in seeds]
record(dice_a=[0.8 + x for x in noise], dice_b=[0.7 - x for x in noise])
"""


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
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "claims.md").write_text(f"# Title\n\n{BEGIN}\n{END}\n")
    write(tmp_path / "run", {"00_a": lesson(chosen=FIVE, dice_a=BETTER, dice_b=WORSE)})
    return tmp_path


def test_an_earlier_run_is_taken_into_evidence_and_page(checkout: Path) -> None:
    outcome = command("--lessons", "nb", "--claims", "--earlier", "run")
    assert outcome.exit_code == 0
    assert "a_01_b: 01_b has not been run to its end." in outcome.output
    assert "Of 1 claims 1 holds" in outcome.output
    assert list(read_evidence(checkout / "nb" / "evidence.json")) == ["00_a"]
    first = (checkout / "docs" / "claims.md").read_text()
    assert first.startswith(f"# Title\n\n{BEGIN}\n\nOf 1 claims of the papers 1 holds")
    assert "](claims.svg)" in first
    assert (checkout / "docs" / "claims.svg").exists()
    write(checkout / "run", {"01_b": lesson(chosen=FIVE, dice_a=WORSE, dice_b=BETTER)})
    outcome = command("--lessons", "nb", "--claims", "--earlier", "run")
    assert outcome.exit_code == 0  # a claim that does not hold is no failure
    assert "Of 2 claims 1 holds, 1 does not hold here" in outcome.output
    assert list(read_evidence(checkout / "nb" / "evidence.json")) == ["00_a", "01_b"]


@pytest.mark.parametrize(
    ("spoil", "options", "complaint"),
    [
        ("", ["--claims"], "Claims need 5 seeds, and 00_a, 01_b would have fewer. Run the lessons with --params"),
        ("", ["--claims", "--in-place"], "--in-place runs the defaults"),
        ("nb/claims.yaml", ["--claims", "--earlier", "run"], "claims.yaml: expected a list of claims"),
        ("nb/claims.yaml", [], "claims.yaml: expected a list of claims"),
        ("docs/claims.md", ["--claims", "--earlier", "run"], "docs/claims.md holds the lines"),
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
    write(checkout / "run", {"00_a": lesson(chosen=FIVE, dice_a=BETTER)})
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
    assert (checkout / "new" / "claims.svg").exists()
    known = read_evidence(checkout / "nb" / "evidence.json")
    assert len(known["00_a"].values["dice_a"]) == 5
    assert "1 holds" in (checkout / "docs" / "claims.md").read_text()

    assert command("--lessons", "nb", "--only", "00", "--out", "three").exit_code == 0
    page = (checkout / "three" / "index.html").read_text()  # three seeds judge nothing
    assert "claim" not in page


# What is committed


def test_the_page_and_its_picture_say_what_the_evidence_says() -> None:
    known, claims = read_evidence(LESSONS / ledger.EVIDENCE), read_claims(LESSONS / "claims.yaml")
    rendered = ledger.rendered(LESSONS, claims, known)
    page = LESSONS.parent / ledger.PAGE
    assert page.read_bytes() == rendered[page], "run: make claims EARLIER=runs/…"
    picture = page.with_name(ledger.PICTURE)
    # Lines may differ by matplotlib's version, numbers may not.
    texts = [re.findall("<text.*?>(.*?)</text>", svg.decode()) for svg in (picture.read_bytes(), rendered[picture])]
    assert len(texts[0]) > 2 * len(judge_claims(claims, known))
    assert texts[0] == texts[1]


def test_committed_evidence_judges_every_claim_on_its_lessons() -> None:
    known = read_evidence(LESSONS / ledger.EVIDENCE)
    complaints = [problem(one, known) for one in read_claims(LESSONS / "claims.yaml") if one.lesson in known]
    assert [complaint for complaint in complaints if complaint] == []


def test_committed_evidence_was_run_as_the_lessons_and_their_parameter_file_say() -> None:
    known = read_evidence(LESSONS / ledger.EVIDENCE)
    if not known:
        return
    declared = {
        path.stem: parameters.declared(nbformat.read(path, as_version=4), path.stem)
        for path in sorted(LESSONS.glob("*.ipynb"))
    }
    chosen = parameters.read_parameter_file(LESSONS / ledger.RUN_PARAMETERS, declared)
    for stem, ran in known.items():
        now = json.loads(json.dumps(declared[stem] | chosen[stem]))
        moved = {name: (ran.parameters[name], now.get(name)) for name in ran.parameters}
        assert {name: pair for name, pair in moved.items() if pair[0] != pair[1]} == {}, stem
