"""The results of a run: gathered from the executed notebooks, written to metrics.json and read from it."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from histolab_lite.files import read_json, write_atomically
from histolab_lite.recording import METRICS_MIME, Summary
from tools.lessons import LessonsError
from tools.lessons.parameters import Parameters

METRICS, JUNIT, BASELINE = "metrics.json", "junit.xml", "expected.json"


@dataclass(frozen=True)
class Result:
    """The result of one lesson. defaults: as declared; parameters: as set; error: None if it ran to its end."""

    stem: str
    parameters: Parameters
    defaults: Parameters
    runtime_s: float = 0.0
    metrics: dict[str, Summary] = field(default_factory=dict)
    peak_memory_mib: float | None = None
    error: str | None = None

    @property
    def used(self) -> Parameters:
        """All parameters that the lesson ran with."""
        return self.defaults | self.parameters


Run = Mapping[str, Result]  # by lesson, in reading order


def gather(notebook: Mapping[str, Any]) -> tuple[dict[str, Summary], float | None]:
    """Gather all that an executed notebook recorded: ({name: summary}, peak memory of its kernel in MiB or None).

    Raises LessonsError for a name that was recorded twice.
    """
    metrics: dict[str, Summary] = {}
    peaks: list[float] = []
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    for payload in filter(None, (output.get("data", {}).get(METRICS_MIME) for output in outputs)):
        for summary in payload["metrics"]:
            name = summary["name"]
            if name in metrics:
                raise LessonsError(f"'{name}' is recorded twice. Give each number a name of its own.")
            metrics[name] = Summary(**{key: value for key, value in summary.items() if key != "name"})
        if payload["peak_memory_mib"] is not None:
            peaks.append(payload["peak_memory_mib"])
    return metrics, max(peaks, default=None)


def open_folder(out: Path) -> None:
    """Make the folder of a run. Raises FileExistsError if it holds files and no earlier run."""
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file. Name a folder for the results.")
    if out.is_dir() and any(out.iterdir()) and not (out / METRICS).is_file():
        raise FileExistsError(f"{out} holds other files. Name a new or empty folder for the results.")
    out.mkdir(parents=True, exist_ok=True)
    for verdict in (JUNIT, BASELINE):  # of the earlier run: nobody shall take it for that of this run
        (out / verdict).unlink(missing_ok=True)


def write_run(out: Path, run: Run, machine: Mapping[str, Any]) -> None:
    """Write metrics.json: each lesson's numbers, costs and parameters, and the machine."""
    lessons = {stem: asdict(result) for stem, result in run.items()}
    for lesson in lessons.values():
        del lesson["stem"]
    content = json.dumps({"lessons": lessons, "environment": machine}, indent=2, allow_nan=False, default=str)
    write_atomically(out / METRICS, f"{content}\n".encode())


def read_run(folder: Path, wanted: Collection[str] | None = None) -> tuple[Run, dict[str, Any]]:
    """Read the lessons of a run, all or those `wanted`, and the machine.

    Raises FileNotFoundError, or LessonsError for a metrics.json that this version has not written.
    """
    path = folder / METRICS
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no {METRICS}. Name the folder of an earlier run.")
    try:
        content = read_json(path)
        run = {stem: _read_result(stem, **lesson) for stem, lesson in content["lessons"].items()}
        machine = content["environment"]
        dict(machine["versions"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LessonsError(f"{path} is not as this version writes it. Run the lessons again.") from error
    return {stem: result for stem, result in run.items() if wanted is None or stem in wanted}, machine


def _read_result(stem: str, metrics: dict[str, Any], **rest: Any) -> Result:
    summaries = {name: Summary(**summary) for name, summary in metrics.items()}
    if not all(math.isfinite(x) for summary in summaries.values() for x in (summary.mean, *summary.values)):
        raise LessonsError("a metric is not a number")
    result = Result(stem, metrics=summaries, **rest)
    dict(result.used)
    return result


def as_lines(content: Mapping[str, Any], depth: int) -> str:
    """Return JSON with one line per entry of the mappings down to `depth`, so that a diff shows what changed."""

    def write(value: Any, level: int, key: str = "") -> str:
        if not isinstance(value, dict) or not value or level == depth or key in ("parameters", "versions"):
            return json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
        indent = "\n" + "  " * level
        lines = [f"{indent}  {json.dumps(k, ensure_ascii=False)}: {write(v, level + 1, k)}" for k, v in value.items()]
        return "{" + ",".join(lines) + indent + "}"

    return write(dict(content), 0) + "\n"
