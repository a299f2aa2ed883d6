"""python -m histolab_lite.wsss4luad: the WSSS4LUAD challenge from the command line: check, score, pack, practise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeAlias

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from histolab_lite.methods.wsss4luad.challenge.checks import Problem

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown", no_args_is_help=True
)
Pair: TypeAlias = tuple[int, int]
Triple: TypeAlias = tuple[int, int, int]


@app.callback()
def about() -> None:
    """Check the data of the WSSS4LUAD challenge, score and pack a submission, or make a phantom data set.

    The exit status is 1 if problems were found, which are all listed, and 2 if the command cannot be run.
    """


@app.command()
def evaluate(
    pred: Annotated[Path, typer.Argument(help="Folder or zip archive of masks, 00.png and so on.")],
    gt: Annotated[Path, typer.Argument(help="Folder with mask and background-mask in it, such as 3.testing.")],
    name: Annotated[str, typer.Option(help="Name of your row.")] = "you",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the scores to this file, too.")] = None,
) -> None:
    """Score predictions as the challenge does, and show them among the paper's 14 teams.

    The score is the mean IoU of three classes over the pixels of all images, without the white background. The teams
    were scored on the challenge's own test set: on other data the rank is only a game.
    """
    import json
    import math
    from dataclasses import asdict

    from histolab_lite.files import write_atomically
    from histolab_lite.methods.wsss4luad.challenge.leaderboard import table
    from histolab_lite.methods.wsss4luad.challenge.submission import SubmissionError, score_submission

    console = Console()
    try:
        scores = score_submission(pred, gt)
        values = {key: None if math.isnan(value) else value for key, value in asdict(scores).items()}
        if json_file is not None:
            write_atomically(json_file, f"{json.dumps(values, indent=1)}\n".encode())
    except SubmissionError as error:
        _show(console, error.problems)
        raise typer.Exit(1) from None
    except (ValueError, OSError) as error:
        _stop(error)
    console.print(table(scores, name))


@app.command()
def check(root: Annotated[Path, typer.Argument(help="Folder with 1.training, 2.validation and 3.testing.")]) -> None:
    """List every bad file of a data set, and why. Warnings alone are no failure."""
    from histolab_lite.methods.wsss4luad.challenge.checks import check_dataset

    console = Console()
    try:
        problems = check_dataset(root)
    except OSError as error:  # a folder that we may not read
        _stop(error)
    _show(console, problems)
    failed = any(problem.level == "error" for problem in problems)
    if not failed:
        console.print(f"{escape(str(root))} is a complete data set.", highlight=False, soft_wrap=True)
    raise typer.Exit(1 if failed else 0)


@app.command()
def pack(
    pred: Annotated[Path, typer.Argument(help="Folder of masks, 00.png and so on.")],
    img: Annotated[Path, typer.Argument(help="Folder of their images, such as 3.testing/img.")],
    out: Annotated[Path, typer.Option(help="The zip archive to write.")],
) -> None:
    """Check predictions and write the archive to submit. If there is a problem, nothing is written."""
    from histolab_lite.methods.wsss4luad.challenge import submission

    console = Console()
    try:
        submission.pack(pred, img, out)
    except submission.SubmissionError as error:
        _show(console, error.problems)
        raise typer.Exit(1) from None
    except (ValueError, OSError) as error:
        _stop(error)
    console.print(f"{escape(str(out))} is ready to be submitted.", highlight=False, soft_wrap=True)


@app.command()
def phantom(
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    n_training: Annotated[int, typer.Option(help="Training patches.")] = 600,
    n_validation: Annotated[Pair, typer.Option(help="Small and large images for validation.")] = (12, 0),
    n_testing: Annotated[Pair, typer.Option(help="Small and large images for testing.")] = (16, 1),
    n_slides: Annotated[Triple, typer.Option(help="Slides for training, validation and testing.")] = (12, 3, 4),
    slide: Annotated[int, typer.Option(help="Side of a slide in pixels.")] = 768,
    seed: Annotated[int, typer.Option(help="Different seeds share no slide.")] = 0,
    mpp: Annotated[float, typer.Option(help="Micrometres per pixel; the challenge's 10x is 1.0068.")] = 1.0068,
    patch: Annotated[Pair, typer.Option(help="Least and greatest side of a training patch in pixels.")] = (150, 300),
    small: Annotated[Pair, typer.Option(help="The same for small images.")] = (200, 500),
    large: Annotated[Pair, typer.Option(help="The same for large images.")] = (1500, 5000),
) -> None:
    """Make a data set like the challenge's from phantom slides, without registration.

    The same settings make the same files. A finished folder is not changed.
    """
    from histolab_lite.methods.wsss4luad.challenge.phantom import make_phantom

    try:
        make_phantom(
            out,
            n_training=n_training,
            n_validation=n_validation,
            n_testing=n_testing,
            n_slides=n_slides,
            slide=slide,
            seed=seed,
            mpp=mpp,
            patch=patch,
            small=small,
            large=large,
        )
    except (ValueError, OSError) as error:
        _stop(error)
    Console().print(f"the phantom is in {escape(str(out))}", highlight=False, soft_wrap=True)


def _show(console: Console, problems: Sequence[Problem]) -> None:
    for problem in problems:
        style = "bold red" if problem.level == "error" else "yellow"
        line = f"[{style}]{escape(_printable(problem.path))}[/]: {escape(_printable(problem.reason))}"
        console.print(line, highlight=False, soft_wrap=True)
    counts = [sum(problem.level == level for problem in problems) for level in ("error", "warning")]
    if problems:
        console.print(f"{counts[0]} problems, {counts[1]} warnings.", highlight=False)


def _printable(text: str) -> str:
    """Escape line ends and bytes that are no text, which file names may hold."""
    return text if text.isprintable() else ascii(text)


def _stop(error: Exception) -> NoReturn:
    typer.echo(f"Error: {error}", err=True)
    raise typer.Exit(2) from None


if __name__ == "__main__":
    app(prog_name="python -m histolab_lite.wsss4luad")
