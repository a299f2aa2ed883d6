"""The lessons: to the template, with outputs of their own cells, and running through at smoke size."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

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


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code(notebook: Any) -> list[str]:
    """The sources of the code cells, as plain Python."""
    plain = TransformerManager().transform_cell
    return [plain(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def headings(notebook: Any) -> list[str]:
    prose = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    return re.findall(r"^#+ +(.+?) *$", "\n".join(prose), re.MULTILINE)


def test_there_are_lessons_in_reading_order() -> None:
    assert PATHS
    numbers = [path.stem[:2] for path in PATHS]
    assert numbers == sorted(set(numbers) & {f"{number:02}" for number in range(12)})  # the twelve of the plan


@lesson
def test_opens_with_title_paper_cost_and_setup(path: Path) -> None:
    cells = read(path)["cells"]
    assert cells[0]["cell_type"] == "markdown"
    assert cells[0]["source"].startswith("# ")
    first_code = next(i for i, cell in enumerate(cells) if cell["cell_type"] == "code")
    opening = "\n".join(cell["source"] for cell in cells[:first_code])
    assert re.search(r"\bpapers?\b", opening, re.IGNORECASE), "the opening names no paper"
    assert re.search(r"\bcosts?\b", opening, re.IGNORECASE), "the opening does not say what the lesson costs"
    setup = cells[first_code]["source"]
    assert "import " in setup, "the first code cell is the setup cell, with all the imports"
    assert "version" in setup, "the setup cell prints the versions"
    assert "device" in setup, "the setup cell prints the device"


@lesson
def test_has_one_parameters_cell_and_the_closing_sections(path: Path) -> None:
    notebook = read(path)
    assert parameters.declared(notebook, path.stem)
    assert {"What differs from the paper", "Exercises"} <= set(headings(notebook))


@lesson
def test_imports_stand_in_the_setup_cell_and_nothing_is_installed(path: Path) -> None:
    notebook = read(path)
    _, *later = code(notebook)
    imports = [
        ast.unparse(node)
        for source in later
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert imports == []
    sources = "\n".join(cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code")
    assert INSTALLS.findall(sources) == []


@lesson
def test_committed_outputs_are_fresh_small_and_name_no_machine(path: Path) -> None:
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


@lesson
def test_committed_outputs_record_numbers(path: Path) -> None:
    metrics, _ = gather(read(path))
    assert metrics, "the lesson never calls record(...)"


@pytest.mark.parametrize("path", PARAMETER_FILES, ids=lambda path: path.stem)
def test_parameter_files_set_what_the_lessons_declare(path: Path) -> None:
    chosen = parameters.find_lessons(NOTEBOOKS, [])
    parameters.choose_parameters(NOTEBOOKS, chosen, path, data=None)
    assert any(one.chosen for one in chosen)


@pytest.mark.lesson
@lesson
def test_runs_at_smoke_size(path: Path, tmp_path: Path) -> None:
    (chosen,) = parameters.find_lessons(NOTEBOOKS, [path.stem])
    parameters.choose_parameters(NOTEBOOKS, [chosen], NOTEBOOKS / "smoke.yaml", data=None)
    result = run_lesson(chosen, tmp_path, timeout=120)
    assert result.error is None, result.error
    assert result.metrics


@pytest.mark.lesson
def test_an_encoder_kept_by_lesson_01_serves_the_others(tmp_path: Path) -> None:
    for number, setting in (("01", {"weights": "mine.safetensors"}), ("02", {"encoder": "mine.safetensors"})):
        (chosen,) = parameters.find_lessons(NOTEBOOKS, [number])
        parameters.choose_parameters(NOTEBOOKS, [chosen], NOTEBOOKS / "smoke.yaml", data=None)
        chosen.chosen |= setting
        result = run_lesson(chosen, tmp_path, timeout=120)
        assert result.error is None, result.error


@pytest.mark.lesson
@pytest.mark.real_data
@pytest.mark.parametrize("number", ["00", "10"])
@pytest.mark.parametrize("slide", ["cmu-1-small-region", "tcga-cr-7395"])
def test_lessons_read_a_real_slide(number: str, slide: str, data_root: Path, tmp_path: Path) -> None:
    (chosen,) = parameters.find_lessons(NOTEBOOKS, [number])
    parameters.choose_parameters(NOTEBOOKS, [chosen], NOTEBOOKS / "smoke.yaml", data=None)
    chosen.chosen |= {"slide": slide, "slide_mpp": 0.5}
    if number == "10":
        chosen.chosen |= {"mpp": 4.0, "seeds": [0]}
    result = run_lesson(chosen, tmp_path, timeout=120)
    assert result.error is None, result.error
