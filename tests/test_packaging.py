"""What a stranger installs: requirements in step, a complete wheel, commands that pass options on."""

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
EXTRAS = PROJECT["optional-dependencies"]
FOR_READERS = [*PROJECT["dependencies"], *EXTRAS["lessons"], *EXTRAS["demos"]]
PROMISED = "gradio jupyterlab matplotlib openslide-python papermill scikit-learn torch torchvision umap-learn"


def read_yaml(name):
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def specifiers(lines):
    return {requirement.name.lower(): str(requirement.specifier) for requirement in map(Requirement, lines)}


def test_environment_yml_is_in_step_with_pyproject():
    environment = read_yaml("environment.yml")["dependencies"]
    (pip,) = (entry["pip"] for entry in environment if isinstance(entry, dict))
    assert specifiers(line for line in pip if not line.startswith("-")) == specifiers(FOR_READERS)
    assert f"python{PROJECT['requires-python']}" in environment


def test_every_promised_package_is_required_with_a_lower_bound():
    required = specifiers(FOR_READERS)
    assert required.keys() >= set(PROMISED.split())
    assert {name for name, specifier in required.items() if ">=" not in specifier} == set()


def test_the_wheel_carries_manifests_weights_and_licence(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        carried = {info.filename: info.file_size for info in archive.infolist()}
    manifests = [f"histolab_lite/data_manifests/{path.name}" for path in (ROOT / "data_manifests").glob("*.yaml")]
    weights = [
        str(path.relative_to(ROOT)) for path in (ROOT / "histolab_lite/models/weights").iterdir() if path.is_file()
    ]
    assert manifests
    assert any(name.endswith(".safetensors") for name in weights)
    assert {*manifests, *weights, "histolab_lite/py.typed"} <= carried.keys()
    assert any(name.endswith("licenses/LICENSE") for name in carried)
    assert all(size < 6 * 2**20 for size in carried.values())
    assert {name.split("/")[0].split("-")[0] for name in carried} == {"histolab_lite"}


def test_the_citation_names_this_version_and_the_five_papers():
    citation = read_yaml("CITATION.cff")
    stated = [citation[key] for key in ("cff-version", "version", "license")]
    assert stated == ["1.2.0", histolab_lite.__version__, PROJECT["license"]]
    assert len(citation["references"]) == 5
    for paper in citation["references"]:
        assert paper["title"]
        assert paper["year"]
        assert all(author["family-names"] for author in paper["authors"])


def make(*arguments):
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    # the options of an outer make must not reach this one
    ours = ("ONLY", "DATA", "PARAMS", "OUT", "VENV", "PYTHON")
    clean = {
        key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS")) and key not in ours
    }
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True)


def test_make_tutorial_passes_its_options_on(tmp_path):
    options = ("ONLY=02", "DATA=glas", "PARAMS=notebooks/full.yaml", "OUT=a dir")
    planned = make("-n", "tutorial", f"VENV={tmp_path}", *options).stdout
    passed = '--only "02" --data "glas" --params "notebooks/full.yaml" --out "a dir"'
    assert passed in " ".join(planned.split())
    assert "--only" not in make("-n", "tutorial", f"VENV={tmp_path}").stdout


def test_make_installs_only_after_pyproject_has_changed(tmp_path):
    (tmp_path / "bin").mkdir()
    for path in ("bin/python", ".installed"):
        (tmp_path / path).touch()
    for time, installs in ((2**32, False), (0, True)):  # newer and older than pyproject.toml
        os.utime(tmp_path / ".installed", (time, time))
        assert ("pip install" in make("-n", "tutorial", f"VENV={tmp_path}").stdout) is installs


def test_make_names_the_python_it_needs(tmp_path):
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo 'Python 3.9.2' && exit\nexit 1\n")
    old.chmod(0o755)
    for python, message in ((old, "is Python 3.9.2"), (tmp_path / "none", "Install Python 3.11 or newer")):
        outcome = make("tutorial", f"VENV={tmp_path / 'env'}", f"PYTHON={python}")
        assert outcome.returncode != 0
        assert message in outcome.stderr


def test_make_help_names_every_command():
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    shown = make("help").stdout
    assert [name for name in phony.split() if f"make {name}" not in shown] == []


def test_the_readme_is_short_and_names_every_lesson():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 150
    lessons = [path.stem for path in (ROOT / "notebooks").glob("*.ipynb")]
    assert lessons
    assert [stem for stem in lessons if f"notebooks/{stem}.ipynb" not in readme] == []


def test_pages_link_to_files_that_exist():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        targets = re.findall(r"\]\((?!https?:|lessons/)([^)#]+)", page.read_text(encoding="utf-8"))
        assert [target for target in targets if not (page.parent / target).exists()] == [], page.name
