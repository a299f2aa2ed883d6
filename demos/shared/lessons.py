"""The executed lessons as pages, so that a demo can link to the one that derives its method."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"


def router() -> APIRouter:
    """/lessons/07_contrast_variational_model, and so on. As in every notebook, its formulas are drawn by MathJax, which
    the reader's browser fetches."""
    lessons = APIRouter(prefix="/lessons")

    @lessons.get("/{name}")
    def lesson(name: str) -> HTMLResponse:
        if name not in names():
            raise HTTPException(404, "There is no such lesson.")
        return HTMLResponse(_page(name))

    return lessons


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.ipynb"))


@lru_cache(maxsize=4)
def _page(name: str) -> str:
    """About a megabyte, made within seconds."""
    from nbconvert import HTMLExporter  # slow to import, and few visitors ask

    return HTMLExporter(require_js_url="").from_filename(str(FOLDER / f"{name}.ipynb"))[0]
