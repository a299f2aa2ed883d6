"""What a run leaves behind: metrics.json for machines, index.html and one page a lesson for people."""

from __future__ import annotations

import base64
import html
import io
import json
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import HTMLExporter
from PIL import Image

from histolab_lite.doctor import environment
from histolab_lite.recording import format_metric
from tools.lessons import claims_page
from tools.lessons.claims import Claim
from tools.lessons.evidence import of_run
from tools.lessons.progress import HEADING
from tools.lessons.runner import Result

THUMBNAIL_PX = (640, 400)
FIGURES_SHOWN = 8
JUNIT, BASELINE = "junit.xml", "expected.json"

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>histolab-lite: {title}</title>
<style>
:root {{ color-scheme: light dark; --ink: #2b2233; --soft: #6f6579; --line: #e6dfe9; --page: #faf7fb;
  --card: #fff; --accent: #8e2f74; --bad: #a3262a; --badbg: #fdeeee; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #efe8f2; --soft: #a99db3; --line: #3a3142;
  --page: #18141c; --card: #221c28; --accent: #f0a3d8; --bad: #ff9d97; --badbg: #3a1f22; }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0 auto; max-width: 64rem; padding: 3rem 1.25rem 4rem; color: var(--ink);
  background: var(--page); font: 16px/1.5 system-ui, sans-serif; }}
