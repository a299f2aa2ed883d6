"""The pages of a run, for people: index.html and one page per lesson."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import markdown2html_mistune
from PIL import Image

from histolab_lite.environment import environment
from histolab_lite.files import write_atomically
from tools.lessons.claims import Claim, judge_claims
from tools.lessons.forest import draw
from tools.lessons.ledger import FIGURE, as_markdown, of_run
from tools.lessons.running import HEADING
from tools.lessons.runs import Result, Run, write_run

THUMBNAIL_PX = (640, 400)
FIGURES_SHOWN = 8

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>histolab-lite: lessons of {date}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 4rem; font: 16px/1.5 system-ui, sans-serif; }}
article {{ border-top: 1px solid GrayText; margin-top: 2rem; }}
img {{ max-width: 100%; background: white; border-radius: .375rem; }}
article img {{ max-width: 20rem; }}
table {{ border-collapse: collapse; font-size: .875rem; }}
th, td {{ text-align: left; vertical-align: top; padding: .2rem 1.5rem .2rem 0; overflow-wrap: anywhere; }}
pre {{ border: 1px solid; color: light-dark(#a3262a, #ff9d97); padding: .75rem; white-space: pre-wrap; }}
.anchor-link {{ display: none; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""


def write(out: Path, latest: Result, run: Run, claims: Sequence[Claim] = ()) -> None:
    """Write metrics.json and index.html for the lessons run so far, and a page for the latest of them.

    claims: index.html judges those for which the run has the numbers.
    """
    page, _ = HTMLExporter(require_js_url="").from_filename(str(out / f"{latest.stem}.ipynb"))
    write_atomically(out / f"{latest.stem}.html", page.encode())
    machine = environment()
    write_run(out, run, machine)
    ledger = of_run(run, machine)
    parts = [_opening(run), *(_card(out, result) for result in run.values())]
    if judged := judge_claims(claims, ledger):
        write_atomically(out / FIGURE, draw(judged))
        parts.append("## What the papers claim, and what holds here")
        parts.append(as_markdown(claims, judged, ledger, "at the size shown with each lesson", FIGURE))
    parts.append(_closing(machine))
    body = markdown2html_mistune("\n\n".join(parts))
    write_atomically(out / "index.html", PAGE.format(date=f"{datetime.now():%Y-%m-%d}", body=body).encode())


def _opening(run: Run) -> str:
    failed = sum(result.error is not None for result in run.values())
    minutes = sum(result.runtime_s for result in run.values()) / 60
    lessons = f"{len(run)} lesson{'s' * (len(run) != 1)}, {minutes:.1f} min" + (f" · {failed} failed" if failed else "")
    return f"# histolab-lite\n\n<p>{datetime.now():%d %B %Y, %H:%M} · {lessons}</p>"


def _closing(machine: Mapping[str, Any]) -> str:
    versions = [f"{name} {version}" for name, version in machine["versions"].items() if name.startswith("torch")]
    where = [machine["device"], f"{machine['cpu_cores']} cores", f"Python {machine['python']}", *versions]
    return f"<p>{html.escape(' · '.join(where))} · <a href='metrics.json'>metrics.json</a></p>"


def _card(out: Path, result: Result) -> str:
    notebook = nbformat.read(out / f"{result.stem}.ipynb", as_version=4)
    memory, seconds, name = result.peak_memory_mib, result.runtime_s, html.escape(result.stem)
    facts = [
        result.stem,
        f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min",
        *([f"{memory / 1024:.1f} GiB"] if memory else []),
        *(f"{key} = {value}" for key, value in result.parameters.items()),
    ]
    uri = thumbnail(notebook)
    rows = [f"| {metric.replace('_', ' ')} | {x} | {x.n} |" for metric, x in result.metrics.items()]
    more = len(rows) - FIGURES_SHOWN
    parts = [
        "<article>",
        f"## {html.escape(title(notebook) or result.stem)}",
        f"<p>{html.escape(' · '.join(facts))}</p>",
        f'<p><a href="{name}.html"><img src="{uri}" alt=""></a></p>' if uri else "",
        f'<p><a href="{name}.html">Read</a> · <a href="{name}.ipynb">Notebook</a></p>',
        f"<pre>{html.escape(result.error)}</pre>" if result.error else "",
        "\n".join(["| recorded | mean ± sd | n |", "|---|---|---|", *rows[:FIGURES_SHOWN]]) if rows else "",
        f"and {more} more in metrics.json" if more > 0 else "",
        "</article>",
    ]
    return "\n\n".join(filter(None, parts))


def title(notebook: Any) -> str | None:
    """Return the first heading of a notebook."""
    for cell in notebook["cells"]:
        # papermill puts a note of its own on top of a notebook that failed
        if cell["cell_type"] == "markdown" and (heading := HEADING.search(cell["source"])):
            return heading.group(1).strip()
    return None


def thumbnail(notebook: Any) -> str | None:
    """Return a small image of a notebook as a data URI; None if it shows no image.

    It is the last image of the cell tagged `thumbnail`, else of the whole notebook.
    """
    images = [
        ("thumbnail" in cell["metadata"].get("tags", []), output["data"]["image/png"])
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    if not images:
        return None
    chosen = [png for tagged, png in images if tagged] or [png for _, png in images]
    image = Image.open(io.BytesIO(base64.b64decode(chosen[-1]))).convert("RGBA")
    paper = Image.new("RGBA", image.size, "white")
    paper.alpha_composite(image)
    paper.thumbnail(THUMBNAIL_PX, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    paper.convert("RGB").save(buffer, "WEBP", quality=82)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
