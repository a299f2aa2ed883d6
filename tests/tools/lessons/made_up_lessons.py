"""Lessons with made-up numbers, as in metrics.json, for tests of what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from histolab_lite.recording import summarise
from tools.lessons.claims import Claim, Evidence
from tools.lessons.runs import Result, write_run

DEFAULTS = {"data": "phantom", "seeds": [0, 1, 2], "epochs": 8}
MACHINE = {
    "date": "2026-02-03T04:05:06+00:00",
    "python": "3.11.9",
    "versions": {"torch": "2.6.0", "numpy": "2.1.0"},
}


def lesson(error: str | None = None, chosen: dict[str, Any] | None = None, **metrics: Any) -> Result:
    """A lesson as in metrics.json, but for its name."""
    summaries = {name: summarise(name, values) for name, values in metrics.items()}
    return Result("00_a", chosen or {}, dict(DEFAULTS), 12.0, summaries, None, error)


def write(folder: Path, run: dict[str, Result]) -> Path:
    """The metrics.json of a run, in its folder."""
    folder.mkdir(exist_ok=True)
    write_run(folder, run, MACHINE)
    return folder


BEFORE = {
    "00_a": lesson(dice=[0.8, 0.81, 0.79], loss=[1.5, 1.6, 1.4], best=0.9),
    "01_b": lesson(dice=[0.7, 0.7, 0.7]),
}


def claim(**fields: Any) -> Claim:
    """A claim that dice_a of 00_a lies above 0, unless `fields` say otherwise."""
    texts = {"id": "a_above_b", "paper": "CVM", "where": "Table 1", "claim": "A beats B.", "published": "0.8 to 0.7"}
    return Claim(**({**texts, "lesson": "00_a", "metric": "dice_a"} | fields))


def evidence(*seeds: int, **metrics: list[float]) -> dict[str, Evidence]:
    """What 00_a recorded, with these seeds or, where none are given, without such a parameter."""
    parameters = {"data": "phantom"} | ({"seeds": list(seeds)} if seeds else {})
    return {"00_a": Evidence(parameters, metrics, "2026-02-03", {})}


FIVE = {"seeds": [0, 1, 2, 3, 4]}
BETTER, WORSE = [0.81, 0.79, 0.83, 0.8, 0.77], [0.72, 0.68, 0.7, 0.71, 0.69]
CLAIMS = [
    claim(beats=("dice_b",)),
    claim(id="below_c", paper="SIC", beats=("dice_b", "dice_c"), within=True, bound=0.05, note="C is ours."),
    claim(id="other", paper="MLPS", lesson="01_b", metric="f1"),
]
RUN = {"00_a": lesson(chosen=FIVE, dice_a=BETTER, dice_b=WORSE, dice_c=[0.8] * 5), "02_c": lesson(dice=0.5)}
NUMBERS = evidence(0, 1, 2, 3, 4, dice_a=BETTER, dice_b=WORSE, dice_c=[0.8] * 5)
