"""Committed outputs: tidy, stamped, and stale once the code is another."""

from __future__ import annotations

import base64
import io
import os
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from histolab_lite.recording import gather
from tests.tools.lessons.tiny_lessons import command, notebook
from tools.lessons.stamping import in_256_colours, is_fresh, source_hash, staleness, tidy_and_stamp


@pytest.fixture(scope="module")
def stamped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkout") / "notebooks"
    path = notebook(folder, "00_good", "print(Path.home() / 'x')\nrecord(x=[1, 2])")
    notebook(folder, "01_raises", "1 / 0")
    assert not is_fresh(nbformat.read(path, as_version=4))
    before = (folder / "01_raises.ipynb").read_bytes()
    outcome = command("--lessons", folder, "--in-place")
    assert outcome.exit_code == 1
    assert (folder / "01_raises.ipynb").read_bytes() == before  # what failed is left as it was
    assert sorted(os.listdir(folder)) == ["00_good.ipynb", "01_raises.ipynb"]
    return path


def test_in_place_stamps_tidy_outputs(stamped: Path) -> None:
    notebook = nbformat.read(stamped, as_version=4)
    assert is_fresh(notebook)
    assert notebook["metadata"]["histolab"]["source_hash"] == source_hash(notebook)
    text = stamped.read_text()
    for volatile in ("papermill", "injected-parameters", "start_time", str(Path.home()), "<Figure"):
        assert volatile not in text
    assert "~/x" in text
    assert gather(notebook)[0]["x"]["n"] == 2


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


def test_better_prose_leaves_outputs_fresh(stamped: Path) -> None:
    notebook = nbformat.read(stamped, as_version=4)
    edit_prose(notebook["cells"])
    assert notebook["cells"][0]["cell_type"] == "markdown"
    assert is_fresh(notebook)


@pytest.mark.parametrize("edit", [edit_source, edit_tags, swap, list.pop])
def test_an_edit_of_code_makes_outputs_stale(stamped: Path, edit: Any) -> None:
    notebook = nbformat.read(stamped, as_version=4)
    edit(notebook["cells"])
    assert staleness(notebook) == "its cells have changed since they were executed"


def test_errors_and_unexecuted_cells_are_stale(stamped: Path) -> None:
    notebook = nbformat.read(stamped, as_version=4)
    notebook["cells"][-1]["outputs"] = [new_output("error", ename="E", evalue="", traceback=[])]
    assert staleness(notebook) == "cell 5 ended in an error"
    notebook["cells"][-1].update(outputs=[], execution_count=None)
    assert staleness(notebook) == "cell 5 has not been executed"


def test_tidying_rewrites_this_machines_folders(tmp_path: Path) -> None:
    text = f"{tmp_path}/a.py {Path.home()}/b {sys.prefix}/lib {tmp_path}2 /tmp/ipykernel_12/345.py:3: Warning"
    cell = new_code_cell("1", outputs=[new_output("stream", name="stderr", text=text)])
    notebook = new_notebook(cells=[cell])
    tidy_and_stamp(notebook, root=tmp_path)
    expected = f"./a.py ~/b <env>/lib {tmp_path}2 <cell>:3: Warning"
    assert cell["outputs"][0]["text"] == expected
