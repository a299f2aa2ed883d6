"""histolab-lite: the commands of ``python -m`` under one name, and help that does not wait for torch."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
from typer.testing import CliRunner

from histolab_lite import doctor, wsss4luad
from histolab_lite.cli import app
from tests.test_packaging import PROJECT

HELP = """
import sys
from typer.testing import CliRunner
from histolab_lite.cli import app
wsss4luad = [["wsss4luad", command] for command in ("evaluate", "check", "pack", "phantom")]
for command in ([], ["embed"], ["wsss4luad"], *wsss4luad, ["doctor"]):
    assert CliRunner().invoke(app, [*command, "--help"]).exit_code == 0, command
print(sorted({"matplotlib", "numpy", "PIL", "skimage", "sklearn", "torch"} & sys.modules.keys()))
"""


def test_help_imports_no_heavy_package():
    outcome = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True)
    assert (outcome.stdout, outcome.returncode) == ("[]\n", 0), outcome.stderr


def test_the_installed_script_names_every_command():
    command = EntryPoint("histolab-lite", PROJECT["scripts"]["histolab-lite"], "console_scripts").load()
    shown = CliRunner().invoke(command, ["--help"]).output
    assert [name for name in ("embed", "wsss4luad", "doctor") if name not in shown] == []


@pytest.mark.parametrize(("state", "status"), [("ok", 0), ("absent", 0), ("problem", 1)])
def test_only_a_problem_fails_the_doctor(monkeypatch, state, status):
    monkeypatch.setattr(doctor, "examine", lambda: [doctor.Finding("area", "thing", state, "detail")])
    assert CliRunner().invoke(app, ["doctor"]).exit_code == status


def test_the_challenges_command_says_the_same_under_both_names(tmp_path):
    asked = ["check", str(tmp_path)]
    own, shared = CliRunner().invoke(wsss4luad.app, asked), CliRunner().invoke(app, ["wsss4luad", *asked])
    assert own.exit_code == shared.exit_code == 1
    assert own.output == shared.output != ""


@pytest.mark.parametrize("arguments", [["embed", "none.svs", "--out", "out"], ["segment"], ["embed"]])
def test_a_command_that_cannot_be_run_ends_with_2(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2, done.output
    assert "Error" in done.output
    assert list(tmp_path.iterdir()) == []
