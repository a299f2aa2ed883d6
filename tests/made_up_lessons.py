"""Lessons with made-up numbers, as in metrics.json, for tests of the regression check."""

from __future__ import annotations

from typing import Any

from histolab_lite.notebooks.recording import summarise

DEFAULTS = {"data": "phantom", "seeds": [0, 1, 2], "epochs": 8}


def lesson(error: str | None = None, chosen: dict[str, Any] | None = None, **metrics: Any) -> dict[str, Any]:
    """A lesson as in metrics.json."""
    return {
        "metrics": {name: summarise(name, values) for name, values in metrics.items()},
        "runtime_s": 12.0,
        "parameters": chosen or {},
        "defaults": dict(DEFAULTS),
        "error": error,
    }


BEFORE = {
    "00_a": lesson(dice=[0.8, 0.81, 0.79], loss=[1.5, 1.6, 1.4], best=0.9),
    "01_b": lesson(dice=[0.7, 0.7, 0.7]),
}
