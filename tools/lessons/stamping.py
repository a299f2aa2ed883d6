"""Committed outputs: tidied of what changes by itself, stamped with the hash of the code that made them."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from PIL import Image

# What a traceback or a warning calls a cell: a temporary file whose name differs on every run.
CELL_FILE = re.compile(r"\S*ipykernel_\d+[/\\]\d+\.py")


def source_hash(notebook: Any) -> str:
    """sha256 over source and tags of the code cells, in order: what outputs depend on. Prose may be improved freely."""
    cells = [
        [source(cell), sorted(cell.get("metadata", {}).get("tags", []))]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]
    return hashlib.sha256(json.dumps(cells, ensure_ascii=False).encode()).hexdigest()


def source(cell: Any) -> str:
    """A cell's text; on disk a notebook may hold it as a list of lines."""
    return cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])


def staleness(notebook: Any) -> str | None:
    """Why the outputs of a notebook are not those of its cells, in a sentence; None where they are."""
    stamp = notebook["metadata"].get("histolab", {}).get("source_hash")
    if stamp is None:
        return "it has never been executed and stamped"
    if stamp != source_hash(notebook):
        return "its cells have changed since they were executed"
    for number, cell in enumerate(notebook["cells"], start=1):
        if cell["cell_type"] != "code":
            continue
        if source(cell).strip() and cell.get("execution_count") is None:
            return f"cell {number} has not been executed"
        if any(output["output_type"] == "error" for output in cell["outputs"]):
            return f"cell {number} ended in an error"
    return None


def is_fresh(notebook: Any) -> bool:
    """Whether a notebook's outputs were made by the very cells it holds, without an error."""
    return staleness(notebook) is None


def tidy_and_stamp(notebook: Any, root: Path) -> None:
    """Shrink pictures; drop run times, papermill's notes and this machine's paths; then stamp the executed notebook.

    `root`: the folder of the checkout; it and the home folder are written as "." and "~" in text outputs.
    """
    for cell in notebook["cells"]:
        for volatile in ("papermill", "execution"):
            cell["metadata"].pop(volatile, None)
        if not cell["metadata"].get("tags", True):
            del cell["metadata"]["tags"]
        for output in cell.get("outputs", []):
            if output["output_type"] == "stream":
                output["text"] = without_paths(output["text"], root)
            if "image/png" in output.get("data", {}):
                output["data"]["image/png"] = in_256_colours(output["data"]["image/png"])
            for mime, text in output.get("data", {}).items():
                if mime in ("text/plain", "text/html") and isinstance(text, str):
                    output["data"][mime] = without_paths(text, root)
    notebook["metadata"] = type(notebook["metadata"])(
        histolab={"source_hash": source_hash(notebook)},
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )


def in_256_colours(png: str) -> str:
    """A base64 PNG at a third of its size: tissue has few hues, and the repository keeps every version of a picture.

    Its colours are near to all that occur, however rarely: those of a key fill few pixels, and mean something.
    """
    packed = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        few = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3)
        few.save(packed, "PNG", optimize=True)
    return base64.b64encode(packed.getvalue()).decode()


def without_paths(text: str, root: Path) -> str:
    """The text with this machine's folders replaced by "<env>", "." and "~" (longest first)."""
    text = CELL_FILE.sub("<cell>", text)
    names = {sys.prefix: "<env>", str(root): ".", str(Path.home()): "~"}
    for folder in sorted(names, key=len, reverse=True):
        text = re.sub(re.escape(folder) + rf"(?=[{re.escape(os.sep)}\s'\":,)]|$)", names[folder], text)
    return text
