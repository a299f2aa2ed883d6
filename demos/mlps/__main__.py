"""``python -m demos.mlps``: this page alone."""

import typer

from demos.mlps.page import main

typer.run(main)
