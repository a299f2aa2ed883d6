"""Claims: what the papers say, judged by what the lessons record.

notebooks/claims.yaml is a list of entries, each a comparison of metrics of one lesson:

    - id: cq_above_dq
      paper: Proto2Seg
      where: Table 1
      claim: Cluster-then-query draws better coarse masks than direct query.
      published: mean Dice 0.752 against 0.747 on BCSS
      lesson: 03_direct_vs_cluster_query
      metric: dice_cq
      beats: dice_dq     # a rival, or a list of them, each to be beaten; without it the metric itself is judged
      by: 0              # what the effect is to lie above; or, in its place, within: 0.03, what it is to lie below
      note: On a phantom in place of BCSS.

The effect is the mean over the seeds of the differences, paired by seed, with its confidence interval (Student's t). A
claim holds where the interval lies wholly on the claimed side of its bound, does not hold here where it lies wholly on
the other side, and is inconclusive between the two. Of several rivals the one that decides is told.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from histolab_lite.files import read_yaml
from tools.lessons.runs import students_t

CLAIMS = "claims.yaml"
SEEDS = 5  # fewer say too little about the spread
PAPERS = ("Proto2Seg", "MLPS", "CVM", "SIC", "WSSS4LUAD")
HOLDS, FAILS, OPEN = ("holds", "does not hold here", "inconclusive")
TEXTS = ("id", "paper", "where", "claim", "published", "lesson", "metric")
OPTIONAL = ("beats", "by", "within", "note")
DIGITS = 12  # 0.8 - 0.7 is 0.1, whatever floating point makes of it

Evidence = Mapping[str, Any]  # lesson -> {"parameters": {…}, "metrics": {name: {"values": [one a seed]}}}


class ClaimError(ValueError):
    """A claim that cannot be read or judged."""


@dataclass(frozen=True)
class Claim:
    """An entry of claims.yaml. `bound`: what the effect has to lie above or, where `within` is true, below."""

    id: str
    paper: str
    where: str
    claim: str
    published: str
    lesson: str
    metric: str
    beats: tuple[str, ...] = ()
    bound: float = 0.0
    within: bool = False
    note: str = ""


@dataclass(frozen=True)
class Judgement:
    """A claim's verdict, and the numbers it rests on. `rival`: the one told; None where the metric itself is judged."""

    claim: Claim
    verdict: str
    effect: float
    low: float
    high: float
    sd: float
    n: int
    rival: str | None


