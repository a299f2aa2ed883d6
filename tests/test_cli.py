"""histolab-lite: the commands of ``python -m`` under one name, and help that does not wait for torch."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from typer.testing import CliRunner

from histolab_lite import doctor, wsss4luad
from histolab_lite.cli import app
from tests.test_packaging import PROJECT

HELP = """
import sys
from typer.testing import CliRunner
from histolab_lite.cli import app
for command in ([], ["embed"], ["wsss4luad"], ["wsss4luad", "check"], ["doctor"]):
    assert CliRunner().invoke(app, [*command, "--help"]).exit_code == 0, command
print(sorted({"matplotlib", "numpy", "skimage", "sklearn", "torch"} & sys.modules.keys()))
"""


def test_help_imports_no_heavy_package() -> None:
    outcome = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True)
    assert (outcome.stdout, outcome.returncode) == ("[]\n", 0), outcome.stderr


def test_the_installed_script_is_this_command() -> None:
    assert EntryPoint("histolab-lite", PROJECT["scripts"]["histolab-lite"], "console_scripts").load() is app


def test_help_names_every_command() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output
    assert [name for name in ("embed", "wsss4luad", "doctor") if name not in shown] == []


@pytest.mark.parametrize("status", [0, 1])
def test_the_doctors_exit_status_is_passed_on(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    finding = doctor.Finding("area", "thing", "problem" if status else "ok", "detail")
    monkeypatch.setattr(doctor, "examine", lambda: [finding])
    assert CliRunner().invoke(app, ["doctor"]).exit_code == status


def test_the_challenges_command_says_the_same_under_both_names(tmp_path: Path) -> None:
    asked = ["check", str(tmp_path)]
    own, shared = CliRunner().invoke(wsss4luad.app, asked), CliRunner().invoke(app, ["wsss4luad", *asked])
    assert own.exit_code == shared.exit_code == 1
    assert own.output == shared.output != ""


@pytest.mark.parametrize("arguments", [["embed", "none.svs", "--out", "out"], ["segment"], ["embed"]])
def test_what_cannot_be_run_ends_with_2(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2, done.output
    assert "Error" in done.output
    assert list(tmp_path.iterdir()) == []
