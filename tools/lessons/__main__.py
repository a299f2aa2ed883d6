"""python -m tools.lessons: run the lessons and say where to look."""

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
    from tools.lessons.claims import Claim
    from tools.lessons.regression import Baseline
    from tools.lessons.runner import Lesson
    from tools.lessons.runs import Run

LESSONS = Path(__file__).resolve().parents[2] / "notebooks"
JOBS = min(2, os.cpu_count() or 1)  # two, with two gigabytes each: what uses one core leaves the others waiting

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
        typer.Option(help="Earlier run with other seeds, whose spread --update takes in. May be repeated."),
    ] = None,
    claims: Annotated[
        bool,
        typer.Option("--claims", help="Take the numbers into evidence.json; rewrite README's verdicts on the papers."),
    ] = False,
    earlier: Annotated[
        Path | None,
        typer.Option(help="Run nothing: --check, --update or --claims the results in the folder of an earlier run."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds a cell may take; 0: no limit.")] = 3600,
    jobs: Annotated[int, typer.Option(min=1, help="Lessons that run at a time and share the cores.")] = JOBS,
    lessons: Annotated[Path, typer.Option(help="Folder of the lessons.")] = LESSONS,
) -> None:
    """Run the lessons in reading order and gather what they record.

    Each lesson is executed by papermill at tutorial size, on phantom slides, unless options say otherwise.
    The results are executed copies (.ipynb and .html), metrics.json and index.html, in a folder of their
    own; the lessons stay as they are. A lesson that fails does not stop the others, and makes the exit
    status 1, as does a number that --check finds worse than expected, or missing; a wrong option makes it 2,
    before anything runs. A claim that does not hold is a result, and no failure. Ctrl-C, SIGTERM and SIGHUP
    end every lesson that runs, with all it started, and make the status 130, 143 and 129.
    """
    # papermill is slow to import, and --help should not wait for it
    from tools.lessons import evidence, regression, report, runner, runs
    from tools.lessons.ledger import Ledger

    if in_place and (data or params or out or check or update or claims or earlier):
        raise typer.BadParameter("--in-place runs the defaults, into the lessons; it goes with --only and --timeout.")
    if earlier and (data or params or out or not (check or update or claims)):
        raise typer.BadParameter("--earlier takes a run as it was: with --check, --update or --claims, perhaps --only.")
    if other_seeds and not update:
        raise typer.BadParameter("--other-seeds is for --update: they widen or narrow what it proposes.")
    committed = lessons / report.BASELINE
    with _errors_told():
        names = [name.strip() for item in only or [] for name in item.split(",")]
        chosen = runner.find_lessons(lessons, names)
        runner.choose_parameters(lessons, chosen, params, data)
        wanted = {lesson.stem for lesson in chosen} if names else None
        baseline = regression.read_baseline(committed) if check or (update and committed.exists()) else {}
        if check and earlier is None:
            planned = {x.stem: {"defaults": x.declared, "parameters": x.chosen} for x in chosen}
            regression.refuse_other_experiments(planned, baseline)
        ledger = Ledger.read(lessons, to_write=claims)
        if claims and earlier is None:
            evidence.refuse_few_seeds({x.stem: x.declared | x.chosen for x in chosen}, ledger.claims)
        if earlier is None and not in_place:
            out = out or Path("runs") / f"{datetime.now():%Y-%m-%d_%H%M%S}-{data or 'phantom'}"
            if out.resolve() == lessons.resolve():
                raise ValueError(f"{out} holds other files, the lessons. Name a new folder for the results.")
            report.open_folder(out)

    passed = earlier is not None or _run(chosen, out, timeout or None, jobs, ledger.claims)
    results = earlier or out
    if results is not None and (check or update or claims):
        with _errors_told():
            run = runs.read_run(results, wanted)
            if check:
                passed &= _check(run, baseline, wanted, results)
            if update:
                _propose(run, baseline, [runs.read_run(x) for x in other_seeds or []], results, committed)
            if claims:
                ledger.take(results, wanted)
                typer.echo(f"Written: {ledger.readme}, and what it rests on in {lessons}.")
    raise typer.Exit(0 if passed else 1)


@contextmanager
def _errors_told() -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None


def _run(chosen: list[Lesson], out: Path | None, limit: float | None, jobs: int, claims: list[Claim]) -> bool:
    """Run lessons, into the folder `out` or, without one, in place; whether all ran to their end."""
    from tools.lessons import report, runner
    from tools.lessons.stopping import Stopped

    started = time.monotonic()
    try:
        if out is None:
            results = runner.run_lessons(chosen, None, limit, 1, lambda *_: None)
        else:
            results = runner.run_lessons(chosen, out, limit, jobs, partial(report.write, out, claims=claims))
    except Stopped as stopped:
        where = f"; read {out / 'index.html'}" if out is not None and stopped.done else ""
        typer.echo(f"\n{stopped} with {stopped.done} of {len(chosen)} lessons done{where}.", err=True)
        sys.stdout.flush()
        os._exit(stopped.status)  # without waiting for a thread that may hang
    failed = [result for result in results if result.error]
    for result in failed:
        typer.echo(f"\n{result.stem} failed at {result.error}", err=True)
    minutes = (time.monotonic() - started) / 60
    passed = len(results) - len(failed)
    typer.echo(f"\n{passed} of {len(results)} lessons ran to their end, in {minutes:.1f} min.")
    if out is not None:
        typer.echo(f"Read {out / 'index.html'}; the numbers are in {out / 'metrics.json'}.")
    return not failed


def _check(run: Run, baseline: Baseline, wanted: set[str] | None, results: Path) -> bool:
    """Compare a run with the baseline, on the terminal and in junit.xml; whether it passed."""
    from tools.lessons import findings, regression, report

    found = regression.compare(run, baseline, wanted)
    report.write_text(results / report.JUNIT, findings.as_junit(found, run))
    findings.show(found)
    typer.echo(f"For CI: {results / report.JUNIT}.")
    return not any(finding.red for finding in found)


def _propose(run: Run, baseline: Baseline, others: list[Run], results: Path, committed: Path) -> None:
    """Write the proposal beside the results, and say what it would change."""
    from tools.lessons import findings, regression, report

    proposed = regression.propose(run, baseline, others)
    report.write_text(results / report.BASELINE, regression.as_text(proposed))
    findings.show_changes(regression.changes(baseline, proposed))
    for stem in (stem for stem, lesson in run.items() if lesson["error"]):
        typer.echo(f"{stem} failed: the proposal leaves its numbers as they are.")
    typer.echo(f"Proposed: {results / report.BASELINE}. To adopt it, copy it to {committed} and commit.")


if __name__ == "__main__":
    app(prog_name="python -m tools.lessons")
