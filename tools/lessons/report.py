"""The page of a run, run.md: what ran, for how long, what it recorded, and which claims hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import nbformat

from histolab_lite.environment import environment
from histolab_lite.files import write_atomically
from tools.lessons.claims import Claim, judge_claims
from tools.lessons.forest import draw
from tools.lessons.ledger import FIGURE, as_markdown, of_run
from tools.lessons.running import HEADING
from tools.lessons.runs import Result, Run, write_run

PAGE = "run.md"
_FIGURES_SHOWN = 8


def write(out: Path, run: Run, claims: Sequence[Claim] = ()) -> None:
    """Write metrics.json and run.md for the lessons run so far.

    claims: run.md judges those for which the run has the numbers.
    """
    machine = environment()
    write_run(out, run, machine)
    ledger = of_run(run, machine)
    parts = [_opening(run, machine), *(_section(out, result) for result in run.values())]
    if judged := judge_claims(claims, ledger):
        write_atomically(out / FIGURE, draw(judged))
        parts.append("## What the papers claim, and what holds here")
        parts.append(as_markdown(claims, judged, ledger, "at the size shown with each lesson", FIGURE))
    write_atomically(out / PAGE, ("\n\n".join(parts) + "\n").encode())


def _opening(run: Run, machine: Mapping[str, Any]) -> str:
    failed = sum(result.error is not None for result in run.values())
    minutes = sum(result.runtime_s for result in run.values()) / 60
    lessons = f"{len(run)} lesson{'s' * (len(run) != 1)}, {minutes:.1f} min" + (f", {failed} failed" if failed else "")
    versions = [f"{name} {version}" for name, version in machine["versions"].items() if name.startswith("torch")]
    where = [machine["device"], f"{machine['cpu_cores']} cores", f"Python {machine['python']}", *versions]
    return f"# This run\n\n{datetime.now():%d %B %Y, %H:%M} · {lessons} · {' · '.join(map(_plain, where))}"


def _section(out: Path, result: Result) -> str:
    notebook = nbformat.read(out / f"{result.stem}.ipynb", as_version=4)
    memory, seconds = result.peak_memory_mib, result.runtime_s
    facts = [
        f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min",
        *([f"{memory / 1024:.1f} GiB"] if memory else []),
        *(_plain(f"{key} = {value}") for key, value in result.parameters.items()),
    ]
    rows = [f"| {_plain(metric.replace('_', ' '))} | {x} | {x.n} |" for metric, x in result.metrics.items()]
    more = len(rows) - _FIGURES_SHOWN
    return "\n\n".join(
        [
            f"## [{_plain(title(notebook) or result.stem)}](lessons/{result.stem}.ipynb)",
            " · ".join(facts),
            *([f"```text\n{result.error.replace('```', '` ` `')}\n```"] if result.error else []),
            *(["\n".join(["| recorded | mean ± sd | n |", "|---|---|---|", *rows[:_FIGURES_SHOWN]])] if rows else []),
            *([f"and {more} more in metrics.json"] if more > 0 else []),
        ]
    )


def _plain(text: str) -> str:
    """Return Markdown that shows these very characters."""
    return re.sub(r"([\\`*_{}\[\]<>|$#])", r"\\\1", text)


def title(notebook: Any) -> str | None:
    """Return the first heading of a notebook."""
    for cell in notebook["cells"]:
        # papermill puts a note of its own on top of a notebook that failed
        if cell["cell_type"] == "markdown" and (heading := HEADING.search(cell["source"])):
            return heading.group(1).strip()
    return None
