"""The runner on tiny notebooks: lessons run, numbers gathered, failures told and survived."""

import importlib.metadata
import json
import os
import sys
import threading
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell

from tests.tools.lessons.made_up import command, notebook, tagged, write_notebook
from tools.lessons import running
from tools.lessons.kernels import this_interpreter
from tools.lessons.parameters import Lesson, find_lessons
from tools.lessons.report import PAGE
from tools.lessons.runs import Result

GOOD = """
print(sys.executable, os.environ['HISTOLAB_DATA'], sep='\\n')
for _ in tqdm(range(3)): pass
Path('stray.txt').write_text('left by the lesson')
record(z_first=[0.8, 0.9, 1.0], a_second=len(data))"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run by the command: a lesson that works, one that raises, one whose process dies, another."""
    base = tmp_path_factory.mktemp("run")
    folder, out = base / "lessons", base / "out {a}"
    notebook(folder, "00_good", GOOD)
    notebook(folder, "01_raises", "def share(n):\n    return 1 / n\nshare(0)")
    notebook(folder, "02_dies", "os._exit(1)")
    notebook(folder, "03_last", "record(seed_count=len(seeds))", "seeds = [0]")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(base)
        patch.setenv("HISTOLAB_DATA", "tissue")  # relative, as in HISTOLAB_DATA=../shared/data make tutorial
        outcome = command("--lessons", folder, "--data", "glas", "--out", out)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert {path.name for path in base.iterdir()} == {"lessons", "out {a}"}
    metrics = json.loads((out / "metrics.json").read_text())
    return {"out": out, "outcome": outcome, "lessons": metrics["lessons"], "machine": metrics["environment"]}


def test_numbers_are_gathered_in_the_order_recorded(run):
    good = run["lessons"]["00_good"]
    assert list(good["metrics"]) == ["z_first", "a_second"]
    first = good["metrics"]["z_first"]
    assert (first["mean"], first["n"], first["values"]) == (pytest.approx(0.9), 3, [0.8, 0.9, 1.0])
    assert first["sd"] == pytest.approx(0.1)
    assert good["metrics"]["a_second"]["mean"] == len("glas")
    assert (good["parameters"], good["error"]) == ({"data": "glas"}, None)
    assert good["runtime_s"] > 0
    assert good["peak_memory_mib"] > 10
    assert run["machine"]["versions"]["torch"] == importlib.metadata.version("torch")
    assert {"date", "device", "python", "cpu_cores"} <= run["machine"].keys()


def test_lessons_run_in_this_interpreter_on_the_callers_data_in_the_folder_of_the_results(run):
    notebook = nbformat.read(run["out"] / "00_good.ipynb", as_version=4)
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    said = "".join(output["text"] for output in outputs if "text" in output)
    # and no line of a progress bar
    assert said.splitlines() == [sys.executable, str((run["out"].parent / "tissue").resolve())]
    assert (run["out"] / "stray.txt").exists()


def test_a_failing_lesson_is_told_and_the_others_run(run):
    lessons, said = run["lessons"], run["outcome"].output
    assert run["outcome"].exit_code == 1
    assert "01_raises failed at cell 5 of 5, under 'The experiment'" in said
    assert "ZeroDivisionError: division by zero" in said
    assert "its Python process died" in lessons["02_dies"]["error"]
    assert lessons["03_last"]["metrics"]["seed_count"]["mean"] == 1
    assert lessons["03_last"]["parameters"] == {}  # it has no parameter `data`
    assert "2 of 4 lessons" in said
    kept = nbformat.read(run["out"] / "01_raises.ipynb", as_version=4)
    assert any(o["output_type"] == "error" for cell in kept["cells"] for o in cell.get("outputs", []))


def test_the_page_of_a_run_shows_the_figures_and_links_to_the_lessons(run):
    page = (run["out"] / PAGE).read_text()
    for stem in run["lessons"]:
        assert f"](lessons/{stem}.ipynb)" in page
        assert (run["out"] / f"{stem}.ipynb").exists()
    assert [text in page for text in ("0.900 ± 0.100", r"Title of \<00\_good\>", "ZeroDivisionError")] == [True] * 3


def test_two_lessons_run_at_a_time_and_share_the_cores(monkeypatch):
    """Each waits for the other: one after another, both would fail."""
    both = threading.Barrier(2, timeout=60)

    def pretend(lesson, out, timeout, bars, threads):
        both.wait()
        return Result(lesson.stem, {}, {"threads": threads})

    monkeypatch.setattr(running, "run_lesson", pretend)
    lessons, seen = [Lesson(Path(f"{name}.ipynb"), {}) for name in "abcd"], []
    run = running.run_lessons(lessons, Path("out"), 60, 2, lambda so_far: seen.append(len(so_far)))
    assert list(run) == ["a", "b", "c", "d"]
    assert {result.defaults["threads"] for result in run.values()} == {max(1, os.cpu_count() // 2)}
    assert seen == [1, 2, 3, 4]


def test_a_kernel_takes_its_share_of_threads_unless_the_caller_says_how_many(monkeypatch):
    def told():
        env = this_interpreter(7).kernel_spec.env
        return env["OMP_NUM_THREADS"], env["NUMBA_NUM_THREADS"]  # a parallel loop of numba would raise the first

    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert told() == ("7", "7")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert told() == ("3", "3")
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    assert told() == ("3", "2")
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert "OMP_NUM_THREADS" not in this_interpreter().kernel_spec.env


def test_a_cell_that_takes_too_long_is_stopped(tmp_path):
    write_notebook(tmp_path, "00_slow", tagged("seeds = [0]", "parameters"), new_code_cell("while True: pass"))
    (slow,) = find_lessons(tmp_path)
    (tmp_path / "out").mkdir()
    result = running.run_lesson(slow, tmp_path / "out", timeout=2)
    assert result.error == "cell 2 of 2, under 'starting': took longer than 2 s. Give it more with --timeout."
