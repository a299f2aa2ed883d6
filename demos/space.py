"""python -m demos.space FOLDER: write the files with which a Hugging Face Space hosts the demos.

A Space with the Gradio SDK installs ``requirements.txt``, then runs ``app.py``, which must answer at port 7860.
https://huggingface.co/docs/hub/spaces-config-reference
"""

from __future__ import annotations

import importlib.metadata
import shutil
import tomllib
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ("histolab_lite", "data_manifests", "demos", "notebooks")
APP = '''"""Serves the demos; see demos/serving.py for what the Space's variables can set."""

import os

# A Space is shown in a frame, and reached through one proxy alone.
os.environ.setdefault("HISTOLAB_DEMO_FRAMES", "https://huggingface.co")
os.environ.setdefault("FORWARDED_ALLOW_IPS", "*")

from demos.app import main  # noqa: E402

main(host="0.0.0.0", port=int(os.environ.get("GRADIO_SERVER_PORT", "7860")))
'''
README = """---
title: histolab-lite
short_description: Segment tissue from cheap labels, in the browser
sdk: gradio
sdk_version: {gradio}
python_version: "3.11"
app_file: app.py
license: apache-2.0
header: mini
pinned: false
---

# histolab-lite

Pages on which a pathologist tries label-efficient segmentation of H&E tissue. Nothing here may guide a diagnosis.

Variables of the Space set a password and limits: [`demos/serving.py`](demos/serving.py).
"""


def write(folder: Path) -> None:
    """Write the Space to a new folder; FileExistsError if the folder is not empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is not empty; name a new folder.")
    for name in NEEDED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    shutil.copy(ROOT / "LICENSE", folder)
    (folder / "app.py").write_text(APP, encoding="utf-8")
    (folder / "requirements.txt").write_text("\n".join(requirements()) + "\n", encoding="utf-8")
    front = README.format(gradio=importlib.metadata.version("gradio"))
    (folder / "README.md").write_text(front, encoding="utf-8")


def requirements() -> list[str]:
    """What the project and its demos require. The Space brings Gradio."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["dependencies"] + project["optional-dependencies"]["demos"]


def main(folder: Annotated[Path, typer.Argument(help="A new folder.")]) -> None:
    """Write the files of a Space that serves the demos."""
    try:
        write(folder)
    except OSError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(f"Upload it: hf upload <you>/<space> {folder} --repo-type space")


if __name__ == "__main__":
    typer.run(main)
