"""The runner stopped by a signal, as SLURM, systemd, CI and Ctrl-C do: nothing that it started stays behind."""

import json
import os
import signal
import subprocess
import sys
import time

import nbformat
import psutil
import pytest

from tests.processes import living, wait_for
from tests.tools.lessons.made_up import notebook
from tools.lessons import kernels, running
from tools.lessons.kernels import stops
from tools.lessons.parameters import find_lessons
from tools.lessons.report import PAGE

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")
LONG = 60.0  # seconds: more than even a busy machine takes

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


def with_children(folder, stem, then="time.sleep(1000)"):
    """A lesson that starts them and notes their numbers in the file returned."""
    note = folder.parent / f"{stem}.json"
    notebook(folder, stem, CHILDREN.format(note=str(note)) + then)
    return note


def hear_signals():
    """As a program that a terminal starts; those who run the tests may ignore some, as nohup does."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def stopped(notes, numbers, lessons, *options):
    """Start the runner and, once its lessons have started their children, signal it alone; all are to end.

    Returns the runner's exit status and what it said.
    """
    argv = [sys.executable, "-m", "tools.lessons", "--lessons", lessons, *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    run, tree = subprocess.Popen(argv, text=True, preexec_fn=hear_signals, **pipes), []
    try:
        wait_for(lambda: all(note.exists() for note in notes), 2 * LONG, "the lessons did not start")
        tree = psutil.Process(run.pid).children(recursive=True)
        expected = {number for note in notes for number in json.loads(note.read_text())}
        assert expected < {process.pid for process in tree}  # and kernels
        for number in numbers:
            run.send_signal(number)
            time.sleep(0.1)  # else two are one
        wait_for(lambda: not living(tree) and run.poll() is not None, LONG, "processes are left")
        return run.returncode, run.communicate()[1].strip()
    finally:
        for process in living(tree):
            process.kill()
        run.kill()
        run.wait()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("numbers", "status"),
    [([signal.SIGTERM], 143), ([signal.SIGINT, signal.SIGINT], 130), ([signal.SIGKILL], -signal.SIGKILL)],
    ids=["SIGTERM", "Ctrl-C twice", "SIGKILL"],
)
def test_a_run_that_is_stopped_ends_all_and_keeps_what_it_had(tmp_path, numbers, status):
    notebook(tmp_path / "nb", "00_a", "record(x=1)")
    notes = [with_children(tmp_path / "nb", stem) for stem in ("01_b", "02_c")]
    out = tmp_path / "out"
    found, said = stopped(notes, numbers, tmp_path / "nb", "--out", out, "--jobs", "2")
    assert found == status
    if status > 0:
        name = signal.Signals(numbers[0]).name
        assert said == f"Stopped by {name} with 1 of 3 lessons done; read {out / PAGE}."
        for executed in out.glob("*.ipynb"):
            nbformat.read(executed, as_version=4)  # whole
    kept = json.loads((out / "metrics.json").read_text())["lessons"]
    assert {stem: lesson["metrics"]["x"]["mean"] for stem, lesson in kept.items()} == {"00_a": 1}
    assert "](lessons/00_a.ipynb)" in (out / PAGE).read_text()


@pytest.mark.slow
def test_a_lesson_that_is_stopped_in_place_stays_as_it_was(tmp_path):
    note = with_children(tmp_path / "nb", "01_a")
    before = {path: path.read_bytes() for path in (tmp_path / "nb").iterdir()}
    assert stopped([note], [signal.SIGHUP], tmp_path / "nb", "--in-place")[0] == 128 + signal.SIGHUP
    assert {path: path.read_bytes() for path in (tmp_path / "nb").iterdir()} == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("then", "error"),
    [
        ("", "None"),
        ("os._exit(1)", "its Python process died"),
        # Without a guard nobody finds the one that left its session, so that one ends by itself.
        ("children[2].kill()\nos.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(1000)", "its Python process died"),
    ],
    ids=["ends", "dies", "loses its guard"],
)
def test_a_lesson_leaves_no_children(tmp_path, then, error):
    note = with_children(tmp_path / "nb", "00_a", then)
    (lesson,) = find_lessons(tmp_path / "nb")
    assert error in str(running.run_lesson(lesson, tmp_path, timeout=LONG).error)
    numbers = json.loads(note.read_text())
    assert len(numbers) == 3
    left = [psutil.Process(number) for number in numbers if psutil.pid_exists(number)]
    wait_for(lambda: not living(left), LONG, "children are left")


def test_a_kernel_that_does_not_start_is_the_lessons_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "guarded", lambda argv: [sys.executable, "-c", "raise SystemExit"])
    notebook(tmp_path / "nb", "00_a", "record(x=1)")
    (lesson,) = find_lessons(tmp_path / "nb")
    assert "its Python process did not start" in running.run_lesson(lesson, tmp_path, timeout=LONG).error


def test_signals_are_heard_unless_the_caller_ignores_them():
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
