"""The lessons follow the template, have outputs of their own cells, and run through at smoke size."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from tools.lessons import parameters
from tools.lessons.running import run_lesson
from tools.lessons.runs import gather
from tools.lessons.stamping import staleness

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
PARAMETER_FILES = sorted(path for path in NOTEBOOKS.glob("*.yaml") if path.name != "claims.yaml")
LARGEST = 1.5 * 2**20
INSTALLS = re.compile(r"^\s*[%!].*\b(pip|conda|mamba|uv)\b", re.MULTILINE)
MACHINE_PATH = re.compile(r"(?:/home/|/root/|/Users/|/tmp/|[A-Z]:\\)\S*")

lesson = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def sources(notebook, kind):
    return [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == kind]


def test_there_are_lessons_in_reading_order():
    assert PATHS
    numbers = [path.stem[:2] for path in PATHS]
    assert numbers == sorted(set(numbers) & {f"{number:02}" for number in range(12)})  # the twelve of the plan


@lesson
def test_a_lesson_follows_the_template(path):
    notebook = read(path)
    cells = notebook["cells"]
    assert cells[0]["cell_type"] == "markdown"
    assert cells[0]["source"].startswith("# ")
    setup = next(i for i, cell in enumerate(cells) if cell["cell_type"] == "code")
    opening = "\n".join(cell["source"] for cell in cells[:setup])
    assert re.search(r"\bpapers?\b", opening, re.IGNORECASE), "the opening names no paper"
    assert re.search(r"\bcosts?\b", opening, re.IGNORECASE), "the opening does not say what the lesson costs"
    for word in ("import ", "version", "device"):
        assert word in cells[setup]["source"], "the first code cell imports, and prints the versions and the device"
    assert parameters.declared(notebook, path.stem)
    headings = re.findall(r"^#+ +(.+?) *$", "\n".join(sources(notebook, "markdown")), re.MULTILINE)
    assert {"What differs from the paper", "Exercises"} <= set(headings)


@lesson
def test_imports_stand_in_the_setup_cell_and_nothing_is_installed(path):
    _, *later = sources(read(path), "code")
    imports = [
        ast.unparse(node)
        for source in later
        for node in ast.walk(ast.parse(TransformerManager().transform_cell(source)))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert imports == []
    assert INSTALLS.findall("\n".join(sources(read(path), "code"))) == []


@lesson
def test_committed_outputs_are_fresh_and_small_and_name_no_machine(path):
    notebook = read(path)
    stale = staleness(notebook, NOTEBOOKS.parent)
    assert stale is None, f"{path.stem} is stale: {stale}; run: make notebooks ONLY={path.stem}"
    assert path.stat().st_size < LARGEST
    texts = [
        output.get("text") or output.get("data", {}).get("text/plain", "")
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
    ]
    assert MACHINE_PATH.findall("\n".join(texts)) == []
    metrics, _ = gather(notebook)
    assert metrics, "the lesson never calls record(...)"


@pytest.mark.parametrize("path", PARAMETER_FILES, ids=lambda path: path.stem)
def test_parameter_files_set_what_the_lessons_declare(path):
    chosen = parameters.find_lessons(NOTEBOOKS, [])
    parameters.choose_parameters(NOTEBOOKS, chosen, path, data=None)
    assert any(one.chosen for one in chosen)


def run(name, folder, **settings):
    """Run a lesson at smoke size, apart from these settings."""
    (chosen,) = parameters.find_lessons(NOTEBOOKS, [name])
    parameters.choose_parameters(NOTEBOOKS, [chosen], NOTEBOOKS / "smoke.yaml", data=None)
    chosen.chosen |= settings
    result = run_lesson(chosen, folder, timeout=120)
    assert result.error is None, result.error
    return result


@pytest.mark.lesson
@lesson
def test_a_lesson_runs_at_smoke_size(path, tmp_path):
    assert run(path.stem, tmp_path).metrics


@pytest.mark.lesson
def test_an_encoder_kept_by_lesson_01_serves_the_others(tmp_path):
    run("01", tmp_path, weights="mine.safetensors")
    run("02", tmp_path, encoder="mine.safetensors")


@pytest.mark.lesson
@pytest.mark.real_data
@pytest.mark.parametrize(("number", "coarse"), [("00", {}), ("10", {"mpp": 4.0, "seeds": [0]})])
@pytest.mark.parametrize("slide", ["cmu-1-small-region", "tcga-cr-7395"])
def test_lessons_read_a_real_slide(number, coarse, slide, data_root, tmp_path):
    run(number, tmp_path, slide=slide, slide_mpp=0.5, **coarse)
