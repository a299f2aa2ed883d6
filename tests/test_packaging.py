"""What a stranger installs: requirements in step, a complete wheel, commands that pass options on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import histolab_lite

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# What the tutorial promises to be built on.
PROMISED = {
    "gradio",
    "jupyterlab",
    "matplotlib",
    "openslide-python",
    "papermill",
    "scikit-learn",
    "torch",
    "torchvision",
    "umap-learn",
}


EXTRAS = PROJECT["optional-dependencies"]
FOR_READERS = [*PROJECT["dependencies"], *EXTRAS["lessons"], *EXTRAS["demos"]]


def as_set(lines: list[str]) -> set[tuple[str, str]]:
    return {(r.name.lower(), str(r.specifier)) for r in map(Requirement, lines)}


def test_environment_yml_is_in_step_with_pyproject() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (pip,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    listed = as_set([line for line in pip if not line.startswith("-")])
    assert listed == as_set(FOR_READERS)
    assert f"python{PROJECT['requires-python']}" in environment["dependencies"]


def test_every_promised_package_is_required_with_a_lower_bound() -> None:
    required = dict(as_set(FOR_READERS))
    assert required.keys() >= PROMISED
    assert {name for name, specifier in required.items() if ">=" not in specifier} == set()


def test_wheel_carries_manifests_weights_and_licence(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        carried = {name: archive.getinfo(name).file_size for name in archive.namelist()}
    manifests = [f"histolab_lite/data_manifests/{p.name}" for p in (ROOT / "data_manifests").glob("*.yaml")]
    weights = [
        str(p.relative_to(ROOT)) for p in (ROOT / "histolab_lite/models/weights").iterdir() if p.is_file()
    ]
    assert manifests
    assert any(name.endswith(".safetensors") for name in weights)
    assert {*manifests, *weights, "histolab_lite/py.typed"} <= carried.keys()
    assert any(name.endswith("licenses/LICENSE") for name in carried)
    assert all(size < 6 * 2**20 for size in carried.values())
    left_out = ("tests", "tools", "benchmarks", "data_manifests", "notebooks")
    assert not [name for name in carried if name.startswith(left_out)]


def test_citation_names_this_version_and_the_five_papers() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == histolab_lite.__version__
    assert citation["license"] == PROJECT["license"]
    assert len(citation["references"]) == 5
    for paper in citation["references"]:
        assert paper["title"]
        assert paper["year"]
        assert all(author["family-names"] for author in paper["authors"])


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    # the options of an outer make must not reach this one
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    for name in ("ONLY", "DATA", "PARAMS", "OUT", "VENV", "PYTHON"):
        clean.pop(name, None)
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, env=clean | environment, capture_output=True, text=True)


def test_make_tutorial_passes_its_options_on(tmp_path: Path) -> None:
    options = ("ONLY=02", "DATA=glas", "PARAMS=notebooks/full.yaml", "OUT=a dir")
    planned = make("-n", "tutorial", f"VENV={tmp_path}", *options).stdout
    passed = '--only "02" --data "glas" --params "notebooks/full.yaml" --out "a dir"'
    assert passed in " ".join(planned.split())
    assert "--only" not in make("-n", "tutorial", f"VENV={tmp_path}").stdout


def test_make_installs_once(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for path in ("bin/python", ".installed"):
        (tmp_path / path).touch()
    os.utime(tmp_path / ".installed", (2**32, 2**32))  # newer than pyproject.toml
    assert "pip install" not in make("-n", "tutorial", f"VENV={tmp_path}").stdout
    os.utime(tmp_path / ".installed", (0, 0))  # older than pyproject.toml
    assert "pip install" in make("-n", "tutorial", f"VENV={tmp_path}").stdout


def test_make_names_the_python_it_needs(tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo 'Python 3.9.2' && exit\nexit 1\n")
    old.chmod(0o755)
    for python, message in ((old, "is Python 3.9.2"), (tmp_path / "none", "Install Python 3.11 or newer")):
        outcome = make("tutorial", f"VENV={tmp_path / 'env'}", f"PYTHON={python}")
        assert outcome.returncode != 0
        assert message in outcome.stderr


def test_make_help_names_every_command() -> None:
    phony = next(
        line for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines() if line[:6] == ".PHONY"
    )
    shown = make("help").stdout
    assert [name for name in phony.split()[1:] if f"make {name}" not in shown] == []


def test_readme_is_short_and_names_every_lesson() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 150
    lessons = [path.stem for path in (ROOT / "notebooks").glob("*.ipynb")]
    assert lessons
    assert [stem for stem in lessons if f"notebooks/{stem}.ipynb" not in readme] == []


def test_pages_link_to_files_that_are_there() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        targets = re.findall(r"\]\((?!https?:|lessons/)([^)#]+)", page.read_text(encoding="utf-8"))
        assert [target for target in targets if not (page.parent / target).exists()] == [], page.name
