"""The runner stopped by a signal, as SLURM, systemd, CI and Ctrl-C do: nothing that it started stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest

from tests.processes import living, wait_for
from tests.tools.lessons.tiny_lessons import notebook
from tools.lessons import kernels, running
from tools.lessons.kernels import stops
from tools.lessons.parameters import find_lessons

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")

#: A lesson's children: one that a polite signal ends, one that ignores it, one that left its parent's session.
CHILDREN = """
import json, signal, subprocess, time
program = [sys.executable, "-c", "import time; time.sleep(1000)"]
children = [
    subprocess.Popen(["sleep", "1000"]),
    subprocess.Popen(program, preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN)),
    subprocess.Popen(program, start_new_session=True),
]
Path({note!r} + ".part").write_text(json.dumps([child.pid for child in children]))
Path({note!r} + ".part").replace({note!r})
"""


def with_children(folder: Path, stem: str, then: str) -> Path:
    """A lesson that starts them and notes their numbers in the file returned."""
    note = folder.parent / f"{stem}.json"
    notebook(folder, stem, CHILDREN.format(note=str(note)) + then)
    return note


def start(lessons: Path, *options: str | Path) -> subprocess.Popen[str]:
    """As from a terminal: the runner hears what those who run the tests may ignore, as nohup does."""
    command = [sys.executable, "-m", "tools.lessons", "--lessons", lessons, *options]
    before = {x: signal.signal(x, signal.SIG_DFL) for x in (signal.SIGINT, signal.SIGHUP)}
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop(run: subprocess.Popen[str], notes: list[Path], *numbers: int) -> str:
    """Signal the runner alone once its lessons have started their children; all are gone in 10 s. What it said."""
    tree: list[psutil.Process] = []
    try:
        wait_for(lambda: all(note.exists() for note in notes), 120, "the lessons did not start")
        tree = psutil.Process(run.pid).children(recursive=True)
        expected = {number for note in notes for number in json.loads(note.read_text())}
        assert expected <= {process.pid for process in tree}
        assert len(tree) > len(expected)  # kernels
        for number in numbers:
            run.send_signal(number)
            time.sleep(0.1)  # else two are one
        wait_for(lambda: not living(tree) and run.poll() is not None, 10, "after 10 s processes are left")
        return run.communicate()[1]
    finally:
        for process in living(tree):
            process.kill()
        run.kill()
        run.wait()


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [2, 1])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_a_signal_to_the_runner_ends_all(tmp_path: Path, jobs: int, number: signal.Signals) -> None:
    notes = [with_children(tmp_path / "nb", stem, "time.sleep(1000)") for stem in ("01_a", "02_b")[:jobs]]
    run = start(tmp_path / "nb", "--out", tmp_path / "out", "--jobs", str(jobs))
    said = stop(run, notes, number)
    if number == signal.SIGKILL:
        assert run.returncode == -number
    else:
        assert run.returncode == 128 + number
        assert said.strip() == f"Stopped by {number.name} with 0 of {jobs} lessons done."
        for executed in (tmp_path / "out").glob("*.ipynb"):
            nbformat.read(executed, as_version=4)  # whole


@pytest.mark.slow
def test_a_lesson_that_is_stopped_in_place_stays_as_it_was(tmp_path: Path) -> None:
    note = with_children(tmp_path / "nb", "01_a", "time.sleep(1000)")
    before = (tmp_path / "nb" / "01_a.ipynb").read_bytes()
    run = start(tmp_path / "nb", "--in-place")
    stop(run, [note], signal.SIGHUP)
    assert run.returncode == 128 + signal.SIGHUP
    assert {path.name: path.read_bytes() for path in (tmp_path / "nb").iterdir()} == {"01_a.ipynb": before}


@pytest.mark.slow
def test_a_run_that_is_stopped_keeps_what_it_had(tmp_path: Path) -> None:
    """By a person who presses Ctrl-C twice."""
    notebook(tmp_path / "nb", "00_a", "record(x=1)")
    note = with_children(tmp_path / "nb", "01_b", "time.sleep(1000)")
    run = start(tmp_path / "nb", "--out", tmp_path / "out", "--jobs", "1")
    said = stop(run, [note], signal.SIGINT, signal.SIGINT)
    assert run.returncode == 130
    index = tmp_path / "out" / "index.html"
    assert said.strip() == f"Stopped by SIGINT with 1 of 2 lessons done; read {index}."
    kept = json.loads((tmp_path / "out" / "metrics.json").read_text())["lessons"]
    assert list(kept) == ["00_a"]
    assert kept["00_a"]["metrics"]["x"]["mean"] == 1
    assert 'href="00_a.html"' in index.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("then", "error"),
    [
        ("", None),
        ("os._exit(1)", "its Python process died"),
        ("os.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(1000)", "its Python process died"),
    ],
    ids=["ends", "dies", "loses its guard"],
)
def test_a_lesson_leaves_no_children(tmp_path: Path, then: str, error: str | None) -> None:
    # Without a guard nobody finds the one that left its session, so that one ends by itself.
    note = with_children(tmp_path / "nb", "00_a", f"{'children[2].kill()' if 'getppid' in then else ''}\n{then}")
    (lesson,) = find_lessons(tmp_path / "nb")
    result = running.run_lesson(lesson, tmp_path, timeout=60)
    assert (error in result.error) if error and result.error else (result.error == error)
    numbers = json.loads(note.read_text())
    assert len(numbers) == 3
    left = [psutil.Process(number) for number in numbers if psutil.pid_exists(number)]
    wait_for(lambda: not living(left), 2, "children are left")


def test_a_kernel_that_does_not_start_is_the_lessons_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "guarded", lambda argv: [sys.executable, "-c", "raise SystemExit"])
    notebook(tmp_path / "nb", "00_a", "record(x=1)")
    (lesson,) = find_lessons(tmp_path / "nb")
    result = running.run_lesson(lesson, tmp_path, timeout=60)
    assert result.error is not None
    assert "its Python process did not start" in result.error


def test_signals_are_heard_unless_the_caller_ignores_them() -> None:
    """nohup ignores SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN), signal.getsignal(signal.SIGTERM)
    try:
        with stops() as heard:
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGTERM)
        assert heard == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is before[1]
    finally:
        signal.signal(signal.SIGHUP, before[0])
