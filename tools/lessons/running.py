"""Run lessons by papermill, a few at a time, each with a progress bar.

https://papermill.readthedocs.io  ·  https://nbclient.readthedocs.io
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from histolab_lite.files import read_json, write_atomically
from histolab_lite.recording import Summary
from tools.lessons.guard import end_kernels
from tools.lessons.kernels import Stopped, stops, this_interpreter
from tools.lessons.parameters import Lesson
from tools.lessons.runs import Result, Run, gather
from tools.lessons.stamping import tidy_and_stamp

ANSI = re.compile(r"\x1b\[[0-9;]*m")
HEADING = re.compile(r"^#{1,3} +(.+)$", re.MULTILINE)
LOOK_S, UNWIND_S = 0.2, 5.0

logging.getLogger("papermill").addHandler(logging.NullHandler())  # an error is reported once, in Result.error


class Place:
    """The cell that a lesson has reached, shown on its progress bar if there are any."""

    def __init__(self, stem: str, notebook: Any, bars: Progress | None) -> None:
        self.section, self.number, self.total = "starting", 0, len(notebook["cells"])
        self.bars, self.task = bars, TaskID(0)
        if bars:
            self.task = bars.add_task(stem, total=self.total, number=0, section=self.section)

    def __str__(self) -> str:
        return f"cell {self.number} of {self.total}, under '{self.section}'"

    def enter(self, cell: Any, cell_index: int) -> None:
        """Enter a cell: papermill's `on_cell_start`."""
        if cell["cell_type"] == "markdown" and (heading := HEADING.search(cell["source"])):
            self.section = heading.group(1).strip()
        if "injected-parameters" not in cell["metadata"].get("tags", []):
            self.number += 1
        self.show(self.number - 1, self.section)  # this cell has only begun

    def show(self, done: int, section: str) -> None:
        if self.bars:
            self.bars.update(self.task, completed=done, number=self.number, section=section[:48])


def run_lessons(
    lessons: Sequence[Lesson],
    out: Path | None,
    timeout: float | None,
    jobs: int,
    done: Callable[[Run], None],
) -> Run:
    """Execute lessons into the folder `out`, or in place, `jobs` at a time, which share the cores of the machine.

    `done` is called whenever a lesson ends, with all results so far.
    Raises Stopped after a signal to stop, when no lesson runs any more.
    """
    jobs = min(jobs, len(lessons))
    threads = max(1, (os.cpu_count() or 1) // jobs) if jobs > 1 else None
    results: dict[str, Result] = {}
    ahead = list(lessons)
    running: set[Future[Result]] = set()
    pool = ThreadPoolExecutor(jobs)  # each thread waits for a kernel, which is a process
    columns = (
        TextColumn("{task.description}"),
        TextColumn("cell {task.fields[number]} of {task.total:.0f}"),
        BarColumn(20),
        TimeElapsedColumn(),
        TextColumn("{task.fields[section]}", markup=False),
    )
    with Progress(*columns) as bars, stops() as heard:
        try:
            while (ahead or running) and not heard:
                while ahead and len(running) < jobs:  # nothing waits in the pool: it could not be called back
                    lesson = ahead.pop(0)
                    run = run_in_place if out is None else partial(run_lesson, out=out)
                    running.add(pool.submit(run, lesson, timeout=timeout, bars=bars, threads=threads))
                finished, running = wait(running, timeout=LOOK_S, return_when=FIRST_COMPLETED)
                for future in finished:
                    result = future.result()
                    results[result.stem] = result
                    done(_in_order(lessons, results))
        finally:
            until = time.monotonic() + UNWIND_S
            while running and len(heard) < 2 and time.monotonic() < until:
                end_kernels()
                running = wait(running, timeout=LOOK_S).not_done
            pool.shutdown(wait=False)
    if heard:
        raise Stopped(heard[0], len(results))
    return _in_order(lessons, results)


def _in_order(lessons: Sequence[Lesson], results: Run) -> Run:
    return {lesson.stem: results[lesson.stem] for lesson in lessons if lesson.stem in results}


def run_lesson(
    lesson: Lesson,
    out: Path,
    timeout: float | None,
    bars: Progress | None = None,
    threads: int | None = None,
    trace: Path | None = None,
) -> Result:
    """Execute a lesson in the folder `out`, where the executed copy takes the lesson's name.

    `timeout`: seconds a cell may take, None for no limit. `threads`, `trace`: see `this_interpreter`. An error in a
    cell does not raise here: it is in `Result.error`, and the executed copy shows it.
    """
    notebook = nbformat.read(lesson.path, as_version=4)
    executed = out.resolve() / lesson.path.name
    started = time.monotonic()
    error: str | None = None
    place = Place(lesson.stem, notebook, bars)
    try:
        papermill.execute_notebook(
            notebook,
            str(executed).replace("{", "{{").replace("}", "}}"),  # papermill formats its paths
            parameters=lesson.chosen,
            kernel_name="python3",
            language="python",
            kernel_manager_class=this_interpreter(threads, trace),
            resources={"metadata": {"path": str(out)}},  # `cwd` would move the whole runner, with every thread
            progress_bar=False,
            execution_timeout=timeout,
            on_cell_start=place.enter,
        )
        place.show(place.total, "done")
    except PapermillExecutionError as failure:
        error = f"{place}: {_last_lines(failure.traceback, failure.ename, failure.evalue)}"
    except CellTimeoutError:
        error = f"{place}: took longer than {timeout:g} s. Give it more with --timeout."
    except DeadKernelError:
        error = f"{place}: its Python process died, most often because memory ran out."
    except RuntimeError as failure:  # jupyter_client's
        error = f"{place}: its Python process did not start. {failure}"
    runtime = round(time.monotonic() - started, 1)
    metrics: dict[str, Summary] = {}
    peak = None
    try:
        metrics, peak = gather(nbformat.read(executed, as_version=4))
    except ValueError as failure:
        error = error or str(failure)
    return Result(lesson.stem, lesson.chosen, lesson.declared, runtime, metrics, peak, error)


def run_in_place(
    lesson: Lesson, timeout: float | None, bars: Progress | None = None, threads: int | None = None
) -> Result:
    """Execute a lesson at its defaults and put tidied, stamped outputs into the lesson's own file.

    A lesson that fails is left as it was.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, trace = Path(folder), Path(folder) / "trace.json"
        result = run_lesson(lesson, out, timeout, bars, threads, trace)
        if result.error is None and not trace.exists():
            return replace(
                result, error="it ran, but what it read was not noted: its outputs cannot be stamped. Run it again."
            )
        if result.error is None:
            notebook = nbformat.read(out / lesson.path.name, as_version=4)
            tidy_and_stamp(notebook, lesson.path.resolve().parent.parent, read_json(trace))
            nbformat.validate(notebook)
            write_atomically(lesson.path, (nbformat.writes(notebook).rstrip("\n") + "\n").encode())
    return result


def _last_lines(traceback: list[str], name: str, message: str) -> str:
    """Return the last few lines of a traceback, without colours; they end with the exception itself."""
    lines = [line.rstrip() for line in ANSI.sub("", "\n".join(traceback)).splitlines() if line.strip()]
    return "\n    ".join(["", *lines[-6:]]) if lines else f"{name}: {message}"
