"""python -m histolab_lite.notebooks: run the lessons and say where to look."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

LESSONS = Path(__file__).resolve().parents[2] / "notebooks"

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
    timeout: Annotated[float, typer.Option(min=0, help="Seconds a cell may take; 0: no limit.")] = 3600,
    lessons: Annotated[Path, typer.Option(help="Folder of the lessons.")] = LESSONS,
) -> None:
    """Run the lessons in reading order and gather what they record.

    Each lesson is executed by papermill at tutorial size, on phantom slides, unless options say otherwise.
    The results are executed copies (.ipynb and .html), metrics.json and index.html, in a folder of their
    own; the lessons stay as they are. A lesson that fails does not stop the others, and makes the exit
    status 1; a wrong option makes it 2, before anything runs.
    """
    # papermill is slow to import, and --help should not wait for it
    from histolab_lite.notebooks import report, runner

    if in_place and (data or params or out):
        raise typer.BadParameter("--in-place runs the defaults; it takes no --data, --params or --out.")
    try:
        names = [name.strip() for item in only or [] for name in item.split(",")]
        chosen = runner.find_lessons(lessons, names)
        runner.choose_parameters(lessons, chosen, params, data)
        if not in_place:
            out = out or Path("runs") / f"{datetime.now():%Y-%m-%d_%H%M%S}-{data or 'phantom'}"
            report.open_folder(out)
    except (ValueError, OSError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None

    limit = timeout or None
    results: list[runner.Result] = []
    for lesson in chosen:
        if out is None:
            results.append(runner.run_in_place(lesson, limit))
        else:
            results.append(runner.run_lesson(lesson, out / lesson.path.name, out, limit))
            report.write(out, results)
    failed = [result for result in results if result.error]
    for result in failed:
        typer.echo(f"\n{result.stem} failed at {result.error}", err=True)
    seconds = sum(result.runtime_s for result in results)
    passed = len(results) - len(failed)
    typer.echo(f"\n{passed} of {len(results)} lessons ran to their end, in {seconds / 60:.1f} min.")
    if out is not None:
        typer.echo(f"Read {out / 'index.html'}; the numbers are in {out / 'metrics.json'}.")
    raise typer.Exit(1 if failed else 0)


if __name__ == "__main__":
    app(prog_name="python -m histolab_lite.notebooks")
