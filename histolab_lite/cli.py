"""histolab-lite: the package's commands under one name; each also runs as ``python -m histolab_lite.NAME``."""

from __future__ import annotations

import typer

from histolab_lite import doctor, wsss4luad
from histolab_lite.embed import __main__ as embed

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown", no_args_is_help=True
)
app.command("embed")(embed.main)
app.add_typer(wsss4luad.app, name="wsss4luad")
app.command("doctor")(doctor.main)


@app.callback()
def about() -> None:
    """Label-efficient segmentation of H&E tissue."""
