"""A bar over the cells of every lesson that is running, naming the section it is in; told from other processes, too."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

HEADING = re.compile(r"^#{1,3} +(.+)$", re.MULTILINE)
#: Told at every step: the lesson, cells done, the cell it is at, how many it has, and the section.
Tell = Callable[[str, int, int, int, str], None]


class Bars:
    """The bars on the terminal. Call it as `Tell` says."""

    def __init__(self) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            TextColumn("cell {task.fields[number]} of {task.total:.0f}"),
            BarColumn(20),
            TimeElapsedColumn(),
            TextColumn("{task.fields[section]}", markup=False),
        )
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def __call__(self, stem: str, done: int, number: int, total: int, section: str) -> None:
        if stem not in self.tasks:
            self.tasks[stem] = self.progress.add_task(stem, total=total, number=0, section=section)
        self.progress.update(self.tasks[stem], completed=done, number=number, section=section[:48])


class Place:
    """Where a lesson is: `enter` is papermill's `on_cell_start`."""

    def __init__(self, stem: str, notebook: Any, tell: Tell) -> None:
        self.stem, self.tell = stem, tell
        self.section, self.number, self.total = "starting", 0, len(notebook["cells"])
        tell(stem, 0, 0, self.total, self.section)

    def __str__(self) -> str:
        return f"cell {self.number} of {self.total}, under '{self.section}'"

    def enter(self, cell: Any, cell_index: int) -> None:
        """papermill has come to this cell."""
        if cell["cell_type"] == "markdown" and (heading := HEADING.search(cell["source"])):
            self.section = heading.group(1).strip()
        if "injected-parameters" not in cell["metadata"].get("tags", []):
            self.number += 1
        self.tell(self.stem, self.number - 1, self.number, self.total, self.section)  # it has only begun

    def finish(self) -> None:
        """The last cell has run."""
        self.tell(self.stem, self.total, self.number, self.total, "done")
