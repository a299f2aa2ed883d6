"""``python -m demos.proto2seg``: this page alone."""

import typer

from demos.proto2seg.page import main

typer.run(main)
