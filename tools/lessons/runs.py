"""An earlier run, read again from its metrics.json, and how far the mean of its seeds may be trusted."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from scipy import stats

from histolab_lite.files import read_json
from tools.lessons.parameters import Parameters

CONFIDENCE = 0.95  # so one interval in twenty misses, by chance

Run = dict[str, Any]  # lesson -> its part of metrics.json


class RunError(ValueError):
    """A run that cannot be read."""


def read_run(folder: Path, wanted: Collection[str] | None = None) -> Run:
    """The lessons of a run's metrics.json, all or those `wanted`.

    Raises FileNotFoundError, or RunError for a file that this version has not written.
    """
    return {stem: x for stem, x in read_metrics(folder)["lessons"].items() if wanted is None or stem in wanted}


def read_metrics(folder: Path) -> dict[str, Any]:
    """A run's metrics.json: {"lessons", "environment"}. Raises as `read_run`."""
    path = folder / "metrics.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no metrics.json. Name the folder of an earlier run.")
    try:
        content = read_json(path)
        for lesson in content["lessons"].values():
            parameters_of(lesson)
        dict(content["environment"]["versions"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is not as this version writes it. Run the lessons again.") from error
    return content


def parameters_of(lesson: Mapping[str, Any]) -> Parameters:
    """All parameters that a lesson ran with: its defaults, and what was set."""
    return lesson["defaults"] | lesson["parameters"]


def as_lines(content: Mapping[str, Any], depth: int) -> str:
    """JSON with a line for each entry of the mappings down to `depth`, so that a change of one changes one line."""

    def write(value: Any, level: int, key: str = "") -> str:
        if not isinstance(value, dict) or not value or level == depth or key in ("parameters", "versions"):
            return json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
        indent = "\n" + "  " * level
        lines = [f"{indent}  {json.dumps(k, ensure_ascii=False)}: {write(v, level + 1, k)}" for k, v in value.items()]
        return "{" + ",".join(lines) + indent + "}"

    return write(dict(content), 0) + "\n"


def students_t(n: int, confidence: float = CONFIDENCE) -> float:
    """Student's t for n >= 2 values, both sides.

    Times their standard deviation and √(1 / n) it is half the confidence interval of their mean, with √(2 / m) in place
    of √(1 / n) half the interval for the difference of the means of two times m values like them.
    """
    return float(stats.t.ppf((1 + confidence) / 2, n - 1))
