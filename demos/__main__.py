"""``python -m demos``: all demos on one server."""

import typer

from demos.app import main

typer.run(main)
