"""``python -m benchmarks [--only k-means] [--out FILE]``: time the kernels, print the table, write the JSON.

Exits with 1 if a figure that is asked for was missed. A run narrowed by --only writes a file only where --out says so:
``results/<machine>.json`` always holds one whole run.
"""

import gc
import importlib
import pkgutil
import re
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks import harness, kernels, report


def scripts(only: str = "") -> list[str]:
    """The names of the scripts in ``benchmarks.kernels``, all or those that hold ``only``, whatever its punctuation."""
    names = sorted(module.name for module in pkgutil.iter_modules(kernels.__path__))
    found = [name for name in names if _letters(only) in _letters(name)]
    if not found:
        raise typer.BadParameter(
            f"there is no script {only!r}; name a part of {', '.join(names)}.", param_hint="--only"
        )
    return found


def _letters(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def main(
    only: Annotated[str, typer.Option(help="Run some scripts: a part of their names, such as k-means.")] = "",
    out: Annotated[Path | None, typer.Option(help="Where to write the JSON.")] = None,
) -> None:
    console = Console()
    results: list[dict[str, Any]] = []
    for name in scripts(only):
        module = importlib.import_module(f"{kernels.__name__}.{name}")
        for index, case in enumerate(module.cases()):
            console.print(f"{case.operation} · {case.work}", markup=False)
            results.append(harness.measure(case, module.__name__, index))
            del case
        gc.collect()  # one script's inputs are gone before the next one's are made
    # A table cut to a narrow terminal hides figures; a pipe has no width at all.
    (console if console.width >= 150 else Console(width=150)).print(report.table(results))
    here = report.machine()
    if out is None and not only:
        out = Path(__file__).parent / "results" / report.file_name(here)
    if out is not None:
        report.write_json(out, report.document(here, results))
        console.print(f"Written to {out}")
    raise typer.Exit(0 if all(result["met"] for result in results) else 1)


if __name__ == "__main__":
    typer.run(main)
