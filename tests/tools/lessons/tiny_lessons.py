"""Notebooks of a few cells for the tests of what runs and reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from typer.testing import CliRunner

from tools.lessons.__main__ import app

SETUP = """import os, sys
from pathlib import Path
from tqdm.auto import tqdm
from histolab_lite.recording import record"""
DEFAULTS = 'data = "phantom"\nseeds = [0, 1, 2]\nlr = 0.1'


def tagged(source: str, tag: str) -> Any:
    return new_code_cell(source, metadata={"tags": [tag]})


def write(folder: Path, name: str, *cells: Any) -> Path:
    folder.mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=list(cells)), folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


def notebook(folder: Path, name: str, body: str, defaults: str = DEFAULTS) -> Path:
    return write(
        folder,
        name,
        new_markdown_cell(f"# Title of <{name}>"),
        new_code_cell(SETUP),
        tagged(defaults, "parameters"),
        new_markdown_cell("Some prose.\n\n## The experiment"),
        new_code_cell(body),
    )


def command(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
