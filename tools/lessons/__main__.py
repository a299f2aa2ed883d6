"""python -m tools.lessons: run the lessons, and say where the results are."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tools.lessons.checking import Baseline
    from tools.lessons.claims import Claim
    from tools.lessons.parameters import Lesson
    from tools.lessons.runs import Run

LESSONS = Path(__file__).resolve().parents[2] / "notebooks"
JOBS = min(2, os.cpu_count() or 1)  # two, with two gigabytes each: a lesson does not always keep all cores busy

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")


@app.command()
def main(
    only: Annotated[
        list[str] | None,
        typer.Option(help="Lessons to run, by the start of their names: 02, or 00,02. May be repeated."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Tissue to run on: sets the parameter 'data' of every lesson that has one."),
    ] = None,
    params: Annotated[
        Path | None,
        typer.Option(help="YAML file of parameters by lesson, such as notebooks/full.yaml."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the results, new, empty or an earlier run's; else runs/<time>-…"),
    ] = None,
    in_place: Annotated[
        bool,
        typer.Option("--in-place", help="Put outputs, tidied and stamped, into the lessons themselves."),
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Compare the numbers with expected.json beside the lessons; write junit.xml."),
    ] = False,
    update: Annotated[
        bool,
        typer.Option("--update", help="Propose the numbers as a new expected.json, in the folder of the results."),
    ] = False,
    other_seeds: Annotated[
        list[Path] | None,
        typer.Option(help="Earlier run with other seeds, which --update adds to the spread. May be repeated."),
    ] = None,
    claims: Annotated[
        bool,
        typer.Option("--claims", help="Take the numbers into evidence.json; rewrite docs/claims.md."),
    ] = False,
    site: Annotated[
        bool,
        typer.Option("--site", help="Build a website of the run, in its folder."),
    ] = False,
    earlier: Annotated[
        Path | None,
        typer.Option(help="Run nothing; --check, --update, --claims or --site take the results of an earlier run."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds a cell may take; 0: no limit.")] = 3600,
    jobs: Annotated[int, typer.Option(min=1, help="Lessons that run at a time and share the cores.")] = JOBS,
    lessons: Annotated[Path, typer.Option(help="Folder of the lessons.")] = LESSONS,
) -> None:
    """Run the lessons in reading order and gather what they record.

    Each lesson is executed by papermill at tutorial size, on phantom slides, unless options say otherwise.
    The results are executed copies, metrics.json and run.md, in a folder of their own; the lessons stay as
    they are. A lesson that fails does not stop the others.

    The exit status is 1 if a lesson failed, or if --check found a number worse than expected or missing. It
    is 2 for a wrong option, before anything runs. A claim that does not hold is a result, not a failure.
    Ctrl-C, SIGTERM and SIGHUP end every running lesson with all that it started; the exit status is then
    130, 143 or 129.
    """
    # papermill is slow to import, and --help should not wait for it
    from tools.lessons import checking, ledger, runs
    from tools.lessons.claims import CLAIMS, read_claims
    from tools.lessons.parameters import choose_parameters, find_lessons

    if in_place and (data or params or out or check or update or claims or earlier or site):
        raise typer.BadParameter("--in-place runs the defaults, into the lessons; it goes with --only and --timeout.")
    if earlier and (data or params or out or not (check or update or claims or site)):
        raise typer.BadParameter("--earlier takes a run as it was: with --check, --update, --claims or --site.")
    if other_seeds and not update:
        raise typer.BadParameter("--other-seeds is for --update: they change the tolerances that it proposes.")
    committed = lessons / runs.BASELINE
    with _errors_reported():
        names = [name.strip() for item in only or [] for name in item.split(",")]
        chosen = find_lessons(lessons, names)
        choose_parameters(lessons, chosen, params, data)
        wanted = {lesson.stem for lesson in chosen} if names else None
        baseline = checking.read_baseline(committed) if check or (update and committed.exists()) else {}
        planned = {x.stem: runs.Result(x.stem, x.chosen, x.declared) for x in chosen}
        known = read_claims(lessons / CLAIMS) if claims or (lessons / CLAIMS).exists() else []
        if claims:  # raises before the run where the page could not be written
            folder = lessons.resolve()
            ledger.rendered(folder, known, ledger.read_evidence(folder / ledger.EVIDENCE))
        if earlier is None:
            if check:
                checking.refuse_other_experiments(planned, baseline)
            if claims:
                ledger.refuse_few_seeds({stem: lesson.used for stem, lesson in planned.items()}, known)
            if not in_place:
                out = out or Path("runs") / f"{datetime.now():%Y-%m-%d_%H%M%S}-{data or 'phantom'}"
                if out.resolve() == lessons.resolve():
                    raise ValueError(f"{out} holds other files, the lessons. Name a new folder for the results.")
                runs.open_folder(out)

    passed = earlier is not None or _run(chosen, out, timeout or None, jobs, known)
    results = earlier or out
    if results is not None and (check or update or claims):
        with _errors_reported():
            run, _ = runs.read_run(results, wanted)
            if check:
                passed &= _check(run, baseline, wanted, results)
                _name_other_libraries(chosen)
            if update:
                _propose(run, baseline, [runs.read_run(x)[0] for x in other_seeds or []], results, committed)
            if claims:
                typer.echo(f"Written: {ledger.take(lessons, results, wanted)}, and its evidence in {lessons}.")
    if site and results is not None:
        _build_site(results)
    raise typer.Exit(0 if passed else 1)


@contextmanager
def _errors_reported() -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None


def _run(chosen: list[Lesson], out: Path | None, limit: float | None, jobs: int, claims: list[Claim]) -> bool:
    """Run lessons, into the folder `out` or, without one, in place; return whether all ran to their end."""
    from tools.lessons import report
    from tools.lessons.kernels import Stopped
    from tools.lessons.running import run_lessons

    started = time.monotonic()
    try:
        if out is None:
            run = run_lessons(chosen, None, limit, 1, lambda *_: None)
        else:
            run = run_lessons(chosen, out, limit, jobs, partial(report.write, out, claims=claims))
    except Stopped as stopped:
        where = f"; read {out / report.PAGE}" if out is not None and stopped.done else ""
        typer.echo(f"\n{stopped} with {stopped.done} of {len(chosen)} lessons done{where}.", err=True)
        sys.stdout.flush()
        os._exit(stopped.status)  # without waiting for a thread that may hang
    failed = {stem: result.error for stem, result in run.items() if result.error}
    for stem, error in failed.items():
        typer.echo(f"\n{stem} failed at {error}", err=True)
    minutes = (time.monotonic() - started) / 60
    typer.echo(f"\n{len(run) - len(failed)} of {len(run)} lessons ran to their end, in {minutes:.1f} min.")
    if out is not None:
        typer.echo(f"Read {out / report.PAGE}; the numbers are in {out / 'metrics.json'}.")
    return not failed


def _build_site(results: Path) -> None:
    """Build the pages of a run, and say where they are. Without Sphinx the run stands without them."""
    from tools.lessons.site import build

    try:
        typer.echo(f"Open {build(results / 'site', results)}.")
    except RuntimeError as error:
        typer.echo(f"There are no pages. {error}", err=True)
        raise typer.Exit(2) from None


def _check(run: Run, baseline: Baseline, wanted: set[str] | None, results: Path) -> bool:
    """Compare a run with the baseline, on the terminal and in junit.xml; return whether it passed."""
    from histolab_lite.files import write_atomically
    from tools.lessons import checking, comparing, runs

    found = checking.compare(run, baseline, wanted)
    junit = comparing.as_junit(found, {stem: result.runtime_s for stem, result in run.items()})
    write_atomically(results / runs.JUNIT, junit.encode())
    shown = [comparison for comparison in found if comparison.verdict != "as expected"]
    comparing.show(shown, ("lesson", "metric", "expected", "found", "verdict", ""))
    red = any(comparison.red for comparison in found)
    typer.secho(f"Regression check {'failed' if red else 'passed'}", fg="red" if red else "green", bold=True, nl=False)
    typer.echo(f": {checking.counted(found)}.\nFor CI: {results / runs.JUNIT}.")
    return not red


def _name_other_libraries(chosen: list[Lesson]) -> None:
    """Name the committed lessons that ran with other library code than that of the checkout."""
    import nbformat

    from tools.lessons.stamping import other_library

    for lesson in chosen:
        notebook = nbformat.read(lesson.path, as_version=4)
        if moved := other_library(notebook, lesson.path.resolve().parent.parent):
            names = ", ".join(moved[:3]) + (f" and {len(moved) - 3} more" if len(moved) > 3 else "")
            typer.echo(f"{lesson.stem}: its committed outputs are older than {names}; run: make notebooks")


def _propose(run: Run, baseline: Baseline, others: list[Run], results: Path, committed: Path) -> None:
    """Write the proposal into the folder of the results, and show what it would change."""
    from histolab_lite.files import write_atomically
    from tools.lessons import checking, comparing, runs

    proposed = checking.propose(run, baseline, others)
    write_atomically(results / runs.BASELINE, checking.as_json(proposed).encode())
    moved = checking.changes(baseline, proposed)
    comparing.show(moved, ("lesson", "metric", "committed", "proposed", "", "parameters"))
    if not moved:
        typer.echo("The proposal is what is committed.")
    for stem in (stem for stem, result in run.items() if result.error):
        typer.echo(f"{stem} failed: the proposal leaves its numbers as they are.")
    typer.echo(f"Proposed: {results / runs.BASELINE}. To adopt it, copy it to {committed} and commit.")


if __name__ == "__main__":
    app(prog_name="python -m tools.lessons")
