"""The executed lessons as pages, so that a demo can link to the one that derives its method."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"


def router() -> APIRouter:
    """Serve /lessons/07_contrast_variational_model and so on. The visitor's browser fetches MathJax, which draws the
    formulas."""
    lessons = APIRouter(prefix="/lessons")

    @lessons.get("/{name}")
    def lesson(name: str) -> HTMLResponse:
        if name not in names():
            raise HTTPException(404, "There is no such lesson.")
        return HTMLResponse(_page(name))

    return lessons


def names() -> list[str]:
    """The lessons, by the names of their notebooks."""
    return sorted(path.stem for path in FOLDER.glob("*.ipynb"))


@lru_cache(maxsize=4)
def _page(name: str) -> str:
    """The lesson as HTML, about a megabyte; takes seconds."""
    from nbconvert import HTMLExporter  # slow to import, and few visitors ask

    return HTMLExporter(require_js_url="").from_filename(str(FOLDER / f"{name}.ipynb"))[0]
