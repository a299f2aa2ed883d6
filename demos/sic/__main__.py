"""``python -m demos.sic``: this page alone."""

import typer

from demos.sic.page import main

typer.run(main)
