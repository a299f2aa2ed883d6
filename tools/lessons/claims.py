"""Claims: what the papers claim, judged by what the lessons record.

notebooks/claims.yaml is a list of entries, each a comparison of metrics of one lesson:

    - id: cq_above_dq
      paper: Proto2Seg
      where: Table 1
      claim: Cluster-then-query draws better coarse masks than direct query.
      published: mean Dice 0.752 against 0.747 on BCSS
      lesson: 03_direct_vs_cluster_query
      metric: dice_cq
      beats: dice_dq     # a baseline, or a list of them, each to be beaten; without it the metric itself is judged
      by: 0              # the effect has to lie above this; or, in its place, within: 0.03, below which it has to lie
      note: On a phantom in place of BCSS.

The effect is the mean over the seeds of the differences, paired by seed, with its confidence interval (Student's t). A
claim holds if the whole interval lies on the claimed side of the bound. It does not hold here if the whole interval
lies on the other side. Else it is inconclusive. Of several baselines, the one that decides is named.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from histolab_lite.files import read_yaml
from tools.lessons import LessonsError
from tools.lessons.comparing import FAILS, HOLDS, OPEN, Comparison, Interval, half_interval, judge
from tools.lessons.parameters import Parameters

CLAIMS = "claims.yaml"
SEEDS = 5  # the least: fewer say too little about the spread
PAPERS = ("Proto2Seg", "MLPS", "CVM", "SIC", "WSSS4LUAD")
TEXTS = ("id", "paper", "where", "claim", "published", "lesson", "metric")
OPTIONAL = ("beats", "by", "within", "note")
DIGITS = 12  # 0.8 - 0.7 is 0.1, whatever floating point makes of it


@dataclass(frozen=True)
class Claim:
    """An entry of claims.yaml. The effect has to lie above `bound` or, if `within` is true, below it."""

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
class Evidence:
    """What a lesson recorded: for each metric one value per seed."""

    parameters: Parameters
    values: Mapping[str, list[float]]
    date: str = ""
    versions: Mapping[str, str] | None = None


Ledger = Mapping[str, Evidence]  # by lesson
Judged = Mapping[Claim, Comparison]


def read_claims(path: Path) -> list[Claim]:
    """Read the claims of a file that lies beside the lessons.

    Raises FileNotFoundError, or LessonsError naming the entry and the field that do not fit.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No claims {path}. notebooks/{CLAIMS} of the repository is an example.")
    try:
        entries = read_yaml(path)
    except ValueError as error:
        raise LessonsError(str(error)) from error
    if not isinstance(entries, list) or not entries:
        raise LessonsError(f"{path}: expected a list of claims, each an entry that begins with '- id:'.")
    lessons = {lesson.stem for lesson in path.parent.glob("*.ipynb")}
    claims: dict[str, Claim] = {}
    for number, entry in enumerate(entries, start=1):
        name = entry.get("id") if isinstance(entry, dict) else None
        try:
            claim = _read_claim(entry)
            if claim.lesson not in lessons:
                raise LessonsError(f"lesson: there is no {claim.lesson}.ipynb beside this file.")
            if claim.id in claims:
                raise LessonsError(f"id: an earlier claim is called {claim.id}. Give each a name of its own.")
        except LessonsError as error:
            raise LessonsError(f"{path}: entry {number}{f' ({name})' if name else ''}: {error}") from None
        claims[claim.id] = claim
    return list(claims.values())


def _read_claim(entry: Any) -> Claim:
    if not isinstance(entry, dict):
        raise LessonsError(f"expected lines 'field: value', not {entry!r}.")
    for field in entry:
        if field not in TEXTS + OPTIONAL:
            raise LessonsError(f"{field}: there is no such field. Fields are {', '.join(TEXTS + OPTIONAL)}.")
    for field in (*TEXTS, *({"note"} & set(entry))):
        if field not in entry:
            raise LessonsError(f"{field}: is missing.")
        if not isinstance(entry[field], str) or not entry[field].strip():
            raise LessonsError(f"{field}: expected a text, not {entry[field]!r}. Put it in quotes if it is a text.")
    if not re.fullmatch("[a-z][a-z0-9_]*", entry["id"]):
        raise LessonsError(f"id: expected small letters, digits and underscores, not {entry['id']!r}.")
    if entry["paper"] not in PAPERS:
        raise LessonsError(f"paper: {entry['paper']!r} is none of {', '.join(PAPERS)}.")
    if "by" in entry and "within" in entry:
        raise LessonsError("by, within: a claim has one of them. The effect lies above 'by', or below 'within'.")
    field = "within" if "within" in entry else "by"
    bound, beats = entry.get(field, 0), entry.get("beats", ())
    if isinstance(bound, bool) or not isinstance(bound, int | float) or not math.isfinite(bound):
        raise LessonsError(f"{field}: expected a number, not {bound!r}.")
    baselines = [beats] if isinstance(beats, str) else beats
    names = isinstance(baselines, list) and baselines and all(isinstance(x, str) and x for x in baselines)
    if baselines != () and not names:
        raise LessonsError(f"beats: expected the name of a metric or a list of names, not {beats!r}.")
    if len({entry["metric"], *baselines}) <= len(baselines):
        raise LessonsError("beats: names a metric twice, or the claim's own metric.")
    texts = {field: " ".join(entry.get(field, "").split()) for field in (*TEXTS, "note")}
    return Claim(**texts, beats=tuple(baselines), bound=float(bound), within="within" in entry)


