"""Committed outputs: tidy, stamped, and stale once the code is another."""

from __future__ import annotations

import base64
import io
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from tests.tools.lessons.made_up_lessons import lesson, write
from tests.tools.lessons.tiny_lessons import command, notebook
from tools.lessons import running
from tools.lessons.checking import as_json, propose
from tools.lessons.parameters import find_lessons
from tools.lessons.runs import Result, gather
from tools.lessons.stamping import in_256_colours, other_library, source_hash, staleness, tidy_and_stamp

READS = """
sys.path.insert(0, str(Path({root!r})))
import helpers.shares
print(Path.home() / 'x', Path({root!r}, "results", "labels.json").read_text())
Path("own.json").write_text("1")
record(x=[1, helpers.shares.half(json.loads(Path("own.json").read_text()))])"""
SHARES = '"""Shares."""\n\ndef half(x):\n    return x / 2  # of it\n'


@pytest.fixture(scope="module")
def stamped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lesson in a checkout, executed in place; it reads a data file and a module of the checkout."""
    root = tmp_path_factory.mktemp("checkout")
    for name in ("results", "helpers", ".hidden"):
        (root / name).mkdir()
    (root / "results" / "labels.json").write_text("[1]")
    (root / ".hidden" / "settings.json").write_text("{}")
    (root / "helpers" / "shares.py").write_text(SHARES)
    folder = root / "notebooks"
    hidden = f"Path({str(root)!r}, '.hidden', 'settings.json').read_text()\n"
    path = notebook(folder, "00_good", "import json\n" + hidden + READS.format(root=str(root)))
    notebook(folder, "01_raises", "1 / 0")
    assert staleness(nbformat.read(path, as_version=4), root) == "it has never been executed and stamped"
    before = (folder / "01_raises.ipynb").read_bytes()
    outcome = command("--lessons", folder, "--in-place")
    assert outcome.exit_code == 1
    assert (folder / "01_raises.ipynb").read_bytes() == before  # what failed is left as it was
    assert sorted(os.listdir(folder)) == ["00_good.ipynb", "01_raises.ipynb"]
    return path


@pytest.fixture
def checkout(stamped: Path, tmp_path: Path) -> Path:
    """A copy of that checkout, to be changed."""
    return Path(shutil.copytree(stamped.parents[1], tmp_path / "checkout"))


def read(checkout: Path) -> Any:
    return nbformat.read(checkout / "notebooks" / "00_good.ipynb", as_version=4)


def test_in_place_stamps_tidy_outputs(checkout: Path) -> None:
    notebook = read(checkout)
    assert staleness(notebook, checkout) is None
    stamp = notebook["metadata"]["histolab"]
    assert stamp["source_hash"] == source_hash(notebook)
    text = (checkout / "notebooks" / "00_good.ipynb").read_text()
    for volatile in ("papermill", "injected-parameters", "start_time", str(Path.home()), "<Figure"):
        assert volatile not in text
    assert "~/x" in text
    assert gather(notebook)[0]["x"].values == [1, 0.5]


def test_a_stamp_names_what_the_lesson_read_in_the_repository(checkout: Path) -> None:
    stamp = read(checkout)["metadata"]["histolab"]
    assert list(stamp["data"]) == ["results/labels.json"]  # neither its own file nor a hidden one
    assert list(stamp["library"]) == ["helpers/shares.py"]


def test_other_data_makes_outputs_stale(checkout: Path) -> None:
    (checkout / "results" / "labels.json").write_text("[2]")
    assert staleness(read(checkout), checkout) == "results/labels.json changed since it ran"
    (checkout / "results" / "labels.json").unlink()
    assert staleness(read(checkout), checkout) == "results/labels.json changed since it ran"


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [
        ("x / 2", "x / 3", True),
        ("  # of it", "  # of what it is", False),
        ("Shares.", "What is shared.", False),
        ("return x / 2", "return (x /\n 2)", False),
        ("def half(x):", 'def half(x):\n    """Half."""', False),
    ],
)
def test_code_of_the_library_is_told_from_its_prose(checkout: Path, before: str, after: str, moved: bool) -> None:
    module = checkout / "helpers" / "shares.py"
    changed = module.read_text().replace(before, after)
    assert changed != module.read_text()
    module.write_text(changed)
    assert other_library(read(checkout), checkout) == ["helpers/shares.py"] * moved
    assert staleness(read(checkout), checkout) is None


def test_a_check_names_the_lessons_that_ran_with_another_library(checkout: Path) -> None:
    run = {"00_good": lesson(x=[1, 0.5])}
    write(checkout / "run", run)
    (checkout / "notebooks" / "expected.json").write_text(as_json(propose(run, {})))
    options = ("--lessons", checkout / "notebooks", "--only", "00", "--check", "--earlier", checkout / "run")
    assert "make notebooks" not in command(*options).output
    module = checkout / "helpers" / "shares.py"
    module.write_text(module.read_text().replace("x / 2", "x / 3"))
    outcome = command(*options)
    assert outcome.exit_code == 0
    assert "00_good: its committed outputs are older than helpers/shares.py; run: make notebooks" in outcome.output


def test_an_older_stamp_is_judged_by_its_cells(checkout: Path) -> None:
    notebook = read(checkout)
    notebook["metadata"]["histolab"] = {"source_hash": source_hash(notebook)}
    (checkout / "results" / "labels.json").write_text("[2]")
    assert staleness(notebook, checkout) is None
    edit_source(notebook["cells"])
    assert staleness(notebook, checkout) == "its cells have changed since they were executed"


def test_a_lesson_whose_reading_was_not_heard_is_not_stamped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = notebook(tmp_path / "nb", "00_a", "record(x=1)")
    before = path.read_bytes()
    (one,) = find_lessons(tmp_path / "nb")
    monkeypatch.setattr(running, "run_lesson", lambda one, *_: Result(one.stem, {}, {}))
    result = running.run_in_place(one, timeout=60)
    assert "its outputs cannot be stamped" in str(result.error)
    assert path.read_bytes() == before


def packed(picture: np.ndarray) -> Image.Image:
    full = io.BytesIO()
    Image.fromarray(picture).save(full, "PNG")
    return Image.open(io.BytesIO(base64.b64decode(in_256_colours(base64.b64encode(full.getvalue()).decode()))))


def test_committed_pictures_have_256_colours() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    few = packed(noise)
    assert few.size == (30, 40)
    assert few.mode == "P"
    assert np.abs(np.asarray(few.convert("RGB")).astype(int) - noise).mean() < 40


def test_the_colours_of_a_key_survive_in_a_picture_full_of_others() -> None:
    ramp = np.linspace(0, 255, 300).astype(np.uint8)
    picture = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], 255 - ramp[:, None]), 2)  # 300 × 300
    key = np.array([(213, 94, 0), (0, 158, 115), (204, 121, 167), (0, 0, 0)])
    picture[:4, :4] = key[:, None]
    found = np.asarray(packed(picture).convert("RGB")).astype(int)[:4, :4]
    assert np.abs(found - key[:, None]).max() <= 16


def edit_source(cells: list[Any]) -> None:
    cells[-1]["source"] += "\n# changed"


def edit_prose(cells: list[Any]) -> None:
    cells[0]["source"] += "!"


def edit_tags(cells: list[Any]) -> None:
    cells[-1]["metadata"]["tags"] = ["thumbnail"]


def swap(cells: list[Any]) -> None:
    first, second, *_ = (number for number, cell in enumerate(cells) if cell["cell_type"] == "code")
    cells[first], cells[second] = cells[second], cells[first]


def test_better_prose_leaves_outputs_fresh(checkout: Path) -> None:
    notebook = read(checkout)
    edit_prose(notebook["cells"])
    assert notebook["cells"][0]["cell_type"] == "markdown"
    assert staleness(notebook, checkout) is None


@pytest.mark.parametrize("edit", [edit_source, edit_tags, swap, list.pop])
def test_an_edit_of_code_makes_outputs_stale(checkout: Path, edit: Any) -> None:
    notebook = read(checkout)
    edit(notebook["cells"])
    assert staleness(notebook, checkout) == "its cells have changed since they were executed"


def test_errors_and_unexecuted_cells_are_stale(checkout: Path) -> None:
    notebook = read(checkout)
    notebook["cells"][-1]["outputs"] = [new_output("error", ename="E", evalue="", traceback=[])]
    assert staleness(notebook, checkout) == "cell 5 ended in an error"
    notebook["cells"][-1].update(outputs=[], execution_count=None)
    assert staleness(notebook, checkout) == "cell 5 has not been executed"


def test_tidying_rewrites_this_machines_folders(tmp_path: Path) -> None:
    text = f"{tmp_path}/a.py {Path.home()}/b {sys.prefix}/lib {tmp_path}2 /tmp/ipykernel_12/345.py:3: Warning"
    cell = new_code_cell("1", outputs=[new_output("stream", name="stderr", text=text)])
    notebook = new_notebook(cells=[cell])
    tidy_and_stamp(notebook, root=tmp_path)
    expected = f"./a.py ~/b <env>/lib {tmp_path}2 <cell>:3: Warning"
    assert cell["outputs"][0]["text"] == expected