def read_claims(path: Path) -> list[Claim]:
    """The claims of a file that lies beside the lessons it speaks of.

    Raises FileNotFoundError, or ClaimError naming the entry and the field that do not fit.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No claims {path}. notebooks/{CLAIMS} of the repository is an example.")
    try:
        entries = read_yaml(path)
    except ValueError as error:
        raise ClaimError(str(error)) from error
    if not isinstance(entries, list) or not entries:
        raise ClaimError(f"{path}: expected a list of claims, each an entry that begins with '- id:'.")
    lessons = {lesson.stem for lesson in path.parent.glob("*.ipynb")}
    claims: dict[str, Claim] = {}
    for number, entry in enumerate(entries, start=1):
        name = entry.get("id") if isinstance(entry, dict) else None
        try:
            claim = _read_claim(entry)
            if claim.lesson not in lessons:
                raise ClaimError(f"lesson: there is no {claim.lesson}.ipynb beside this file.")
            if claim.id in claims:
                raise ClaimError(f"id: an earlier claim is called {claim.id}. Give each a name of its own.")
        except ClaimError as error:
            raise ClaimError(f"{path}: entry {number}{f' ({name})' if name else ''}: {error}") from None
        claims[claim.id] = claim
    return list(claims.values())


def _read_claim(entry: Any) -> Claim:
    if not isinstance(entry, dict):
        raise ClaimError(f"expected lines 'field: value', not {entry!r}.")
    for field in entry:
        if field not in TEXTS + OPTIONAL:
            raise ClaimError(f"{field}: there is no such field. Fields are {', '.join(TEXTS + OPTIONAL)}.")
    for field in (*TEXTS, *({"note"} & set(entry))):
        if field not in entry:
            raise ClaimError(f"{field}: is missing.")
        if not isinstance(entry[field], str) or not entry[field].strip():
            raise ClaimError(f"{field}: expected a text, not {entry[field]!r}. Put it in quotes if it is one.")
    if not re.fullmatch("[a-z][a-z0-9_]*", entry["id"]):
        raise ClaimError(f"id: expected small letters, digits and underscores, not {entry['id']!r}.")
    if entry["paper"] not in PAPERS:
        raise ClaimError(f"paper: {entry['paper']!r} is none of {', '.join(PAPERS)}.")
    if "by" in entry and "within" in entry:
        raise ClaimError("by, within: a claim has one of them. 'by' is to be exceeded, 'within' is not.")
    texts = {field: " ".join(entry.get(field, "").split()) for field in (*TEXTS, "note")}
    bound = _number("within", entry["within"]) if "within" in entry else _number("by", entry.get("by", 0))
    return Claim(**texts, beats=_rivals(entry), bound=bound, within="within" in entry)


def _number(field: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ClaimError(f"{field}: expected a number, not {value!r}.")
    return float(value)


def _rivals(entry: Mapping[str, Any]) -> tuple[str, ...]:
    if "beats" not in entry:
        return ()
    rivals = entry["beats"] if isinstance(entry["beats"], list) else [entry["beats"]]
    if not rivals or not all(isinstance(rival, str) and rival for rival in rivals):
        raise ClaimError(f"beats: expected the name of a metric or a list of names, not {entry['beats']!r}.")
    if len({entry["metric"], *rivals}) <= len(rivals):
        raise ClaimError("beats: names a metric twice, or the claim's own metric.")
    return tuple(rivals)


def problem(claim: Claim, evidence: Evidence) -> str | None:
    """Why a claim cannot be judged by this evidence, in a sentence that names it; None where it can be."""
    if claim.lesson not in evidence:
        return f"{claim.id}: {claim.lesson} has not been run to its end."
    lesson = evidence[claim.lesson]
    seeds = lesson["parameters"].get("seeds")
    if isinstance(seeds, list) and len(set(seeds)) < len(seeds):
        return f"{claim.id}: {claim.lesson} ran with seeds {seeds}. Each counts once: name others."
    for metric in (claim.metric, *claim.beats):
        if metric not in lesson["metrics"]:
            return f"{claim.id}: {claim.lesson} did not record {metric}. Perhaps a parameter switches it on."
        n = len(lesson["metrics"][metric]["values"])
        if n < SEEDS:
            return f"{claim.id}: {metric} of {claim.lesson} needs {SEEDS} seeds, and has {n}."
        if isinstance(seeds, list) and n != len(seeds):
            return f"{claim.id}: {claim.lesson} ran with {len(seeds)} seeds, and recorded {n} values of {metric}."
        if n != len(lesson["metrics"][claim.metric]["values"]):
            return f"{claim.id}: {claim.lesson} recorded {claim.metric} and {metric} over different numbers of seeds."
    return None


def judge(claim: Claim, evidence: Evidence) -> Judgement:
    """The verdict on a claim. Raises ClaimError where the evidence does not allow one (`problem`)."""
    if (complaint := problem(claim, evidence)) is not None:
        raise ClaimError(complaint)
    recorded = evidence[claim.lesson]["metrics"]
    values = recorded[claim.metric]["values"]
    if not claim.beats:
        return _judge(claim, values, None)
    differences = {rival: _minus(values, recorded[rival]["values"]) for rival in claim.beats}
    return min((_judge(claim, d, rival) for rival, d in differences.items()), key=_nearest_to_failing)


def judge_all(claims: Iterable[Claim], evidence: Evidence) -> list[Judgement]:
    """The verdicts on those claims that the evidence allows to judge."""
    return [judge(claim, evidence) for claim in claims if problem(claim, evidence) is None]


def by_paper(judgements: Iterable[Judgement]) -> dict[str, list[Judgement]]:
    """The verdicts on each paper, in the order of the file."""
    papers: dict[str, list[Judgement]] = {}
    for judgement in judgements:
        papers.setdefault(judgement.claim.paper, []).append(judgement)
    return papers


def _minus(values: Sequence[float], others: Sequence[float]) -> list[float]:
    return [round(a - b, DIGITS) for a, b in zip(values, others, strict=True)]


def _judge(claim: Claim, effects: Sequence[float], rival: str | None) -> Judgement:
    n, effect = len(effects), fmean(effects)
    margin = students_t(n) * stdev(effects) / math.sqrt(n)
    low, high = effect - margin, effect + margin
    above, below = (FAILS, HOLDS) if claim.within else (HOLDS, FAILS)
    verdict = above if low > claim.bound else below if high < claim.bound else OPEN
    return Judgement(claim, verdict, effect, low, high, stdev(effects), n, rival)


def _nearest_to_failing(judgement: Judgement) -> tuple[int, float]:
    towards = -judgement.effect if judgement.claim.within else judgement.effect
    return (FAILS, OPEN, HOLDS).index(judgement.verdict), towards
