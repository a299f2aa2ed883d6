"""What runs add to the evidence, and what of it is committed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.tools.lessons import made_up_lessons
from tests.tools.lessons.made_up_lessons import (
    BETTER,
    CLAIMS,
    ENVIRONMENT,
    FIVE,
    RUN,
    WORSE,
    lesson,
)
from tools.lessons import evidence, parameters
from tools.lessons.__main__ import LESSONS
from tools.lessons.claims import (
    ClaimError,
    problem,
    read_claims,
)
from tools.lessons.ledger import Ledger


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
