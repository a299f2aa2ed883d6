"""``python -m demos.cvm``: this page alone."""

import typer

from demos.cvm.page import main

typer.run(main)
