"""The static site: the lessons as they were executed, beside the pages of docs/, by Sphinx and MyST-NB.

https://myst-nb.readthedocs.io · https://pydata-sphinx-theme.readthedocs.io
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.lessons.ledger import FIGURE
from tools.lessons.report import PAGE

ROOT = Path(__file__).resolve().parents[2]
LINKED = ("benchmarks", "demos", "histolab_lite", "notebooks")


def build(out: Path, run: Path | None = None) -> Path:
    """Build the site from the committed lessons, and return its first page.

    run: folder of a run. Its lessons take the place of the committed ones, and its page comes first.

    Raises RuntimeError where Sphinx is absent, or warns: of a link that leads nowhere, of a formula or a docstring it
    cannot read. Warnings about the notebooks of a run, which may hold errors, do not count.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "docs"
        shutil.copytree(ROOT / "docs", source)
        (source / "lessons").mkdir()
        committed = {path.name: path for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")}
        executed = {path.name: path for path in run.glob("*.ipynb")} if run else {}
        for name, path in (committed | executed).items():
            # One folder deeper than in the repository.
            text = path.read_text(encoding="utf-8").replace("](../", "](../../")
            (source / "lessons" / name).write_text(text, encoding="utf-8")
        if run:
            _add_page(source, run)
        # Pages link to files of the repository as GitHub shows them: ../benchmarks/results/…
        for name in LINKED:
            (Path(folder) / name).symlink_to(ROOT / name)
        options = ["-b", "html", "--quiet", *([] if run else ["--fail-on-warning"]), str(source), str(out)]
        done = subprocess.run([sys.executable, "-m", "sphinx", *options], stderr=subprocess.PIPE, text=True)
    if "No module named sphinx" in done.stderr:
        raise RuntimeError("The site needs Sphinx: pip install 'histolab-lite[docs]'")
    if done.returncode:
        raise RuntimeError(f"Sphinx could not build the pages in {out}.\n{done.stderr}")
    return out / (f"{Path(PAGE).stem}.html" if run else "index.html")


def _add_page(source: Path, run: Path) -> None:
    """Put the page of a run in front of the site's others."""
    page, figure = (run / PAGE).read_text(encoding="utf-8"), run / FIGURE
    if figure.exists():
        shutil.copy(figure, source / f"run-{FIGURE}")
        page = page.replace(f"]({FIGURE})", f"](run-{FIGURE})")
    (source / PAGE).write_text(page, encoding="utf-8")
    index = source / "index.md"
    first = index.read_text(encoding="utf-8").replace(":hidden:\n\n", f":hidden:\n\nThis run <{Path(PAGE).stem}>\n", 1)
    index.write_text(first, encoding="utf-8")


if __name__ == "__main__":
    print(build(ROOT / "runs" / "site"))
