"""``python -m benchmarks [--only k-means] [--out FILE]``: time the kernels, print the table, write the JSON.

Exits with 1 if a figure that is asked for was missed. A run narrowed by --only writes a file only where --out says so:
``results/<machine>.json`` always holds one whole run.
"""

import gc
import importlib
import json
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks import harness, kernels, report


def scripts() -> dict[str, ModuleType]:
    """The modules of ``benchmarks.kernels`` that define ``cases``, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(kernels.__path__))
    modules = {name: importlib.import_module(f"{kernels.__name__}.{name}") for name in names}
    return {name: module for name, module in modules.items() if hasattr(module, "cases")}


def main(
    only: Annotated[str | None, typer.Option(help="Part of an operation's name, or a script in kernels/.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the JSON.")] = None,
) -> None:
    console = Console()
    found = scripts()
    names = [only] if only in found else list(found)
    results: list[dict[str, Any]] = []
    operations: list[str] = []
    for name in names:
        module = found[name]
        for index, case in enumerate(module.cases()):
            operations.append(case.operation)
            if only is not None and only != name and only.lower() not in case.operation.lower():
                continue
            with console.status(f"{case.operation} · {case.work}"):
                results.append(harness.measure(case, module.__name__, index))
            del case
        gc.collect()  # one script's inputs are gone before the next one's are made
    if not results:
        raise typer.BadParameter(f"no operation is called {only!r}; there are {sorted(set(operations))}.")
    # A table cut to a narrow terminal hides figures; a pipe has no width at all.
    (console if console.width >= 150 else Console(width=150)).print(report.table(results))
    here = report.machine()
    if out is None and only is None:
        out = Path(__file__).parent / "results" / report.file_name(here)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(report.document(here, results), indent=1, ensure_ascii=False)
        out.write_text(text + "\n", encoding="utf-8")
        console.print(f"Written to {out}")
    raise typer.Exit(0 if all(result["met"] for result in results) else 1)


if __name__ == "__main__":
    typer.run(main)
