"""The runner on tiny notebooks: lessons run, numbers gathered, failures told and survived."""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.tools.lessons.tiny_lessons import command, notebook
from tools.lessons import running
from tools.lessons.parameters import find_lessons


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One run by the command: a lesson that works, one that raises, one whose process dies, another."""
    base = tmp_path_factory.mktemp("run")
    folder = base / "lessons"
    notebook(
        folder,
        "00_good",
        "print(sys.executable, os.environ['HISTOLAB_DATA'], sep='\\n')\n"
        "for _ in tqdm(range(3)): pass\n"
        "Path('stray.txt').write_text('left by the lesson')\n"
        "record(z_first=[0.8, 0.9, 1.0], a_second=len(data))",
    )
    notebook(folder, "01_raises", "def share(n):\n    return 1 / n\nshare(0)")
    notebook(folder, "02_dies", "os._exit(1)")
    notebook(folder, "03_last", "record(seed_count=len(seeds))", defaults="seeds = [0]")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(base)
        patch.setenv("HISTOLAB_DATA", "tissue")  # relative, as in HISTOLAB_DATA=../shared/data make tutorial
        outcome = command("--lessons", folder, "--data", "glas", "--out", base / "out {a}")
    out = base / "out {a}"
    return {
        "base": base,
        "out": out,
        "outcome": outcome,
        "metrics": json.loads((out / "metrics.json").read_text()),
        "unchanged": before == {path.name: path.read_bytes() for path in folder.iterdir()},
    }


def test_numbers_are_gathered_in_the_order_recorded(run: dict[str, Any]) -> None:
    good = run["metrics"]["lessons"]["00_good"]
    assert list(good["metrics"]) == ["z_first", "a_second"]
    first = good["metrics"]["z_first"]
    assert (first["mean"], first["n"], first["values"]) == (pytest.approx(0.9), 3, [0.8, 0.9, 1.0])
    assert first["sd"] == pytest.approx(0.1)
    assert good["metrics"]["a_second"]["mean"] == len("glas")
    assert good["parameters"] == {"data": "glas"}
    assert good["runtime_s"] > 0
    assert good["peak_memory_mib"] > 10
    assert good["error"] is None


def test_the_machine_is_named(run: dict[str, Any]) -> None:
    machine = run["metrics"]["environment"]
    assert machine["versions"]["torch"] == importlib.metadata.version("torch")
    assert {"date", "device", "python", "cpu_cores"} <= machine.keys()


def test_lessons_run_in_this_interpreter_on_the_callers_data(run: dict[str, Any]) -> None:
    notebook = nbformat.read(run["out"] / "00_good.ipynb", as_version=4)
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    said = "".join(output["text"] for output in outputs if "text" in output)
    # and no line of a progress bar
    assert said.splitlines() == [sys.executable, str((run["base"] / "tissue").resolve())]


def test_a_failing_lesson_is_told_and_the_others_run(run: dict[str, Any]) -> None:
    lessons, said = run["metrics"]["lessons"], run["outcome"].output
    assert run["outcome"].exit_code == 1
    assert "01_raises failed at cell 5 of 5, under 'The experiment'" in said
    assert "ZeroDivisionError: division by zero" in said
    assert "its Python process died" in lessons["02_dies"]["error"]
    assert lessons["03_last"]["metrics"]["seed_count"]["mean"] == 1
    assert lessons["03_last"]["parameters"] == {}  # it has no parameter `data`
    assert "2 of 4 lessons" in said
    kept = nbformat.read(run["out"] / "01_raises.ipynb", as_version=4)
    assert any(o["output_type"] == "error" for cell in kept["cells"] for o in cell.get("outputs", []))


def test_nothing_is_written_beside_the_sources(run: dict[str, Any]) -> None:
    assert run["unchanged"]
    assert (run["out"] / "stray.txt").exists()
    assert {path.name for path in run["base"].iterdir()} == {"lessons", "out {a}"}


def test_index_links_to_what_exists_and_shows_the_figures(run: dict[str, Any]) -> None:
    page = (run["out"] / "index.html").read_text()
    for stem in ("00_good", "01_raises", "02_dies", "03_last"):
        for suffix in (".html", ".ipynb"):
            assert f'href="{stem}{suffix}"' in page
            assert (run["out"] / f"{stem}{suffix}").exists()
    assert "0.900 ± 0.100" in page
    assert "Title of &lt;00_good&gt;" in page
    assert "ZeroDivisionError" in page
    assert "<script" not in page
    assert "http" not in page


WAIT = """
import os, time
from pathlib import Path
Path("{own}").touch()
until = time.monotonic() + 60
while not Path("{other}").exists():
    assert time.monotonic() < until, "nobody else is running"
    time.sleep(0.05)
record(threads=int(os.environ["OMP_NUM_THREADS"]))
"""


def test_two_lessons_run_at_a_time_and_share_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each waits for the other: one after another, both would fail."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    notebook(tmp_path / "nb", "00_a", WAIT.format(own="a", other="b"))
    notebook(tmp_path / "nb", "01_b", WAIT.format(own="b", other="a"))
    notebook(tmp_path / "nb", "02_c", "record(x=1)")
    outcome = command("--lessons", tmp_path / "nb", "--out", tmp_path / "out", "--jobs", 2)
    assert outcome.exit_code == 0, outcome.output
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())["lessons"]
    assert list(found) == ["00_a", "01_b", "02_c"]
    assert found["00_a"]["metrics"]["threads"]["mean"] == max(1, (os.cpu_count() or 1) // 2)


def test_a_callers_number_of_threads_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    for stem in ("00_a", "01_b"):
        notebook(tmp_path / "nb", stem, "import os\nrecord(threads=int(os.environ['OMP_NUM_THREADS']))")
    outcome = command("--lessons", tmp_path / "nb", "--out", tmp_path / "out", "--jobs", 2)
    assert outcome.exit_code == 0, outcome.output
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())["lessons"]
    assert [x["metrics"]["threads"]["mean"] for x in found.values()] == [3, 3]


PARALLEL = """
import torch
from numba import njit, prange

@njit(parallel=True)
def total(n):
    found = 0
    for i in prange(n):
        found += i
    return found

total(9)
record(threads=torch.get_num_threads())
"""


def test_a_parallel_loop_of_numba_does_not_raise_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """UMAP has one, and threads that wait for a core by spinning took lesson 08 from one minute to seven."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    for stem in ("00_a", "01_b"):
        notebook(tmp_path / "nb", stem, PARALLEL)
    outcome = command("--lessons", tmp_path / "nb", "--out", tmp_path / "out", "--jobs", 2)
    assert outcome.exit_code == 0, outcome.output
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())["lessons"]
    assert [x["metrics"]["threads"]["mean"] for x in found.values()] == [1, 1]


def test_a_cell_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    notebook(tmp_path, "00_slow", "while True: pass")
    (slow,) = find_lessons(tmp_path)
    (tmp_path / "out").mkdir()
    result = running.run_lesson(slow, tmp_path / "out", timeout=2)
    assert result.error is not None
    assert result.error.startswith("cell 5 of 5, under 'The experiment': took longer than 2 s.")
