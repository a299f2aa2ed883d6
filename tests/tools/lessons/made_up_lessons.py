"""Lessons with made-up numbers, as in metrics.json, for tests of what is made of them."""

from __future__ import annotations

import json
from typing import Any

from histolab_lite.recording import summarise
from tools.lessons.claims import Claim

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


def metrics_json(lessons: dict[str, Any]) -> str:
    """The metrics.json of a run."""
    versions = {"torch": "2.6.0", "numpy": "2.1.0"}
    environment = {"date": "2026-02-03T04:05:06+00:00", "python": "3.11.9", "versions": versions}
    return json.dumps({"lessons": lessons, "environment": environment})


BEFORE = {
    "00_a": lesson(dice=[0.8, 0.81, 0.79], loss=[1.5, 1.6, 1.4], best=0.9),
    "01_b": lesson(dice=[0.7, 0.7, 0.7]),
}


def claim(**fields: Any) -> Claim:
    """A claim that dice_a of 00_a lies above 0, unless `fields` say otherwise."""
    texts = {"id": "a_above_b", "paper": "CVM", "where": "Table 1", "claim": "A beats B.", "published": "0.8 to 0.7"}
    return Claim(**({**texts, "lesson": "00_a", "metric": "dice_a"} | fields))


def evidence(*seeds: int, **metrics: list[float]) -> dict[str, Any]:
    """What 00_a recorded, with these seeds or, where none are given, without such a parameter."""
    parameters = {"data": "phantom"} | ({"seeds": list(seeds)} if seeds else {})
    recorded = {name: {"values": values} for name, values in metrics.items()}
    return {"00_a": {"parameters": parameters, "date": "2026-02-03", "versions": {}, "metrics": recorded}}


FIVE = {"seeds": [0, 1, 2, 3, 4]}
BETTER, WORSE = [0.81, 0.79, 0.83, 0.8, 0.77], [0.72, 0.68, 0.7, 0.71, 0.69]
CLAIMS = [
    claim(beats=("dice_b",)),
    claim(id="below_c", paper="SIC", beats=("dice_b", "dice_c"), within=True, bound=0.05, note="C is ours."),
    claim(id="other", paper="MLPS", lesson="01_b", metric="f1"),
]
RUN = {"00_a": lesson(chosen=FIVE, dice_a=BETTER, dice_b=WORSE, dice_c=[0.8] * 5), "02_c": lesson(dice=0.5)}
NUMBERS = evidence(0, 1, 2, 3, 4, dice_a=BETTER, dice_b=WORSE, dice_c=[0.8] * 5)
ENVIRONMENT = json.loads(metrics_json({}))["environment"]
