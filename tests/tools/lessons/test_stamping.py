"""Committed outputs: tidy, stamped, and stale once the code is another."""

import base64
import io
import os
import shutil
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from tests.tools.lessons.made_up import command, lesson, notebook, write_results
from tools.lessons import running
from tools.lessons.checking import as_json, propose
from tools.lessons.parameters import find_lessons
from tools.lessons.runs import Result, gather
from tools.lessons.stamping import in_256_colours, other_library, source_hash, staleness, tidy_and_stamp

READS = """
import json
sys.path.insert(0, str(Path({root!r})))
import helpers.shares
Path({root!r}, ".hidden", "settings.json").read_text()
print(Path.home() / 'x', Path({root!r}, "results", "labels.json").read_text())
Path("own.json").write_text("1")
record(x=[1, helpers.shares.half(json.loads(Path("own.json").read_text()))])"""
SHARES = '"""Shares."""\n\ndef half(x):\n    return x / 2  # of it\n'
CHANGED = "its cells have changed since they were executed"


@pytest.fixture(scope="module")
def stamped(tmp_path_factory):
    """A checkout whose lesson, executed in place, reads a data file and a module of the checkout."""
    root = tmp_path_factory.mktemp("checkout")
    files = {"results/labels.json": "[1]", ".hidden/settings.json": "{}", "helpers/shares.py": SHARES}
    for name, content in files.items():
        (root / name).parent.mkdir()
        (root / name).write_text(content)
    path = notebook(root / "notebooks", "00_good", READS.format(root=str(root)))
    failing = notebook(root / "notebooks", "01_raises", "1 / 0")
    assert staleness(nbformat.read(path, as_version=4), root) == "it has never been executed and stamped"
    before = failing.read_bytes()
    assert command("--lessons", root / "notebooks", "--in-place").exit_code == 1
    assert failing.read_bytes() == before  # what failed is left as it was
    assert sorted(os.listdir(root / "notebooks")) == ["00_good.ipynb", "01_raises.ipynb"]
    return root


@pytest.fixture
def checkout(stamped, tmp_path):
    """A copy of that checkout, to be changed."""
    return shutil.copytree(stamped, tmp_path / "checkout")


def read(checkout):
    return nbformat.read(checkout / "notebooks" / "00_good.ipynb", as_version=4)


def test_in_place_stamps_tidy_outputs_with_what_the_lesson_read(checkout):
    notebook = read(checkout)
    assert staleness(notebook, checkout) is None
    stamp = notebook["metadata"]["histolab"]
    assert stamp["source_hash"] == source_hash(notebook)
    assert list(stamp["data"]) == ["results/labels.json"]  # neither its own file nor a hidden one
    assert list(stamp["library"]) == ["helpers/shares.py"]
    assert gather(notebook)[0]["x"].values == [1, 0.5]
    text = (checkout / "notebooks" / "00_good.ipynb").read_text()
    volatile = ("papermill", "injected-parameters", "start_time", str(Path.home()), "<Figure")
    assert [word for word in volatile if word in text] == []
    assert "~/x" in text


def test_other_data_makes_outputs_stale_unless_the_stamp_is_of_an_earlier_version(checkout):
    labels, notebook = checkout / "results" / "labels.json", read(checkout)
    labels.write_text("[2]")
    assert staleness(notebook, checkout) == "results/labels.json changed since it ran"
    labels.unlink()
    assert staleness(notebook, checkout) == "results/labels.json changed since it ran"
    notebook["metadata"]["histolab"] = {"source_hash": source_hash(notebook)}
    assert staleness(notebook, checkout) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Shares.", "What is shared."),
        ("return x / 2  # of it", "return (x /\n 2)"),
        ("def half(x):", 'def half(x):\n    """Half."""'),
    ],
)
def test_prose_of_the_library_is_no_other_code(checkout, before, after):
    assert before in SHARES
    (checkout / "helpers" / "shares.py").write_text(SHARES.replace(before, after))
    assert other_library(read(checkout), checkout) == []


def test_a_check_names_the_lessons_that_ran_with_another_library(checkout):
    run = {"00_good": lesson(x=[1, 0.5])}
    write_results(checkout / "run", run)
    (checkout / "notebooks" / "expected.json").write_text(as_json(propose(run, {})))
    options = ("--lessons", checkout / "notebooks", "--only", "00", "--check", "--earlier", checkout / "run")
    assert "make notebooks" not in command(*options).output
    (checkout / "helpers" / "shares.py").write_text(SHARES.replace("x / 2", "x / 3"))
    assert staleness(read(checkout), checkout) is None
    outcome = command(*options)
    assert outcome.exit_code == 0
    assert "00_good: its committed outputs are older than helpers/shares.py; run: make notebooks" in outcome.output


def swap(cells):
    cells[1], cells[2] = cells[2], cells[1]


ERROR = new_output("error", ename="E", evalue="", traceback=[])


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (lambda cells: cells[0].update(source="# Better prose"), None),
        (lambda cells: cells[-1].update(source="changed"), CHANGED),
        (lambda cells: cells[-1]["metadata"].update(tags=["thumbnail"]), CHANGED),
        (swap, CHANGED),
        (list.pop, CHANGED),
        (lambda cells: cells[-1].update(outputs=[ERROR]), "cell 5 ended in an error"),
        (lambda cells: cells[-1].update(execution_count=None), "cell 5 has not been executed"),
    ],
)
def test_what_makes_outputs_stale(checkout, edit, complaint):
    notebook = read(checkout)
    edit(notebook["cells"])
    assert staleness(notebook, checkout) == complaint


def test_a_lesson_whose_reading_was_not_heard_is_not_stamped(tmp_path, monkeypatch):
    path = notebook(tmp_path / "nb", "00_a", "record(x=1)")
    before = path.read_bytes()
    (one,) = find_lessons(tmp_path / "nb")
    monkeypatch.setattr(running, "run_lesson", lambda one, *_: Result(one.stem, {}, {}))
    assert "its outputs cannot be stamped" in running.run_in_place(one, timeout=60).error
    assert path.read_bytes() == before


def test_committed_images_have_256_colours_with_those_of_a_key_among_many_others():
    down, across = np.linspace(0, 255, 300).astype(np.uint8), np.linspace(0, 255, 200).astype(np.uint8)
    image = np.stack(np.broadcast_arrays(down[:, None], across[None], 255 - down[:, None]), 2)
    image[:4, :4] = np.array([(213, 94, 0), (0, 158, 115), (204, 121, 167), (0, 0, 0)])[:, None]
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    packed = Image.open(io.BytesIO(base64.b64decode(in_256_colours(base64.b64encode(file.getvalue()).decode()))))
    assert (packed.mode, packed.size) == ("P", (200, 300))
    error = np.abs(np.asarray(packed.convert("RGB")).astype(int) - image)
    assert error[:4, :4].max() <= 16
    assert error.mean() < 16


def test_tidying_rewrites_this_machines_folders(tmp_path):
    text = f"{tmp_path}/a.py {Path.home()}/b {sys.prefix}/lib {tmp_path}2 /tmp/ipykernel_12/345.py:3: Warning"
    cell = new_code_cell("1", outputs=[new_output("stream", name="stderr", text=text)])
    tidy_and_stamp(new_notebook(cells=[cell]), root=tmp_path)
    assert cell["outputs"][0]["text"] == f"./a.py ~/b <env>/lib {tmp_path}2 <cell>:3: Warning"
