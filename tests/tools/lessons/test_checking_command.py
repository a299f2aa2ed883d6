"""The regression check as a command: its exit status and its files, in noise and with a fault in a kernel."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

import histolab_lite
from tests.tools.lessons.made_up_lessons import BEFORE, lesson, write
from tests.tools.lessons.tiny_lessons import command, notebook
from tools.lessons import runs
from tools.lessons.checking import as_json, propose, read_baseline

BASELINE = propose(BEFORE, {})


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with lessons of the names and defaults of BEFORE, its baseline, and the results of a run."""
    for stem in BEFORE:
        notebook(tmp_path / "nb", stem, "record(dice=0.8)", "data = 'phantom'\nseeds = [0, 1, 2]\nepochs = 8")
    (tmp_path / "nb" / "expected.json").write_text(as_json(BASELINE))
    write(tmp_path / "run", BEFORE)
    return tmp_path


def earlier(checkout: Path, *options: str) -> Any:
    return command("--lessons", checkout / "nb", "--earlier", checkout / "run", *options)


def test_status_0_where_all_is_as_expected(checkout: Path) -> None:
    outcome = earlier(checkout, "--check")
    assert outcome.exit_code == 0
    assert "4 of 4 numbers as expected" in outcome.output
    assert ElementTree.parse(checkout / "run" / "junit.xml").getroot().get("failures") == "0"
    assert not (checkout / "run" / "expected.json").exists()


def test_status_1_where_a_number_is_worse(checkout: Path) -> None:
    worse = BEFORE | {"01_b": lesson(dice=[0.2, 0.2, 0.2])}
    write(checkout / "run", worse)
    assert earlier(checkout, "--check").exit_code == 1
    assert ElementTree.parse(checkout / "run" / "junit.xml").getroot().get("failures") == "1"
    assert earlier(checkout, "--check", "--only", "00").exit_code == 0
    assert earlier(checkout, "--update").exit_code == 0  # it does not judge


def test_update_proposes_and_leaves_what_is_committed(checkout: Path) -> None:
    committed = (checkout / "nb" / "expected.json").read_text()
    other = BEFORE | {"01_b": lesson(dice=[0.2, 0.2, 0.2])}
    write(checkout / "run", other)
    outcome = earlier(checkout, "--update")
    assert "0.7 ± 0.02 higher" in outcome.output
    assert "0.2 ± 0.02 higher" in outcome.output
    assert f"copy it to {checkout / 'nb' / 'expected.json'}" in outcome.output
    assert (checkout / "nb" / "expected.json").read_text() == committed
    shutil.copy(checkout / "run" / "expected.json", checkout / "nb")
    assert earlier(checkout, "--check").exit_code == 0
    assert "The proposal is what is committed" in earlier(checkout, "--update").output


def test_the_first_proposal_needs_no_baseline(checkout: Path) -> None:
    (checkout / "nb" / "expected.json").unlink()
    outcome = earlier(checkout, "--check")
    assert outcome.exit_code == 2
    assert "Propose one with --update" in outcome.output
    assert earlier(checkout, "--update").exit_code == 0
    assert read_baseline(checkout / "run" / "expected.json") == BASELINE


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--check", "--in-place"], "--in-place runs the defaults"),
        (["--earlier", "run"], "with --check, --update or --claims"),
        (["--earlier", "run", "--check", "--data", "glas"], "as it was"),
        (["--earlier", "nowhere", "--check"], "nowhere holds no metrics.json"),
        (["--earlier", "run", "--check", "--only", "07"], "No lesson starts with '07'"),
        (["--out", "nb"], "nb holds other files, the lessons"),
        (["--earlier", "run", "--check", "--other-seeds", "run"], "--other-seeds is for --update"),
        (["--check", "--data", "glas", "--out", "new"], "there is no baseline for data=glas"),
    ],
)
def test_status_2_before_anything_runs(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], complaint: str
) -> None:
    monkeypatch.chdir(checkout)
    monkeypatch.setenv("COLUMNS", "200")
    outcome = command("--lessons", "nb", *options)
    assert outcome.exit_code == 2
    assert complaint in outcome.output
    assert sorted(path.name for path in checkout.iterdir()) == ["nb", "run"]
    assert [path.name for path in (checkout / "run").iterdir()] == ["metrics.json"]


