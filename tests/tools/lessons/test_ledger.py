"""The ledger: what runs add to the evidence, what docs/claims.md says of it, and the command that writes both."""

import json
import re
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
import yaml

from tests.tools.lessons import made_up
from tests.tools.lessons.made_up import BETTER, CLAIMS, FIVE, MACHINE, NUMBERS, RUN, WORSE, claim, command, lesson
from tools.lessons import LessonsError, ledger, parameters
from tools.lessons.__main__ import LESSONS
from tools.lessons.claims import judge_claims, problem, read_claims
from tools.lessons.ledger import BEGIN, END, as_json, merge, of_run, read_evidence, replace_block
from tools.lessons.report import PAGE

# The evidence


@pytest.mark.parametrize(
    ("run", "complaint"),
    [
        ({"00_a": lesson(chosen=FIVE, dice_a=BETTER, dice_b=WORSE)}, "below_c: 00_a did not record dice_c"),
        ({"01_b": lesson("cell 3: KeyError", chosen=FIVE, f1=BETTER)}, "none has run to its end here"),
        ({"02_c": RUN["02_c"]}, "There is nothing to take"),
    ],
)
def test_a_run_that_does_not_allow_to_judge_is_not_taken(run, complaint):
    with pytest.raises(LessonsError, match=complaint):
        merge({}, of_run(run, MACHINE), CLAIMS)


TEXT = as_json(NUMBERS)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        *((text, "not as --claims writes it") for text in ("{", "[]", '{"00_a": {}}', '{"00_a": {"metrics": {}}}')),
        *((TEXT.replace("0.77", x), "00_a, dice_a: expected numbers") for x in ("NaN", "Infinity", '"0.8"', "true")),
    ],
)
def test_other_files_are_no_evidence(tmp_path, text, complaint):
    (tmp_path / "evidence.json").write_text(text)
    with pytest.raises(LessonsError, match=rf"evidence\.json.*{complaint}"):
        read_evidence(tmp_path / "evidence.json")


# The page's block


def as_markdown(claims, numbers):
    text = ledger.as_markdown(claims, judge_claims(claims, numbers), numbers, "at a size", "nb/claims.svg")
    return text.replace("\u00a0", " ")


def test_the_block_counts_and_says_at_what_size():
    text = " ".join(as_markdown(CLAIMS, NUMBERS).split())
    effect, against = "0.8 to 0.7 | +0.100 (+0.075 to +0.125);", "against dice b, to be below 0.050,"
    for told in (
        "Of 2 claims of the papers 1 holds, 1 does not hold here and 0 are inconclusive.",
        "1 more cannot be judged by these numbers.",
        "over 5 seeds, on phantom slides, at a size:",
        "](nb/claims.svg)",
        f"| A beats B. (Table 1) | {effect} 5.0 sd, n = 5 | ✓ holds |",
        f"| A beats B. (Table 1) *C is ours.* | {effect} {against} 5.0 sd, n = 5 | ✗ does not hold here |",
        "<summary>SIC: 0 hold, 1 does not hold here and 0 are inconclusive</summary>",
    ):
        assert told in text
    assert "on glas," in as_markdown(CLAIMS, {"00_a": replace(NUMBERS["00_a"], parameters={"data": "glas"})})


