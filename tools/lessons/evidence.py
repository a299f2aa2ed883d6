"""Evidence: the committed numbers that README's claims are judged by, taken from runs, lesson by lesson.

notebooks/evidence.json is {lesson: {"parameters", "date", "versions", "metrics": {name: {"values": [one a seed]}}}}.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from histolab_lite.files import read_json
from tools.lessons.claims import SEEDS, Claim, ClaimError, Evidence, problem
from tools.lessons.runs import Run, as_lines, parameters_of

EVIDENCE = "evidence.json"
RUN_PARAMETERS = "claims_run.yaml"


def of_run(run: Run, environment: Mapping[str, Any]) -> Evidence:
    """What the lessons of a run say that ran to their end; `run` and `environment` as in metrics.json."""
    versions = {"python": environment["python"], **environment["versions"]}
    return {
        stem: {
            "parameters": parameters_of(lesson),
            "date": environment["date"][:10],
            "versions": versions,
            "metrics": {name: {"values": summary["values"]} for name, summary in lesson["metrics"].items()},
        }
        for stem, lesson in run.items()
        if not lesson["error"]
    }


def refuse_few_seeds(planned: Mapping[str, Mapping[str, Any]], claims: Iterable[Claim]) -> None:
    """Raise ClaimError where a lesson of a claim would run with too few seeds; planned: {lesson: parameters}."""
    named = {claim.lesson for claim in claims}
    few = [stem for stem, x in planned.items() if stem in named and len(set(x.get("seeds", range(SEEDS)))) < SEEDS]
    if few:
        raise ClaimError(f"Claims need {SEEDS} seeds, and {', '.join(few)} would have fewer. {_advice()}")


def take(evidence: Evidence, new: Evidence, claims: Iterable[Claim]) -> Evidence:
    """The evidence with what a run says of the lessons that claims name in place of its own.

    Raises ClaimError where a lesson of the run does not allow to judge a claim that names it, or none is named.
    """
    claims = list(claims)
    taken = {stem: new[stem] for stem in new if any(claim.lesson == stem for claim in claims)}
    if not taken:
        raise ClaimError("There is nothing to take: of the lessons that claims name, none has run to its end here.")
    complaints = [problem(claim, taken) for claim in claims if claim.lesson in taken]
    if any(complaints):
        raise ClaimError("\n".join([*filter(None, complaints), f"Nothing has been taken. {_advice()}"]))
    return dict(sorted({**evidence, **taken}.items()))


def _advice() -> str:
    return f"Run the lessons with --params notebooks/{RUN_PARAMETERS}."


def read_evidence(path: Path) -> Evidence:
    """The evidence of a file, none where there is no file. Raises ClaimError where it is not as `as_text` writes it."""
    if not path.is_file():
        return {}
    try:
        evidence = read_json(path)
        for stem, lesson in evidence.items():
            lesson["parameters"].get("seeds")
            for name, metric in lesson["metrics"].items():
                if not all(type(value) in (int, float) and math.isfinite(value) for value in metric["values"]):
                    raise ClaimError(f"{path}: {stem}, {name}: expected numbers, not {metric['values']}.")
    except ClaimError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ClaimError(f"{path} is not as --claims writes it: {type(error).__name__} {error}") from error
    return evidence


def as_text(evidence: Evidence) -> str:
    """evidence.json, with one line a metric."""
    return as_lines(evidence, depth=3)
