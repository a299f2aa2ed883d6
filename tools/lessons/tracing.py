"""Note what a lesson reads in the file $HISTOLAB_TRACE: data files that it opens and modules that it imports.

The kernel imports this before the first cell runs. https://docs.python.org/3/library/sys.html#sys.addaudithook
"""

from __future__ import annotations

import json
import os
import sys

from IPython import get_ipython

DATA = (".json", ".yaml", ".yml", ".csv", ".safetensors")
_opened: set[str] = set()


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        path = os.fsdecode(arguments[0])
        if path.endswith(DATA):
            _opened.add(os.path.realpath(path))


def _write(*_: object) -> None:
    imported = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] != "tools"]
    files = [getattr(module, "__dict__", {}).get("__file__") for module in imported]  # a lazy module stays lazy
    modules = {os.path.realpath(file) for file in files if isinstance(file, str) and file.endswith(".py")}
    with open(os.environ["HISTOLAB_TRACE"], "w", encoding="utf-8") as file:
        json.dump(sorted(_opened | modules), file)


sys.addaudithook(_hear)
get_ipython().events.register("post_run_cell", _write)
