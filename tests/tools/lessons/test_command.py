"""The command: wrong options end it with status 2 before anything runs or is written; the check, by its exit status."""

import os
import shutil
from xml.etree import ElementTree

import pytest

from tests.tools.lessons.made_up import BASELINE, BEFORE, command, lesson, notebook, write_results
from tools.lessons import runs
from tools.lessons.checking import read_baseline

HOSTILE = ["../00_a", "/etc/passwd", "*", "", "ö 🧫", "00_a/..", "-rf"]


@pytest.mark.parametrize(
    ("spoil", "content", "options", "complaint"),
    [
        *(
            ("", "", f"--only={name}", f"No lesson starts with '{name}'. The lessons are 00_a, 01_b.")
            for name in HOSTILE
        ),
        ("p.yaml", "00_a: {sseeds: [1]}", "--params p.yaml --out new", "00_a has no parameter 'sseeds'"),
        ("", "", "--in-place --data glas", "--in-place runs the defaults"),
        ("", "", "--in-place --check", "--in-place runs the defaults"),
        ("", "", "--in-place --claims", "--in-place runs the defaults"),
        ("", "", "--earlier run", "with --check, --update, --claims or --site"),
        ("", "", "--earlier run --check --data glas", "as it was"),
        ("", "", "--earlier nowhere --check", "nowhere holds no metrics.json"),
        ("", "", "--earlier run --check --other-seeds run", "--other-seeds is for --update"),
        ("", "", "--out nb", "nb holds other files, the lessons"),
        ("", "", "--out docs", "docs holds other files"),
        ("", "", "--check --data glas --out new", "there is no baseline for data=glas"),
        ("", "", "--claims", "Claims need 5 seeds, and 00_a, 01_b would have fewer"),
        ("nb/claims.yaml", "[]", "--claims --earlier run", "claims.yaml: expected a list of claims"),
        ("nb/claims.yaml", "[]", "", "claims.yaml: expected a list of claims"),
        ("nb/evidence.json", "[]", "--claims --earlier run", "evidence.json is not as --claims writes it"),
        ("docs/claims.md", "[]", "--claims --earlier run", "docs/claims.md holds the lines"),
        ("run/metrics.json", "[]", "--claims --earlier run", "metrics.json is not as this version writes it"),
    ],
)
def test_status_2_before_anything_is_run_or_written(checkout, spoil, content, options, complaint):
    if spoil:
        (checkout / spoil).write_text(content)
    before = {path: path.is_file() and path.read_bytes() for path in checkout.rglob("*")}
    outcome = command("--lessons", "nb", *([options] if "=" in options else options.split()))
    assert outcome.exit_code == 2
    assert complaint in outcome.output
    assert {path: path.is_file() and path.read_bytes() for path in checkout.rglob("*")} == before


def test_data_that_no_lesson_takes_is_refused(tmp_path):
    notebook(tmp_path / "nb", "00_a", "record(x=1)", "seeds = [0]")
    outcome = command("--lessons", tmp_path / "nb", "--data", "glas", "--out", tmp_path / "out")
    assert outcome.exit_code == 2
    assert "none of 00_a has it" in outcome.output


def test_help_explains_every_option():
    outcome = command("--help")
    assert outcome.exit_code == 0
    options = "only data params out in-place check update other-seeds claims earlier timeout jobs lessons".split()
    assert [option for option in options if f"--{option}" not in outcome.output] == []


# The regression check


def earlier(*options):
    return command("--lessons", "nb", "--earlier", "run", *options)


def red(folder):
    """The cases of junit.xml that failed, by name."""
    cases = ElementTree.parse(folder / "junit.xml").iter("testcase")
    return {case.get("name"): found.get("type") for case in cases for found in case.iter("failure")}


def test_a_check_tells_a_run_as_expected_from_one_that_is_worse(checkout):
    outcome = earlier("--check")
    assert outcome.exit_code == 0
    assert "4 of 4 numbers as expected" in outcome.output
    assert red(checkout / "run") == {}
    assert not (checkout / "run" / "expected.json").exists()
    write_results(checkout / "run", BEFORE | {"01_b": lesson(dice=[0.2, 0.2, 0.2])})
    assert earlier("--check").exit_code == 1
    assert red(checkout / "run") == {"dice": "worse"}
    assert earlier("--check", "--only", "00").exit_code == 0


def test_update_proposes_and_leaves_what_is_committed(checkout):
    committed = (checkout / "nb" / "expected.json").read_text()
    write_results(checkout / "run", BEFORE | {"01_b": lesson(dice=[0.2, 0.2, 0.2])})
    write_results(checkout / "more", {"01_b": lesson(chosen={"seeds": [3, 4, 5]}, dice=[0.1, 0.2, 0.3])})
    outcome = earlier("--update", "--other-seeds", "more")
    assert outcome.exit_code == 0  # it does not judge
    assert "0.7 ± 0.02 higher" in outcome.output
    assert "0.2 ± 0.133 higher" in outcome.output
    assert "copy it to nb/expected.json" in outcome.output
    assert (checkout / "nb" / "expected.json").read_text() == committed
    shutil.copy(checkout / "run" / "expected.json", checkout / "nb")
    assert earlier("--check").exit_code == 0
    assert "The proposal is what is committed" in earlier("--update").output
    runs.open_folder(checkout / "run")  # for another run: verdicts of this one do not stay
    assert [path.name for path in (checkout / "run").iterdir()] == ["metrics.json"]


def test_the_first_proposal_needs_no_baseline(checkout):
    (checkout / "nb" / "expected.json").unlink()
    outcome = earlier("--check")
    assert outcome.exit_code == 2
    assert "Propose one with --update" in outcome.output
    assert earlier("--update").exit_code == 0
    proposed = checkout / "run" / "expected.json"
    assert read_baseline(proposed) == BASELINE
    assert ['"value"' in line for line in proposed.read_text().splitlines()].count(True) == 4  # a line per metric


@pytest.mark.slow
def test_a_fault_in_the_code_that_a_lesson_runs_is_red(tmp_path, monkeypatch):
    code, faulty = (
        "from random import Random\ndef dice(seed): return Random(seed).gauss({}, 0.01)\n",
        tmp_path / "faulty",
    )
    for folder, mean in ((tmp_path, 0.8), (faulty, 0.6)):
        folder.mkdir(exist_ok=True)
        (folder / "kernel.py").write_text(code.format(mean))
    lessons = notebook(
        tmp_path / "nb", "00_kernel", "import kernel\nrecord(dice=[kernel.dice(x) for x in seeds])"
    ).parent
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    assert command("--lessons", lessons, "--out", tmp_path / "first", "--update").exit_code == 0
    shutil.copy(tmp_path / "first" / "expected.json", lessons)
    outcome = command("--lessons", lessons, "--out", tmp_path / "second", "--check")
    assert outcome.exit_code == 0, outcome.output
    assert "Regression check passed: 1 of 1 numbers as expected." in outcome.output
    monkeypatch.setenv("PYTHONPATH", str(faulty), prepend=os.pathsep)
    outcome = command("--lessons", lessons, "--out", tmp_path / "third", "--check")
    assert outcome.exit_code == 1
    assert "1 of 1 lessons ran to their end" in outcome.output  # the lesson runs: only its number tells
    assert red(tmp_path / "third") == {"dice": "worse"}