def test_cells_keep_their_borders():
    odd = claim(claim="P(A|B) < 1_000 & so on", published="a|b")
    (row,) = (line for line in as_markdown([odd], NUMBERS).splitlines() if line.startswith("| P"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 5
    assert "P(A\\|B) &lt; 1\\_000" in row


def test_the_page_keeps_what_is_around_its_block():
    page = f"# Title\n\n{BEGIN}\nold\n{END}\n\n## More\n"
    assert replace_block(page, "new") == f"# Title\n\n{BEGIN}\n\nnew\n\n{END}\n\n## More\n"
    for spoilt in ("", BEGIN, f"{END}\n{BEGIN}", page + END, page.replace(BEGIN, BEGIN + BEGIN)):
        with pytest.raises(LessonsError, match="put them back"):
            replace_block(spoilt, "new")


# The command


def take(results):
    made_up.write_results(Path("run"), results)
    return command("--lessons", "nb", "--claims", "--earlier", "run")


def test_earlier_runs_are_taken_into_evidence_and_page_lesson_by_lesson(checkout):
    evidence, page = checkout / "nb" / "evidence.json", checkout / "docs" / "claims.md"
    outcome = take({"00_a": lesson(chosen=FIVE, dice_a=BETTER)})
    assert outcome.exit_code == 2
    assert "a_00_a: 00_a did not record dice_b" in outcome.output
    assert not evidence.exists()
    outcome = take(RUN)
    assert outcome.exit_code == 0
    assert "a_01_b: 01_b has not been run to its end." in outcome.output
    assert "Of 1 claims 1 holds" in outcome.output
    assert page.read_text().startswith(f"# Title\n\n{BEGIN}\n\nOf 1 claims of the papers 1 holds")
    assert "](claims.svg)" in page.read_text()
    assert page.with_name("claims.svg").exists()
    lines = [line.split(":")[0].strip() for line in evidence.read_text().splitlines() if '"values"' in line]
    assert lines == ['"dice_a"', '"dice_b"', '"dice_c"']  # one per metric
    (taken,) = read_evidence(evidence).values()  # no claim names 02_c
    assert (taken.parameters, taken.date) == ({"data": "phantom", "epochs": 8, **FIVE}, "2026-02-03")
    assert taken.versions == {"python": "3.11.9", "torch": "2.6.0", "numpy": "2.1.0"}
    assert taken.values == {"dice_a": BETTER, "dice_b": WORSE, "dice_c": [0.8] * 5}
    for values, told in ((BETTER[::-1], "is inconclusive"), (WORSE, "does not hold here")):
        outcome = take({"01_b": lesson(chosen=FIVE, dice_a=values, dice_b=BETTER)})
        assert outcome.exit_code == 0  # a claim that does not hold is no failure
        assert "Of 2 claims 1 holds" in outcome.output
        assert f"1 {told}" in outcome.output
        known = read_evidence(evidence)
        assert (known["00_a"], known["01_b"].values["dice_a"]) == (taken, values)


@pytest.mark.slow
def test_a_run_of_its_own_is_judged_on_its_page_and_taken(checkout):
    (checkout / "five.yaml").write_text(yaml.safe_dump({"all": FIVE}))
    made_up.notebook(checkout / "nb", "01_b", "raise KeyError('dice')")
    outcome = command("--lessons", "nb", "--params", "five.yaml", "--out", "new", "--claims")
    assert outcome.exit_code == 1  # 01_b failed
    assert "01_b failed: the evidence keeps its earlier numbers." in outcome.output
    assert (checkout / "new" / PAGE).read_text().count("✓ holds") == 1
    assert (checkout / "new" / "claims.svg").exists()
    assert len(read_evidence(checkout / "nb" / "evidence.json")["00_a"].values["dice_a"]) == 5
    assert "1 holds" in (checkout / "docs" / "claims.md").read_text()
    assert command("--lessons", "nb", "--only", "00", "--out", "three").exit_code == 0
    assert "claim" not in (checkout / "three" / PAGE).read_text()  # three seeds judge nothing


# What is committed


def test_the_page_and_its_figure_say_what_the_evidence_says():
    known, claims = read_evidence(LESSONS / ledger.EVIDENCE), read_claims(LESSONS / "claims.yaml")
    assert (len(claims) >= 25, len({one.paper for one in claims})) == (True, 5)
    assert [told for one in claims if one.lesson in known and (told := problem(one, known))] == []
    rendered = ledger.rendered(LESSONS, claims, known)
    page = LESSONS.parent / ledger.PAGE
    assert page.read_bytes() == rendered[page], "run: make claims EARLIER=runs/…"
    figure = page.with_name(ledger.FIGURE)
    # Lines may differ by matplotlib's version, numbers may not.
    texts = [re.findall("<text.*?>(.*?)</text>", svg.decode()) for svg in (figure.read_bytes(), rendered[figure])]
    assert len(texts[0]) > 2 * len(judge_claims(claims, known))
    assert texts[0] == texts[1]


def test_committed_evidence_was_run_as_the_lessons_and_their_parameter_file_say():
    paths = sorted(LESSONS.glob("*.ipynb"))
    declared = {path.stem: parameters.declared(nbformat.read(path, as_version=4), path.stem) for path in paths}
    chosen = parameters.read_parameter_file(LESSONS / ledger.RUN_PARAMETERS, declared)
    for stem, ran in read_evidence(LESSONS / ledger.EVIDENCE).items():
        now = json.loads(json.dumps(declared[stem] | chosen[stem]))
        assert {name: now.get(name) for name in ran.parameters} == ran.parameters, stem
