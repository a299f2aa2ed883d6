"""Lessons through papermill, a few at a time: numbers gathered, errors told plainly.

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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import papermill
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

from histolab_lite.recording import gather
from tools.lessons import parameters as params
from tools.lessons.guard import end_kernels, guarded
from tools.lessons.parameters import LessonError, Parameters
from tools.lessons.progress import Bars, Place, Tell
from tools.lessons.stamping import tidy_and_stamp
from tools.lessons.stopping import Stopped, stops

ANSI = re.compile(r"\x1b\[[0-9;]*m")
LOOK_S, UNWIND_S = 0.2, 5.0

logging.getLogger("papermill").addHandler(logging.NullHandler())  # what goes wrong is told once, in Result.error


@dataclass
class Lesson:
    """A notebook and what will be set in it."""

    path: Path
    declared: Parameters
    chosen: Parameters = field(default_factory=dict)

    @property
    def stem(self) -> str:
        return self.path.stem


@dataclass
class Result:
    """What came of one lesson: `defaults` as declared, `parameters` as set. `error` is None where it ran to its end."""

    stem: str
    executed: Path
    parameters: Parameters
    defaults: Parameters
    runtime_s: float
    metrics: dict[str, dict[str, Any]]
    peak_memory_mib: float | None
    error: str | None


def find_lessons(folder: Path, only: list[str] | None = None) -> list[Lesson]:
    """The lessons of a folder in reading order, all of them or those whose names start with one of `only`.

    Raises LessonError where a name means no lesson, or a notebook is no lesson (see `parameters.declared`).
    """
    paths = {path.stem: path for path in sorted(folder.glob("*.ipynb"))}
    if not paths:
        raise LessonError(f"No notebooks in {folder}. Run from a checkout, or name their folder: --lessons.")
    wanted = set(paths)
    if only:
        wanted = set()
        for name in only:
            matches = [stem for stem in paths if name and stem.startswith(name.removesuffix(".ipynb"))]
            if not matches:
                raise LessonError(f"No lesson starts with '{name}'. The lessons are {', '.join(paths)}.")
            wanted.update(matches)
    return [
        Lesson(path, params.declared(nbformat.read(path, as_version=4), stem))
        for stem, path in paths.items()
        if stem in wanted
    ]


def choose_parameters(folder: Path, lessons: list[Lesson], file: Path | None, data: str | None) -> None:
    """Set each lesson's parameters from a file (see `parameters.read_parameter_file`), then from `data`.

    Raises LessonError where a parameter does not fit, or `data` is given and no lesson here has it.
    """
    if file is not None:
        everyone = {lesson.stem: lesson.declared for lesson in find_lessons(folder)}
        chosen = params.read_parameter_file(file, everyone)
        for lesson in lessons:
            lesson.chosen |= chosen[lesson.stem]
    if data is not None:
        takers = [lesson for lesson in lessons if "data" in lesson.declared]
        if not takers:
            raise LessonError(f"--data {data}: none of {', '.join(x.stem for x in lessons)} has it.")
        for lesson in takers:
            lesson.chosen["data"] = data


def this_interpreter(threads: int | None = None) -> type[AsyncKernelManager]:
    """Kernels of the interpreter that runs the runner, whatever kernel specifications are installed.

    Another environment's `python3` kernel, registered in the home folder, would else be taken instead.
    `threads`: how many a kernel computes with, unless the caller's environment says; None leaves it to them.
    """
    spec = get_kernel_dict()
    env = {
        # A bar belongs in the terminal; in a committed output it is a pile of half-finished lines.
        "TQDM_DISABLE": "1",
        "PYTHONWARNINGS": "ignore:IProgress not found",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    if os.environ.get("HISTOLAB_DATA"):  # the kernel works in another folder than the caller's
        env["HISTOLAB_DATA"] = str(Path(os.environ["HISTOLAB_DATA"]).expanduser().resolve())

    wanted = os.environ.get("OMP_NUM_THREADS", threads)
    if wanted is not None:
        env["OMP_NUM_THREADS"] = str(wanted)
        # Its first parallel loop sets OpenMP's number to this, torch's with it: by default every core there is.
        env["NUMBA_NUM_THREADS"] = os.environ.get("NUMBA_NUM_THREADS", str(wanted))

    class ThisInterpreter(AsyncKernelManager):
        kernel_spec = KernelSpec(
            argv=guarded([*spec["argv"], "--log-level=CRITICAL"]),  # errors in cells are told in the notebook
            display_name=spec["display_name"],
            language="python",
            metadata=spec.get("metadata", {}),
            env=env,
        )

        async def cleanup_resources(self, restart: bool = False) -> None:  # type: ignore[override]
            if self.provisioner:  # what is left of its group, should its guard have been killed
                await self.provisioner.kill()
            await super().cleanup_resources(restart)

    return ThisInterpreter


def run_lessons(
    lessons: Sequence[Lesson],
    out: Path | None,
    timeout: float | None,
    jobs: int,
    done: Callable[[Result, list[Result]], None],
) -> list[Result]:
    """Execute lessons into the folder `out`, or in place, `jobs` at a time, which share the cores of the machine.

    `done` is called whenever one has come to its end, with its result and all there are, in reading order.
    Raises Stopped after a signal to stop, when no lesson is running any more.
    """
    jobs = min(jobs, len(lessons))
    threads = max(1, (os.cpu_count() or 1) // jobs) if jobs > 1 else None
    results: dict[str, Result] = {}
    ahead = list(lessons)
    running: set[Future[Result]] = set()
    pool = ThreadPoolExecutor(jobs)  # each waits for a kernel, a process of its own
    with Bars() as bars, stops() as heard:
        try:
            while (ahead or running) and not heard:
                while ahead and len(running) < jobs:  # no more than run: what waits in the pool cannot be called back
                    lesson = ahead.pop(0)
                    if out is None:
                        running.add(pool.submit(run_in_place, lesson, timeout, bars, threads))
                    else:
                        executed = out / lesson.path.name
                        running.add(pool.submit(run_lesson, lesson, executed, out, timeout, bars, threads))
                finished, running = wait(running, timeout=LOOK_S, return_when=FIRST_COMPLETED)
                for future in finished:
                    result = future.result()
                    results[result.stem] = result
                    done(result, [results[lesson.stem] for lesson in lessons if lesson.stem in results])
        finally:
            until = time.monotonic() + UNWIND_S
            while running and len(heard) < 2 and time.monotonic() < until:
                end_kernels()
                running = wait(running, timeout=LOOK_S).not_done
            pool.shutdown(wait=False)
    if heard:
        raise Stopped(heard[0], len(results))
    return [results[lesson.stem] for lesson in lessons]


def run_lesson(
    lesson: Lesson, executed: Path, workdir: Path, timeout: float | None, tell: Tell, threads: int | None = None
) -> Result:
    """Execute a lesson into the file `executed`, in the folder `workdir`.

    `timeout`: seconds a cell may take, None for no limit. `tell` hears where it is. `threads`: as of
    `this_interpreter`. An error in a cell is no exception here: it comes back in `Result.error`, and the executed
    copy shows it.
    """
    notebook = nbformat.read(lesson.path, as_version=4)
    started = time.monotonic()
    error: str | None = None
    place = Place(lesson.stem, notebook, tell)
    try:
        papermill.execute_notebook(
            notebook,
            str(executed.resolve()).replace("{", "{{").replace("}", "}}"),  # papermill formats its paths
            parameters=lesson.chosen,
            kernel_name="python3",
            language="python",
            kernel_manager_class=this_interpreter(threads),
            resources={"metadata": {"path": str(workdir)}},  # `cwd` would move the whole runner, with every thread
            progress_bar=False,
            execution_timeout=timeout,
            on_cell_start=place.enter,
        )
        place.finish()
    except PapermillExecutionError as failure:
        error = f"{place}: {_last_lines(failure.traceback, failure.ename, failure.evalue)}"
    except CellTimeoutError:
        error = f"{place}: took longer than {timeout:g} s. Give it more with --timeout."
    except DeadKernelError:
        error = f"{place}: its Python process died, most often for want of memory."
    except RuntimeError as failure:  # jupyter_client's
        error = f"{place}: its Python process did not start. {failure}"
    runtime = time.monotonic() - started
    metrics: dict[str, dict[str, Any]] = {}
    peak = None
    try:
        metrics, peak = gather(nbformat.read(executed, as_version=4))
    except ValueError as failure:
        error = error or str(failure)
    return Result(lesson.stem, executed, lesson.chosen, lesson.declared, runtime, metrics, peak, error)


def run_in_place(lesson: Lesson, timeout: float | None, tell: Tell, threads: int | None = None) -> Result:
    """Execute a lesson at its defaults and put tidied, stamped outputs into the lesson's own file.

    A lesson that fails is left as it was.
    """
    with tempfile.TemporaryDirectory() as workdir:
        result = run_lesson(lesson, Path(workdir) / lesson.path.name, Path(workdir), timeout, tell, threads)
        if result.error is None:
            notebook = nbformat.read(result.executed, as_version=4)
            tidy_and_stamp(notebook, root=lesson.path.resolve().parent.parent)
            nbformat.validate(notebook)
            partial = lesson.path.with_name(f".{lesson.path.name}.partial")
            partial.write_text(nbformat.writes(notebook).rstrip("\n") + "\n", encoding="utf-8")
            os.replace(partial, lesson.path)
    result.executed = lesson.path
    return result


def _last_lines(traceback: list[str], name: str, message: str) -> str:
    """The last few lines of a traceback, without colours; they end with the exception itself."""
    lines = [line.rstrip() for line in ANSI.sub("", "\n".join(traceback)).splitlines() if line.strip()]
    return "\n    ".join(["", *lines[-6:]]) if lines else f"{name}: {message}"