h1 {{ font-size: 1.75rem; margin: 0; letter-spacing: -.01em; }}
h2 {{ font-size: 1.125rem; margin: 0; line-height: 1.3; }}
a {{ color: var(--accent); text-underline-offset: .15em; }}
.soft {{ color: var(--soft); font-size: .875rem; margin: .25rem 0 0; }}
article {{ display: grid; grid-template-columns: 15rem 1fr; gap: 1.5rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .75rem; padding: 1.25rem; margin-top: 1.25rem; }}
article img {{ width: 100%; border-radius: .375rem; background: #fff; display: block; }}
nav {{ display: flex; gap: 1rem; margin-top: .5rem; }}
table {{ border-collapse: collapse; margin-top: .75rem; font-size: .875rem; }}
td {{ padding: .2rem 1.5rem .2rem 0; border-top: 1px solid var(--line); overflow-wrap: anywhere; }}
td + td {{ font-variant-numeric: tabular-nums; white-space: nowrap; }}
td:last-child {{ color: var(--soft); padding-right: 0; }}
pre {{ background: var(--badbg); color: var(--bad); padding: .75rem; border-radius: .375rem; overflow-x: auto;
  font-size: .8125rem; white-space: pre-wrap; overflow-wrap: anywhere; margin: .75rem 0 0; }}
footer.soft {{ margin-top: 2rem; }}
@media (max-width: 42rem) {{ article {{ grid-template-columns: 1fr; }} }}
{style}</style>
</head>
<body>
<header>
<h1>histolab-lite</h1>
<p class="soft">{summary}</p>
</header>
<main>
{lessons}
{claims}
</main>
<footer class="soft">{environment} · <a href="metrics.json">metrics.json</a></footer>
</body>
</html>
"""

CARD = """<article>
<div>{thumbnail}</div>
<div>
<h2>{title}</h2>
<p class="soft">{facts}</p>
<nav>{links}</nav>
{error}{figures}
</div>
</article>"""


def open_folder(out: Path) -> None:
    """Make the folder of a run. Raises FileExistsError where it holds something that is no earlier run."""
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file. Name a folder for the results.")
    if out.is_dir() and any(out.iterdir()) and not (out / "metrics.json").is_file():
        raise FileExistsError(f"{out} holds other files. Name a new or empty folder for the results.")
    out.mkdir(parents=True, exist_ok=True)
    for verdict in (JUNIT, BASELINE):  # of the earlier run: it must not be taken for this one's
        (out / verdict).unlink(missing_ok=True)


def write(out: Path, latest: Result, results: Sequence[Result], claims: Sequence[Claim] = ()) -> None:
    """Write metrics.json and index.html for the lessons run so far, and a page for the latest of them.

    results: in reading order. claims: those that index.html judges where the run's numbers allow it.
    """
    page, _ = HTMLExporter(require_js_url="").from_filename(str(latest.executed))
    write_text(latest.executed.with_suffix(".html"), page)
    machine = environment()
    content = as_json(results, machine)
    write_text(out / "metrics.json", json.dumps(content, indent=2, allow_nan=False, default=str) + "\n")
    ledger = claims_page.as_section(claims, of_run(content["lessons"], machine))
    write_text(out / "index.html", index_page(results, machine, ledger))


def as_json(results: Sequence[Result], machine: dict[str, Any]) -> dict[str, Any]:
    """The content of metrics.json: what each lesson recorded and cost, what was set in it, and where it ran."""
    lessons = {
        result.stem: {
            "metrics": result.metrics,
            "runtime_s": round(result.runtime_s, 1),
            "peak_memory_mib": result.peak_memory_mib,
            "parameters": result.parameters,
            "defaults": result.defaults,
            "error": result.error,
        }
        for result in results
    }
    return {"lessons": lessons, "environment": machine}


def index_page(results: Sequence[Result], machine: dict[str, Any], claims: str = "") -> str:
    """One self-contained page: a card a lesson with its picture, links, cost and figures; then a section of claims."""
    failed = sum(result.error is not None for result in results)
    minutes = sum(result.runtime_s for result in results) / 60
    summary = [
        f"{datetime.now():%d %B %Y, %H:%M}",
        f"{len(results)} lesson{'s' * (len(results) != 1)}, {minutes:.1f} min",
        *([f"{failed} failed"] if failed else []),
    ]
    versions = machine["versions"]
    where = [
        machine["device"],
        f"{machine['cpu_cores']} cores",
        f"Python {machine['python']}",
        *(f"{name} {versions[name]}" for name in ("torch", "torchvision") if name in versions),
    ]
    return PAGE.format(
        title=f"lessons of {datetime.now():%Y-%m-%d}",
        summary=html.escape(" · ".join(summary)) + (' · <a href="#claims">what the papers claim</a>' if claims else ""),
        environment=html.escape(" · ".join(where)),
        lessons="\n".join(_card(result) for result in results),
        claims=claims,
        style=claims_page.STYLE if claims else "",
    )


def _card(result: Result) -> str:
    notebook = nbformat.read(result.executed, as_version=4)
    memory = result.peak_memory_mib
    facts = [
        result.stem,
        f"{result.runtime_s:.0f} s" if result.runtime_s < 90 else f"{result.runtime_s / 60:.1f} min",
        *([f"{memory / 1024:.1f} GiB"] if memory else []),
        *(f"{name} = {value}" for name, value in result.parameters.items()),
    ]
    page, source = result.executed.with_suffix(".html").name, result.executed.name
    image = thumbnail(notebook)
    rows = [
        f"<tr><td>{html.escape(name.replace('_', ' '))}</td><td>{format_metric(summary)}</td>"
        f"<td>{'n = ' + str(summary['n']) if summary['n'] > 1 else ''}</td></tr>"
        for name, summary in list(result.metrics.items())[:FIGURES_SHOWN]
    ]
    more = len(result.metrics) - FIGURES_SHOWN
    rest = f'<p class="soft">and {more} more in metrics.json</p>' if more > 0 else ""
    return CARD.format(
        thumbnail=f'<a href="{html.escape(page)}"><img src="{image}" alt=""></a>' if image else "",
        title=html.escape(title(notebook) or result.stem),
        facts=html.escape(" · ".join(facts)),
        links=f'<a href="{html.escape(page)}">Read</a><a href="{html.escape(source)}">Notebook</a>',
        error=f"<pre>{html.escape(result.error)}</pre>" if result.error else "",
        figures=f"<table>{''.join(rows)}</table>{rest}" if rows else "",
    )


def title(notebook: Any) -> str | None:
    """The first heading of a notebook."""
    for cell in notebook["cells"]:
        # papermill puts a note of its own on top of a notebook that failed
        if cell["cell_type"] == "markdown" and (heading := HEADING.search(cell["source"])):
            return heading.group(1).strip()
    return None


def thumbnail(notebook: Any) -> str | None:
    """The picture that stands for a notebook, as a small data URI; None where it shows none.

    It is the last picture of the cell tagged `thumbnail`, else of the whole notebook.
    """
    pictures = [
        ("thumbnail" in cell["metadata"].get("tags", []), output["data"]["image/png"])
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    if not pictures:
        return None
    chosen = [png for tagged, png in pictures if tagged] or [png for _, png in pictures]
    picture = Image.open(io.BytesIO(base64.b64decode(chosen[-1]))).convert("RGBA")
    paper = Image.new("RGBA", picture.size, "white")
    paper.alpha_composite(picture)
    paper.thumbnail(THUMBNAIL_PX, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    paper.convert("RGB").save(buffer, "WEBP", quality=82)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step: a reader sees the old one or the new one, never a part."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