def problem(claim: Claim, ledger: Ledger) -> str | None:
    """Say in a sentence why these numbers cannot judge a claim; None if they can."""
    if claim.lesson not in ledger:
        return f"{claim.id}: {claim.lesson} has not been run to its end."
    lesson = ledger[claim.lesson]
    seeds = lesson.parameters.get("seeds")
    if isinstance(seeds, list) and len(set(seeds)) < len(seeds):
        return f"{claim.id}: {claim.lesson} ran with seeds {seeds}. Each seed counts once: choose different ones."
    for metric in (claim.metric, *claim.beats):
        if metric not in lesson.values:
            return f"{claim.id}: {claim.lesson} did not record {metric}. Perhaps a parameter switches it on."
        n = len(lesson.values[metric])
        if n < SEEDS:
            return f"{claim.id}: {metric} of {claim.lesson} needs {SEEDS} seeds, and has {n}."
        if isinstance(seeds, list) and n != len(seeds):
            return f"{claim.id}: {claim.lesson} ran with {len(seeds)} seeds, and recorded {n} values of {metric}."
        if n != len(lesson.values[claim.metric]):
            return f"{claim.id}: {claim.lesson} recorded {claim.metric} and {metric} over different numbers of seeds."
    return None


def judge_claims(claims: Iterable[Claim], ledger: Ledger) -> dict[Claim, Comparison]:
    """Judge those claims that the numbers can judge (see `problem`)."""
    return {claim: _judge_claim(claim, ledger[claim.lesson]) for claim in claims if problem(claim, ledger) is None}


def by_paper(judged: Judged) -> dict[str, Judged]:
    """Group the verdicts by paper, in the order of the file."""
    papers = dict.fromkeys(claim.paper for claim in judged)
    return {paper: {claim: x for claim, x in judged.items() if claim.paper == paper} for paper in papers}


def _judge_claim(claim: Claim, lesson: Evidence) -> Comparison:
    found = [_against(claim, lesson, baseline) for baseline in claim.beats or (None,)]
    return min(found, key=lambda x: _nearest_to_failing(claim, x))


def _nearest_to_failing(claim: Claim, found: Comparison) -> tuple[int, float]:
    assert found.interval
    return (FAILS, OPEN, HOLDS).index(found.verdict), found.interval.effect * (-1 if claim.within else 1)


def _against(claim: Claim, lesson: Evidence, baseline: str | None) -> Comparison:
    effects = lesson.values[claim.metric]
    if baseline is not None:
        effects = [round(a - b, DIGITS) for a, b in zip(effects, lesson.values[baseline], strict=True)]
    n, effect, sd = len(effects), fmean(effects), stdev(effects)
    margin = half_interval(sd, n, 1 / n)
    side = judge(effect, margin, claim.bound)
    interval = Interval(effect - margin, effect, effect + margin)
    low, middle, high = (number(x, signed=baseline is not None) for x in interval)
    notes = [f"against {baseline.replace('_', ' ')}"] if baseline and len(claim.beats) > 1 else []
    if claim.within or claim.bound:
        notes.append(f"to be {'below' if claim.within else 'above'} {number(claim.bound)}")
    notes.append(f"{number(effect / sd, digits=1)}\u00a0sd" if sd else "the same in every seed")
    notes.append(f"n\u00a0=\u00a0{n}")
    verdict = (OPEN, HOLDS, FAILS)[-side if claim.within else side]
    here = f"{middle} ({low} to {high})"
    return Comparison(claim.lesson, claim.id, verdict, found=here, note=", ".join(notes), interval=interval)


def number(value: float, signed: bool = False, digits: int = 3) -> str:
    """Write a number with a true minus sign; zero has no sign."""
    text = f"{value:{'+' * signed}.{digits}f}"
    return (text.lstrip("+-") if not float(text) else text).replace("-", "−")
