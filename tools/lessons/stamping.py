"""Committed outputs: tidied of what changes by itself, stamped with what made them.

A stamp holds the hash of the code cells and a short hash of every file of the repository that the lesson read: "data"
for its data files, "library" for the modules that it imported. If cells or data change, the outputs are stale, and a
test fails. If only the library changes, `make check` names the lesson, runs it anew and compares its numbers: else each
commit of code would cost a run of all lessons. A stamp of an earlier version holds the cells alone.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

# The name of a cell in a traceback or a warning: a temporary file, another one in every run.
CELL_FILE = re.compile(r"\S*ipykernel_\d+[/\\]\d+\.py")


def source_hash(notebook: Any) -> str:
    """Return the sha256 of source and tags of the code cells, in order: prose may change, outputs stay fresh."""
    cells = [
        [source(cell), sorted(cell.get("metadata", {}).get("tags", []))]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]
    return hashlib.sha256(json.dumps(cells, ensure_ascii=False).encode()).hexdigest()


def source(cell: Any) -> str:
    """Return the text of a cell; on disk a notebook may hold it as a list of lines."""
    return cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])


def staleness(notebook: Any, root: Path) -> str | None:
    """Say in a sentence why outputs do not belong to the notebook's cells and data; None if they do.

    `root`: the folder of the checkout.
    """
    stamp = notebook["metadata"].get("histolab", {})
    if "source_hash" not in stamp:
        return "it has never been executed and stamped"
    if stamp["source_hash"] != source_hash(notebook):
        return "its cells have changed since they were executed"
    if moved := _moved(stamp.get("data", {}), root):
        return f"{' and '.join(moved)} changed since it ran"
    for number, cell in enumerate(notebook["cells"], start=1):
        if cell["cell_type"] != "code":
            continue
        if source(cell).strip() and cell.get("execution_count") is None:
            return f"cell {number} has not been executed"
        if any(output["output_type"] == "error" for output in cell["outputs"]):
            return f"cell {number} ended in an error"
    return None


def other_library(notebook: Any, root: Path) -> list[str]:
    """List the modules of the checkout `root` that a notebook imported and whose code has changed since."""
    return _moved(notebook["metadata"].get("histolab", {}).get("library", {}), root)


def _moved(stamped: Mapping[str, str], root: Path) -> list[str]:
    return [name for name, digest in stamped.items() if digest != _digest(root / name)]


def _digest(path: Path) -> str | None:
    """Hash a file, of a module only its code without comments and docstrings; None if there is no such file."""
    if not path.is_file():
        return None
    content = path.read_bytes()
    if path.suffix == ".py":
        tree = ast.parse(content)
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                node.body = node.body[ast.get_docstring(node, clean=False) is not None :]
        content = ast.unparse(tree).encode()
    return hashlib.sha256(content).hexdigest()[:12]


def _stamp(notebook: Any, root: Path, read: Iterable[str]) -> dict[str, Any]:
    stamp: dict[str, Any] = {"source_hash": source_hash(notebook), "data": {}, "library": {}}
    for path in sorted(map(Path, read)):
        if path.is_relative_to(root) and not path.is_relative_to(sys.prefix):
            name = path.relative_to(root)
            digest = None if any(part.startswith(".") for part in name.parts) else _digest(path)
            if digest is not None:
                stamp["library" if path.suffix == ".py" else "data"][name.as_posix()] = digest
    return stamp


def tidy_and_stamp(notebook: Any, root: Path, read: Iterable[str] = ()) -> None:
    """Shrink images; drop run times, papermill's notes and this machine's paths; then stamp the executed notebook.

    `root`: the folder of the checkout; it and the home folder are written as "." and "~" in text outputs. `read`: the
    files that the lesson read, as tracing.py noted.
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
        histolab=_stamp(notebook, root, read),
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )


def in_256_colours(png: str) -> str:
    """Shrink a base64 PNG to a third: tissue has few hues, and the repository keeps every version of an image.

    The 256 colours cover rare ones too: the colours of a key fill few pixels, but have a meaning.
    """
    packed = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        few = image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3)
        few.save(packed, "PNG", optimize=True)
    return base64.b64encode(packed.getvalue()).decode()


def without_paths(text: str, root: Path) -> str:
    """Replace this machine's folders by "<env>", "." and "~", the longest first."""
    text = CELL_FILE.sub("<cell>", text)
    names = {sys.prefix: "<env>", str(root): ".", str(Path.home()): "~"}
    for folder in sorted(names, key=len, reverse=True):
        text = re.sub(re.escape(folder) + rf"(?=[{re.escape(os.sep)}\s'\":,)]|$)", names[folder], text)
    return text
