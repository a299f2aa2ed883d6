"""Regression: do the numbers of a run still agree with notebooks/expected.json?

expected.json is {"lessons": {lesson: {profile: {"parameters": {…}, "metrics": {name: entry}}}}}. A profile is a set of
parameters: "defaults", or what differs from them, as "data=glas". An entry is a line that a person may edit:

    "dice_cq": {"value": 0.843, "tolerance": 0.0386, "direction": "higher", "sd": 0.011, "n": 3}

direction: "higher" or "lower" is better, and a move beyond the tolerance to the better side is told, not refused;
"equal": either side is refused. A new entry is "higher" where a word of its name is one of SCORES and none is "minus",
else "equal". `propose` keeps the direction that stands in the file.

tolerance: how far the mean of m seeds may lie from that of the m old ones, t(n - 1) · sd · √(2 / m), where n seeds gave
the sd, and t is at 95 %, enough for the same seeds, of which only another machine makes others; at least FLOOR, and 1
for counts, which move in whole steps. A metric recorded once has no spread, and gets SINGLE. A tolerance with a reason
beside it ("why": "…") is a person's, and `propose` keeps both.

Other seeds, as many, are the same experiment. They are compared where ENOUGH seeds gave the sd, which takes the runs of
other seeds besides: three agree by luck to a tenth of their spread. Their t is at SURE, so that in one run of a hundred
one of its hundred numbers lies outside.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from histolab_lite.files import read_json
from tools.lessons.parameters import Parameters
from tools.lessons.runs import CONFIDENCE, Run, as_lines, parameters_of, students_t

ENOUGH = 6  # seeds, for their spread to say how far others move a number
SURE = 0.9999  # of the tolerance for other seeds
FLOOR = 0.02  # of a score from 0 to 1, or of a larger value: the spread usual here, as three seeds may agree by luck
SINGLE = 0.1  # likewise; trained from another seed, this repository's scores move by as much
SCORES = {"accuracy", "auc", "dice", "f1", "iou", "miou"}
DIRECTIONS = {"higher": "higher is better", "lower": "lower is better", "equal": "either side counts"}
RED = {"worse", "changed", "missing", "failed"}

Baseline = dict[str, Any]  # lesson -> profile -> {"parameters", "metrics"}


class BaselineError(ValueError):
    """A baseline that cannot be read, or a run that it says nothing about."""


@dataclass(frozen=True)
class Finding:
    """What is to be said of a metric or, where `metric` is None, of a lesson as a whole."""

    lesson: str
    metric: str | None
    verdict: str
    expected: str = ""
    found: str = ""
    note: str = ""

    @property
    def red(self) -> bool:
        return self.verdict in RED


def read_baseline(path: Path) -> Baseline:
    """The lessons of expected.json. Raises FileNotFoundError, or BaselineError naming what does not fit."""
    if not path.is_file():
        raise FileNotFoundError(f"No baseline {path}. Propose one with --update, and copy it there.")
    try:
        lessons = read_json(path)["lessons"]
        for stem, profiles in lessons.items():
            for profile in profiles.values():
                dict(profile["parameters"])
                for name, entry in profile["metrics"].items():
                    _check_entry(f"{path}: {stem}, {name}", entry)
    except BaselineError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaselineError(f"{path} is not as --update writes it: {type(error).__name__} {error}") from error
    return lessons


def _check_entry(where: str, entry: Mapping[str, Any]) -> None:
    if entry["direction"] not in DIRECTIONS:
        raise BaselineError(f"{where}: the direction is {' or '.join(DIRECTIONS)}, not {entry['direction']!r}.")
    given = ("value", "tolerance", *(key for key in ("sd", "n") if entry.get(key) is not None))
    for key in given:
        number = entry[key]
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise BaselineError(f"{where}: the {key} is a number, not {number!r}.")
    if entry["tolerance"] < 0:
        raise BaselineError(f"{where}: a tolerance is not negative, as {entry['tolerance']} is.")


def _experiment(parameters: Parameters) -> Parameters:
    """Parameters as they are told apart: seeds by their number, everything else by value."""
    plain = json.loads(json.dumps(parameters, default=str))  # as in a file: a tuple is a list
    if isinstance(plain.get("seeds"), list):
        plain["number of seeds"] = len(plain.pop("seeds"))
    return plain


def profile_name(lesson: Mapping[str, Any]) -> str:
    """What sets a run of a lesson apart from one at its defaults, in words."""
    defaults, used = _experiment(lesson["defaults"]), _experiment(parameters_of(lesson))
    return ", ".join(f"{key}={used[key]}" for key in used if used[key] != defaults.get(key)) or "defaults"


def refuse_other_experiments(run: Run, baseline: Baseline) -> None:
    """Raise BaselineError where a lesson has baselines, and none for the parameters of this run."""
    complaints = []
    for stem, lesson in run.items():
        profiles, name = baseline.get(stem, {}), profile_name(lesson)
        if not profiles:
            continue
        if name not in profiles:
            complaints.append(f"{stem}: there is no baseline for {name}, only for {'; '.join(profiles)}.")
            continue
        then, now = _experiment(profiles[name]["parameters"]), _experiment(parameters_of(lesson))
        moved = [f"{k}: {then.get(k)}, now {now.get(k)}" for k in {**then, **now} if then.get(k) != now.get(k)]
        if moved:
            complaints.append(f"{stem}: its parameters have changed since the baseline ({'; '.join(moved)}).")
    if complaints:
        complaints.append("Different experiments are not compared; propose a baseline for this one with --update.")
        raise BaselineError("\n".join(complaints))


def compare(run: Run, baseline: Baseline, wanted: Collection[str] | None = None) -> list[Finding]:
    """A finding for every lesson and every metric, in reading order.

    wanted: the lessons to look at; None for all, so that a lesson of the baseline that the run lacks is missing.
    Raises BaselineError for a run with other parameters (`refuse_other_experiments`), or with nothing to compare.
    """
    stems = [stem for stem in sorted({**baseline, **run}) if wanted is None or stem in wanted]
    if not stems:
        raise BaselineError("There is nothing to compare: neither the run nor the baseline holds such a lesson.")
    refuse_other_experiments({stem: run[stem] for stem in stems if stem in run}, baseline)
    return [finding for stem in stems for finding in _compare_lesson(stem, run.get(stem), baseline.get(stem))]


def _compare_lesson(stem: str, lesson: Any, profiles: Any) -> Iterator[Finding]:
    if lesson is None:
        yield Finding(stem, None, "missing", note="the baseline has this lesson, the run has not")
    elif lesson["error"]:
        yield Finding(stem, None, "failed", note=lesson["error"])
    elif not profiles:
        yield Finding(stem, None, "new", note="the baseline does not know this lesson: add it with --update")
    else:
        yield Finding(stem, None, "as expected")
        profile = profiles[profile_name(lesson)]
        expected, found = profile["metrics"], lesson["metrics"]
        same_seeds = profile["parameters"].get("seeds") == parameters_of(lesson).get("seeds")
        for name in {**expected, **found}:
            if name not in found:
                note = "the lesson no longer records it"
                yield Finding(stem, name, "missing", _expected(expected[name]), note=note)
            elif name not in expected:
                note = "the baseline does not know it: add it with --update"
                yield Finding(stem, name, "new", found=_number(found[name]["mean"]), note=note)
            else:
                yield _compare_metric(stem, name, expected[name], found[name], same_seeds)


def _compare_metric(
    stem: str, name: str, entry: Mapping[str, Any], found: Mapping[str, Any], same_seeds: bool
) -> Finding:
    said, mean = (stem, name), found["mean"]
    if not same_seeds:
        n = entry.get("n", ENOUGH)
        if n < ENOUGH:
            note = "how far seeds move it is not known"
            return Finding(*said, "not compared", _expected(entry), _number(mean), note)
        if entry.get("sd") is not None:
            wider = tolerance(found["values"], entry["sd"], n, SURE)
            entry = {**entry, "tolerance": max(entry["tolerance"], wider)}
    return Finding(*said, judge(entry, mean), _expected(entry), _number(mean), DIRECTIONS[entry["direction"]])


def judge(entry: Mapping[str, Any], found: float) -> str:
    """Say "as expected" up to the tolerance; beyond it "improved" or "worse", or "changed" where either side counts."""
    gain, rounding = found - entry["value"], 1e-8 * (abs(entry["value"]) + entry["tolerance"])
    if abs(gain) <= entry["tolerance"] + rounding:
        return "as expected"
    if entry["direction"] == "equal":
        return "changed"
    return "improved" if (gain > 0 if entry["direction"] == "higher" else gain < 0) else "worse"


def tolerance(values: Sequence[float], sd: float | None, n: int, confidence: float = CONFIDENCE) -> float:
    """How far the mean of other values may lie from that of these, as many, one a seed.

    sd, n: the standard deviation, and how many seeds gave it: these, or more; None and 1 where there is none.
    """
    scale = max(1.0, abs(fmean(values)))
    if sd is None:
        return SINGLE * scale
    is_count = max(map(abs, values)) > 1 and all(float(value).is_integer() for value in values)
    floor = max(FLOOR * scale, 1.0 if is_count else 0.0)
    return max(floor, students_t(n, confidence) * sd * math.sqrt(2 / len(values)))


def propose(run: Run, baseline: Baseline, others: Sequence[Run] = ()) -> Baseline:
    """The baseline with the numbers of a run in place of its own; a lesson that failed keeps what it had.

    others: runs of the same experiments with other seeds, as many or not, for the spread. Without them a spread that
    ENOUGH seeds gave stays. Raises BaselineError for others that are another experiment, or have seeds in common.
    """
    proposed = {stem: dict(profiles) for stem, profiles in baseline.items()}
    for stem, lesson in run.items():
        if lesson["error"]:
            continue
        profiles, profile = proposed.setdefault(stem, {}), profile_name(lesson)
        own = profiles.get(profile, {"metrics": {}})["metrics"]
        cousins = {name: entry for other in profiles.values() for name, entry in other["metrics"].items()}
        more = _values_of_other_seeds(stem, lesson, [x[stem] for x in others if stem in x and not x[stem]["error"]])
        metrics = {
            name: _entry(name, s, more.get(name, []), own.get(name, {}), cousins)
            for name, s in lesson["metrics"].items()
        }
        profiles[profile] = {"parameters": parameters_of(lesson), "metrics": metrics}
    return dict(sorted(proposed.items()))


def _values_of_other_seeds(stem: str, lesson: Any, others: Sequence[Any]) -> dict[str, list[float]]:
    used, values = set(parameters_of(lesson).get("seeds", [])), dict[str, list[float]]()
    for other in others:
        seeds = set(parameters_of(other).get("seeds", []))
        if _experiment(parameters_of(other) | {"seeds": None}) != _experiment(parameters_of(lesson) | {"seeds": None}):
            raise BaselineError(f"{stem}: seeds {sorted(seeds)} are of another experiment, {profile_name(other)}.")
        if used & seeds:
            raise BaselineError(f"{stem}: two runs share the seeds {sorted(used & seeds)}, which would count twice.")
        used |= seeds
        for name, summary in other["metrics"].items():
            values.setdefault(name, []).extend(summary["values"])
    return values


def _entry(
    name: str, summary: Mapping[str, Any], more: list[float], own: Mapping[str, Any], cousins: Mapping[str, Any]
) -> dict[str, Any]:
    words = set(name.split("_"))
    values, sd, n = summary["values"], summary["sd"], summary["n"]
    if more and len(values) + len(more) >= ENOUGH:
        sd, n = stdev([*values, *more]), len(values) + len(more)
    elif own.get("n", 0) >= ENOUGH and own["n"] > n:
        sd, n = own["sd"], own["n"]
    by_name = "higher" if words & SCORES and "minus" not in words else "equal"
    entry = {
        "value": float(f"{summary['mean']:.9g}"),
        "tolerance": float(f"{tolerance(values, sd, n):.3g}"),
        "direction": own.get("direction") or cousins.get(name, {}).get("direction") or by_name,
        "sd": sd and float(f"{round(sd, 9):.3g}"),  # of equal values it is not quite 0
        "n": n,
    }
    return entry | {key: own[key] for key in ("tolerance", "why") if "why" in own}


def changes(old: Baseline, new: Baseline) -> list[Finding]:
    """What a proposal would change: a finding for every entry that is new, gone, or reads differently."""
    before, after = _entries(old), _entries(new)
    found = []
    for key in {**before, **after}:
        was, will_be = before.get(key, ""), after.get(key, "")
        if was != will_be:
            verdict = "new" if not was else "gone" if not will_be else "moved"
            stem, profile, metric = key
            found.append(Finding(stem, metric, verdict, was, will_be, "" if profile == "defaults" else profile))
    return sorted(found, key=lambda finding: finding.lesson)


def _entries(baseline: Baseline) -> dict[tuple[str, str, str], str]:
    return {
        (stem, profile, name): f"{_expected(entry)} {entry['direction']}"
        for stem, profiles in baseline.items()
        for profile, content in profiles.items()
        for name, entry in content["metrics"].items()
    }


def _expected(entry: Mapping[str, Any]) -> str:
    return f"{_number(entry['value'])} ± {_number(entry['tolerance'])}"


def _number(x: float) -> str:
    return f"{x:.4g}" if abs(x) < 1e4 else f"{x:.0f}"


def as_text(baseline: Baseline) -> str:
    """expected.json, with one line a metric, so that a change of one is a change of one line."""

    return as_lines({"lessons": baseline}, depth=5)
