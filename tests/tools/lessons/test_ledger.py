"""The ledger of claims as a command: its exit status and its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.tools.lessons.made_up_lessons import (
    BETTER,
    FIVE,
    WORSE,
    lesson,
    metrics_json,
)
from tests.tools.lessons.tiny_lessons import command, notebook
from tools.lessons import evidence
from tools.lessons.claims_report import BEGIN, END

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