def test_verdicts_of_an_earlier_run_are_not_left_in_its_folder(checkout: Path) -> None:
    assert earlier(checkout, "--check", "--update").exit_code == 0
    runs.open_folder(checkout / "run")
    assert [path.name for path in (checkout / "run").iterdir()] == ["metrics.json"]


# Noise and a planted fault, by the real runner on a kernel of this repository

LESSON = """
import torch
from histolab_lite.kernels.nearest_prototype import nearest_prototype

def named_right(seed):
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(5, (300,), generator=draw)
    patches = torch.eye(8)[labels] + 0.4 * torch.randn(300, 8, generator=draw)
    prototypes = torch.eye(8)[:5] * torch.arange(1.0, 6.0)[:, None]  # centres of clusters differ in length
    nearest, _ = nearest_prototype(patches, prototypes)
    return (nearest == labels).float().mean()

record(accuracy=torch.stack([named_right(seed) for seed in seeds]), patches=300)
"""
RIGHT, WRONG = "F.normalize(prototypes, dim=1), None", "prototypes, None"  # cosine similarity without the cosine


def with_a_fault(folder: Path) -> Path:
    """A copy of the package in which one line of a kernel is wrong; returns the folder to import it from."""
    package = Path(histolab_lite.__file__).parent
    shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("weights", "__pycache__"))
    kernel = folder / package.name / "kernels" / "nearest_prototype" / "cpu.py"
    source = kernel.read_text()
    assert source.count(RIGHT) == 1, "the kernel has been rewritten: plant the fault in another of its lines"
    kernel.write_text(source.replace(RIGHT, WRONG))
    return folder


@pytest.mark.slow
def test_noise_is_green_and_a_broken_kernel_is_red(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lessons = tmp_path / "nb"
    notebook(lessons, "00_kernel", LESSON, "seeds = [0, 1, 2]")

    def run(name: str, *options: str | Path, seeds: list[int]) -> Any:
        (tmp_path / "seeds.yaml").write_text(yaml.safe_dump({"all": {"seeds": seeds}}))
        chosen = ["--params", tmp_path / "seeds.yaml", "--out", tmp_path / name]
        return command("--lessons", lessons, *chosen, *options)

    assert run("others", seeds=[3, 4, 5]).exit_code == 0
    assert run("first", "--update", "--other-seeds", tmp_path / "others", seeds=[0, 1, 2]).exit_code == 0
    shutil.copy(tmp_path / "first" / "expected.json", lessons)
    metrics = read_baseline(lessons / "expected.json")["00_kernel"]["defaults"].metrics
    assert metrics["accuracy"].n == 6
    assert metrics["accuracy"].sd  # there is noise

    outcome = run("second", "--check", seeds=[0, 1, 2])
    assert outcome.exit_code == 0, outcome.output
    assert "Regression check passed: 2 of 2 numbers as expected." in outcome.output
    outcome = run("third", "--check", seeds=[6, 7, 8])
    assert outcome.exit_code == 2
    assert "or of other seeds, are not compared" in outcome.output
    assert not (tmp_path / "third").exists()

    monkeypatch.setenv("PYTHONPATH", str(with_a_fault(tmp_path / "broken")), prepend=os.pathsep)
    outcome = run("fourth", "--check", seeds=[0, 1, 2])
    assert outcome.exit_code == 1
    assert "1 of 1 lessons ran to their end" in outcome.output  # the lesson runs: only its number tells
    cases = ElementTree.parse(tmp_path / "fourth" / "junit.xml").iter("testcase")
    red = {case.get("name"): failure.get("type") for case in cases for failure in case.iter("failure")}
    assert red == {"accuracy": "worse"}
    assert any("accuracy" in line and "worse" in line for line in outcome.output.splitlines())
