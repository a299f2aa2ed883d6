"""``python -m demos``: all demos under one roof."""

import typer

from demos.app import main

typer.run(main)
