"""The static site: the lessons as they were executed, beside the pages of docs/, by Sphinx and MyST-NB.

https://myst-nb.readthedocs.io · https://pydata-sphinx-theme.readthedocs.io
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINKED = ("benchmarks", "demos", "histolab_lite", "notebooks")


def build(lessons: Path, out: Path) -> Path:
    """Build the site from the executed notebooks of a folder, and return its first page.

    Raises RuntimeError where Sphinx warns: of a link that leads nowhere, of a formula or a docstring it cannot read.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "docs"
        shutil.copytree(ROOT / "docs", source)
        (source / "lessons").mkdir()
        for path in sorted(lessons.glob("[0-9][0-9]_*.ipynb")):
            # One folder deeper than in the repository.
            text = path.read_text(encoding="utf-8").replace("](../", "](../../")
            (source / "lessons" / path.name).write_text(text, encoding="utf-8")
        # Pages link to files of the repository as GitHub shows them: ../benchmarks/results/…
        for name in LINKED:
            (Path(folder) / name).symlink_to(ROOT / name)
        options = ["-b", "html", "--fail-on-warning", "--quiet", str(source), str(out)]
        done = subprocess.run([sys.executable, "-m", "sphinx", *options], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"Sphinx found faults in the pages. What it built lies in {out}.\n{done.stderr}")
    return out / "index.html"


if __name__ == "__main__":
    print(build(ROOT / "notebooks", ROOT / "runs" / "site"))
