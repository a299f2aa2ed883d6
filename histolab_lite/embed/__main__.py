"""python -m histolab_lite.embed: slides in, one file of patch embeddings per slide out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from histolab_lite.embed.jobs import Outcome

MARKS = {"embedded": "[green]embedded[/]", "already there": "already there", "failed": "[bold red]failed[/]"}


def main(
    slides: Annotated[list[str], typer.Argument(help="Slides, folders of them, or patterns such as 'in/*.svs'.")],
    out: Annotated[Path, typer.Option(help="Folder for the results, one NAME.h5 per slide.")],
    encoder: Annotated[
        str, typer.Option(help="default, imagenet, hf-hub:OWNER/MODEL, or a file of ResNet18 weights.")
    ] = "default",
    mpp: Annotated[float, typer.Option(help="Micrometres per pixel of the patches; 0.5 is about 20x.")] = 0.5,
    patch: Annotated[int, typer.Option(help="Side of a patch in pixels, at --mpp.")] = 256,
    overlap: Annotated[float, typer.Option(help="Share of a patch's side that the next patch shares.")] = 0.5,
    min_tissue: Annotated[float, typer.Option(help="Least share of tissue in a patch; 0 keeps every patch.")] = 0.5,
    slide_mpp: Annotated[
        float | None, typer.Option(help="Micrometres per pixel at level 0, for slides whose files do not state it.")
    ] = None,
    h5ad: Annotated[bool, typer.Option("--h5ad", help="Also write NAME.h5ad, for scanpy and TissUUmaps.")] = False,
    batch_size: Annotated[int, typer.Option(help="Patches per batch.")] = 64,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, …; by default the GPU where there is one.")] = "auto",
    engine: Annotated[
        str, typer.Option(help="local; dask, for one task per core; or a Dask scheduler's address, tcp://HOST:PORT.")
    ] = "local",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Embed again what is finished already.")] = False,
) -> None:
    """Embed the tissue patches of slides.

    Finished slides are skipped, so the same command resumes a run that was stopped; damaged results are replaced. A
    slide that fails is reported, the others are embedded, and the exit status is 1. If a result exists that was made
    with other settings, from another slide of the same name, or by a version that did not note the slide, nothing is
    computed and the exit status is 2.
    """
    # torch is slow to import, and --help must not wait for it
    from histolab_lite.embed.cluster import check_engine, run_on_cluster
    from histolab_lite.embed.jobs import BAD_SLIDE, SettingsError, find_jobs, is_finished, run_jobs
    from histolab_lite.embed.settings import Settings, choose_device, encoder_revision
    from histolab_lite.models.encoder import load_encoder

    console = Console()
    try:
        settings = Settings(mpp, patch, overlap, min_tissue, slide_mpp, batch_size)
        jobs = find_jobs(slides, out, h5ad)
        if engine != "local":
            check_engine(engine)
        if Path(encoder).is_file():
            encoder = str(Path(encoder).absolute())  # workers start elsewhere
        network = load_encoder(encoder).to(choose_device(device if engine == "local" else "cpu"))
        revision = encoder_revision(network)
        for job in [] if overwrite else jobs:
            try:
                is_finished(job, settings, network.name, revision)
            except SettingsError:
                raise
            except BAD_SLIDE:
                pass  # reported when its turn comes
        out.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError, ModuleNotFoundError, RuntimeError) as error:  # RuntimeError: no such device
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None

    start = time.perf_counter()
    outcomes: list[Outcome] = []
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as bars:
        overall = bars.add_task("slides", total=len(jobs))
        current = bars.add_task("patches", total=None, visible=engine == "local")

        def show(slide: Path, done: int, total: int) -> None:
            bars.update(current, description=escape(slide.stem), completed=done, total=total)

        running: Iterator[Outcome]
        if engine == "local":
            running = run_jobs(jobs, network, settings, overwrite, progress=show)
        else:
            running = run_on_cluster(jobs, engine, encoder, revision, settings, overwrite, device)
        try:
            for outcome in running:
                outcomes.append(outcome)
                bars.advance(overall)
                if not console.is_terminal:  # a log shows no bars
                    console.print(f"{outcome.job.slide.name}: {outcome.state}", highlight=False)
        except OSError as error:  # the scheduler does not answer
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(2) from None

    console.print(_table(outcomes))
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    for outcome in outcomes:
        if outcome.reason:
            style = "[bold red]" if outcome.state == "failed" else "[bold]"
            console.print(f"{style}{escape(outcome.job.slide.name)}:[/] {escape(outcome.reason)}", highlight=False)
    patches = sum(outcome.patches for outcome in outcomes if outcome.state == "embedded")
    seconds = time.perf_counter() - start
    rate = f", {patches / seconds:,.1f} per second" if patches else ""
    console.print(f"{patches:,} patches in {seconds:,.1f} s{rate}.", highlight=False)
    console.print(f"{len(jobs) - len(failed)} of {len(jobs)} slides are in {out}", highlight=False)
    raise typer.Exit(1 if failed else 0)


def _table(outcomes: list[Outcome]) -> Table:
    table = Table("slide", "", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("patches", "seconds"):
        table.add_column(name, justify="right")
    for outcome in outcomes:
        patches = f"{outcome.patches:,}" if outcome.patches else "no tissue"
        table.add_row(
            escape(outcome.job.slide.name),
            MARKS[outcome.state],
            patches if outcome.state != "failed" else "",
            f"{outcome.seconds:,.1f}" if outcome.state == "embedded" else "",
        )
    return table


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")
    app.command()(main)
    app(prog_name="python -m histolab_lite.embed")
