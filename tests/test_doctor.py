"""The doctor reports what is there, and its exit status says whether the tutorial can run."""

import importlib.metadata
import io
import runpy
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from rich.console import Console

from histolab_lite import doctor
from histolab_lite.data.manifests import list_manifests
from histolab_lite.doctor import Finding

KERNELS = Path(doctor.__file__).with_name("kernels")


@pytest.mark.filterwarnings("ignore:'histolab_lite.doctor' found")
def test_this_installation_can_run_the_tutorial(tmp_path, monkeypatch, capsys):
    for name, value in (("HISTOLAB_DATA", str(tmp_path)), ("COLUMNS", "200")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["doctor"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("histolab_lite.doctor", run_name="__main__")
    shown = capsys.readouterr().out
    assert end.value.code == 0, shown
    kernels = [path.parent.name for path in KERNELS.glob("*/__init__.py")]
    for found in ("Python", "CPU", "GPU", *kernels, "OpenSlide", "default encoder", str(tmp_path), *list_manifests()):
        assert found in shown
    assert "The tutorial can run" in shown


def test_missing_and_outdated_packages_are_named(monkeypatch):
    wanted = ["numpy>=1", "numpy>=999", "no-such-package>=1", 'none-either>=2; extra == "demos"']
    wanted += ['for-another-system; sys_platform == "plan9"', 'numpy>=1; extra == "dev"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: wanted)
    core, demos, dev = doctor.examine()  # and nothing after packages that are missing
    assert core.state == "problem"
    numpy = importlib.metadata.version("numpy")
    assert core.detail == f"numpy {numpy} is not >=999, no-such-package is missing"
    assert (demos.subject, demos.state, demos.detail) == ("extra 'demos'", "absent", "none-either is missing")
    assert demos.advice == 'pip install -e ".[demos]"'
    assert (dev.subject, dev.state) == ("extra 'dev'", "ok")


def test_a_checkout_that_is_not_installed_is_a_problem(monkeypatch):
    missing = Mock(side_effect=importlib.metadata.PackageNotFoundError)
    monkeypatch.setattr(importlib.metadata, "requires", missing)
    (finding,) = doctor.examine()
    assert (finding.state, finding.advice) == ("problem", "pip install -e . in the checkout")


@pytest.mark.parametrize(
    ("gpu", "installed", "state", "usable", "advice"),
    [
        (True, True, "ok", "reference, cpu, triton", ""),
        (True, False, "absent", "reference, cpu", "pip install triton, for tensors on the GPU"),
        (False, True, "ok", "reference, cpu", "triton needs an NVIDIA GPU"),
    ],
)
def test_triton_counts_only_with_a_gpu(tmp_path, monkeypatch, gpu, installed, state, usable, advice):
    (tmp_path / "op").mkdir()
    for name in ("reference", "cpu", "triton"):
        (tmp_path / "op" / f"{name}.py").touch()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: object() if installed else None)
    (finding,) = doctor.kernels(tmp_path)
    assert (finding.state, finding.detail, finding.advice) == (state, usable, advice)


def test_a_missing_gpu_is_absent_and_one_that_is_there_is_named(monkeypatch):
    for name, state in (("CPU", "absent"), ("H200", "ok")):
        monkeypatch.setattr(doctor, "device_name", lambda name=name: name)
        assert [finding.state for finding in doctor.devices()] == ["ok", "ok", state]


def test_absent_and_damaged_data_sets_are_told_apart(tmp_path):
    slide = tmp_path / "slides" / "CMU-1-Small-Region.svs"
    slide.parent.mkdir()
    slide.write_bytes(b"not a slide")
    found = {finding.subject: finding for finding in doctor.data_sets(tmp_path)}
    assert {"folder", *list_manifests()} == found.keys()
    assert found["phantom"].state == "ok"
    assert (found["glas"].state, bool(found["glas"].advice)) == ("absent", True)
    assert found["cmu-1-small-region"].detail == "damaged"
    assert "sha256" in found["cmu-1-small-region"].advice


@pytest.mark.real_data
def test_real_data_sets_are_found(data_root):
    found = {finding.subject: finding.state for finding in doctor.data_sets(data_root)}
    assert found["glas"] == "ok"


def test_a_report_prints_square_brackets_as_they_are():
    page = io.StringIO()
    finding = Finding("packages", "thing", "absent", "[red]no markup[/]", 'pip install ".[demos]"')
    doctor.show([finding], Console(file=page, width=100))
    assert "[red]no markup[/]" in page.getvalue()
    assert 'pip install ".[demos]"' in page.getvalue()
