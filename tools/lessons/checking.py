"""The regression check: do the numbers of a run still agree with notebooks/expected.json?

expected.json is {"lessons": {lesson: {profile: {"parameters": {…}, "metrics": {name: entry}}}}}. A profile is a set of
parameters, seeds among them: "defaults", or what differs from them, as "data=glas". Only runs of the same parameters
are compared. An entry is a line that a person may edit:

    "dice_cq": {"value": 0.843, "tolerance": 0.0386, "direction": "higher", "sd": 0.011, "n": 3}

direction: "higher" or "lower" is better, and a move beyond the tolerance to the better side is reported but passes;
with "equal", a move to either side fails. A new entry is "higher" if a word of its name is one of SCORES and none is
"minus", else "equal". `propose` keeps the direction that stands in the file.

tolerance: how far the mean of the seeds may move: half the 95 % interval for the difference of two such means. The sd
is that of n seeds, those of the run and perhaps of other runs. The tolerance is at least FLOOR, and 1 for counts, which
move in whole steps. A metric recorded once has no spread, and gets SINGLE. A tolerance with a reason beside it
("why": "…") was set by a person, and `propose` keeps both.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

from histolab_lite.files import read_json
from histolab_lite.recording import Summary
from tools.lessons import LessonsError
from tools.lessons.comparing import Comparison, half_interval, judge
from tools.lessons.parameters import Parameters
from tools.lessons.runs import Result, Run, as_lines

ENOUGH = 6  # seeds of several runs for a spread to count: by luck, that of three may be ten times too small
FLOOR = 0.02  # of a score from 0 to 1, or of a larger value: the usual spread, as three seeds may agree by luck
SINGLE = 0.1  # likewise; our scores move by as much when trained from another seed
SCORES = {"accuracy", "auc", "dice", "f1", "iou", "miou"}
DIRECTIONS = {"higher": "higher is better", "lower": "lower is better", "equal": "either side counts"}


@dataclass(frozen=True)
class Expected:
    """An entry of expected.json. Raises LessonsError where a field does not fit."""

    value: float
    tolerance: float
    direction: str
    sd: float | None = None
    n: int | None = None
    why: str | None = None

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise LessonsError(f"the direction is {' or '.join(DIRECTIONS)}, not {self.direction!r}.")
        for key in ("value", "tolerance", "sd", "n"):
            number = getattr(self, key)
            if key in ("sd", "n") and number is None:
                continue
            if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
                raise LessonsError(f"the {key} is a number, not {number!r}.")
        if self.tolerance < 0:
            raise LessonsError(f"a tolerance is not negative, as {self.tolerance} is.")

    def __str__(self) -> str:
        return f"{_number(self.value)} ± {_number(self.tolerance)}"

    def verdict(self, found: float) -> str:
        """Return "as expected" up to the tolerance; beyond it "improved" or "worse", or "changed" for "equal"."""
        side = judge(found, self.tolerance, self.value)
        if not side or self.direction == "equal":
            return "changed" if side else "as expected"
        return "improved" if (side > 0) == (self.direction == "higher") else "worse"


@dataclass(frozen=True)
class Profile:
    """What is expected of a lesson that runs with these parameters."""

    parameters: Parameters
    metrics: dict[str, Expected]


Baseline = Mapping[str, Mapping[str, Profile]]  # by lesson, then by the name of the profile


def read_baseline(path: Path) -> Baseline:
    """Read expected.json. Raises FileNotFoundError, or LessonsError naming what does not fit."""
    if not path.is_file():
        raise FileNotFoundError(f"No baseline {path}. Propose one with --update, and copy it there.")
    where = ""
    try:
        baseline: dict[str, dict[str, Profile]] = {}
        for stem, profiles in read_json(path)["lessons"].items():
            baseline[stem] = {}
            for profile, content in profiles.items():
                metrics = {}
                for name, entry in content["metrics"].items():
                    where = f"{stem}, {name}: "
                    metrics[name] = Expected(**entry)
                where = ""
                baseline[stem][profile] = Profile(dict(content["parameters"]), metrics)
    except LessonsError as error:
        raise LessonsError(f"{path}: {where}{error}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LessonsError(f"{path} is not as --update writes it: {where}{type(error).__name__} {error}") from error
    return baseline


def as_json(baseline: Baseline) -> str:
    """Return the text of expected.json, with one line per metric, so that a diff shows which metrics changed."""
    content = {stem: {name: asdict(profile) for name, profile in x.items()} for stem, x in baseline.items()}
    for entry in (e for x in content.values() for profile in x.values() for e in profile["metrics"].values()):
        for optional in ("n", "why"):
            if entry[optional] is None:
                del entry[optional]
    return as_lines({"lessons": content}, depth=5)


def profile_name(lesson: Result) -> str:
    """Name the parameters that differ from the defaults, as "data=glas"; "defaults" if none does."""
    defaults, used = _plain(lesson.defaults), _plain(lesson.used)
    return ", ".join(f"{key}={used[key]}" for key in used if used[key] != defaults.get(key)) or "defaults"


def _plain(parameters: Parameters) -> Parameters:
    plain: Parameters = json.loads(json.dumps(parameters, default=str))  # as in a file: a tuple is a list
    return plain


def refuse_other_experiments(run: Run, baseline: Baseline) -> None:
    """Raise LessonsError for a lesson that has baselines, but none with the parameters of this run."""
    complaints = []
    for stem, lesson in run.items():
        profiles, name = baseline.get(stem, {}), profile_name(lesson)
        if not profiles:
            continue
        if name not in profiles:
            complaints.append(f"{stem}: there is no baseline for {name}, only for {'; '.join(profiles)}.")
            continue
        then, now = _plain(profiles[name].parameters), _plain(lesson.used)
        moved = [f"{k}: {then.get(k)}, now {now.get(k)}" for k in {**then, **now} if then.get(k) != now.get(k)]
        if moved:
            complaints.append(f"{stem}: its parameters have changed since the baseline ({'; '.join(moved)}).")
    if complaints:
        complaints.append(
            "Numbers of other parameters, or of other seeds, are not compared; propose a baseline with --update."
        )
        raise LessonsError("\n".join(complaints))


def compare(run: Run, baseline: Baseline, wanted: Collection[str] | None = None) -> list[Comparison]:
    """Compare every lesson and every metric, in reading order.

    wanted: the lessons to look at; None for all: then a lesson that only the baseline holds is missing.
    Raises LessonsError for a run with other parameters (`refuse_other_experiments`), or with nothing to compare.
    """
    stems = [stem for stem in sorted({**baseline, **run}) if wanted is None or stem in wanted]
    if not stems:
        raise LessonsError("There is nothing to compare: neither the run nor the baseline holds such a lesson.")
    refuse_other_experiments({stem: run[stem] for stem in stems if stem in run}, baseline)
    return [found for stem in stems for found in _compare_lesson(stem, run.get(stem), baseline.get(stem))]


def _compare_lesson(stem: str, lesson: Result | None, profiles: Mapping[str, Profile] | None) -> Iterator[Comparison]:
    if lesson is None:
        yield Comparison(stem, None, "missing", note="the baseline holds this lesson, the run does not")
    elif lesson.error:
        yield Comparison(stem, None, "failed", note=lesson.error)
    elif not profiles:
        yield Comparison(stem, None, "new", note="the baseline does not know this lesson: add it with --update")
    else:
        yield Comparison(stem, None, "as expected")
        expected = profiles[profile_name(lesson)].metrics
        for name in {**expected, **lesson.metrics}:
            entry, summary = expected.get(name), lesson.metrics.get(name)
            found = _number(summary.mean) if summary else ""
            if entry and summary:
                note = DIRECTIONS[entry.direction]
                yield Comparison(stem, name, entry.verdict(summary.mean), str(entry), found, note)
            elif entry:
                yield Comparison(stem, name, "missing", str(entry), note="the lesson no longer records it")
            else:
                note = "the baseline does not know it: add it with --update"
                yield Comparison(stem, name, "new", found=found, note=note)


def counted(found: Sequence[Comparison]) -> str:
    """Count the verdicts: "140 of 142 numbers as expected, 2 improved, 1 lesson failed"."""
    numbers = Counter(x.verdict for x in found if x.name is not None)
    lessons = Counter(x.verdict for x in found if x.name is None)
    total = numbers.total()
    parts = [f"{numbers.pop('as expected', 0)} of {total} numbers as expected"]
    parts += [f"{n} {verdict}" for verdict, n in numbers.items()]
    del lessons["as expected"]
    return ", ".join([*parts, *(f"{n} lesson{'s' * (n != 1)} {verdict}" for verdict, n in lessons.items())])


def tolerance(values: Sequence[float], sd: float | None, n: int) -> float:
    """How far the mean of as many other values, one per seed, may lie from the mean of these.

    sd, n: the standard deviation, and the number of seeds that it is of, these or more; None and 1 without a spread.
    """
    scale = max(1.0, abs(fmean(values)))
    if sd is None:
        return SINGLE * scale
    is_count = max(map(abs, values)) > 1 and all(float(value).is_integer() for value in values)
    floor = max(FLOOR * scale, 1.0 if is_count else 0.0)
    return max(floor, half_interval(sd, n, 2 / len(values)))


def propose(run: Run, baseline: Baseline, others: Sequence[Run] = ()) -> Baseline:
    """Put the numbers of a run in place of those of the baseline; a lesson that failed keeps what it had.

    others: runs of the same experiments with any number of other seeds, for the spread. Without them, a known spread of
    more seeds stays. Raises LessonsError for runs of another experiment, or with seeds in common.
    """
    proposed = {stem: dict(profiles) for stem, profiles in baseline.items()}
    for stem, lesson in run.items():
        if lesson.error:
            continue
        profiles, profile = proposed.setdefault(stem, {}), profile_name(lesson)
        cousins = {name: entry for other in profiles.values() for name, entry in other.metrics.items()}
        own = profiles[profile].metrics if profile in profiles else {}
        more = _values_of_other_seeds(lesson, [x[stem] for x in others if stem in x and not x[stem].error])
        metrics = {
            name: _entry(name, summary, more.get(name, []), own.get(name), cousins.get(name))
            for name, summary in lesson.metrics.items()
        }
        profiles[profile] = Profile(lesson.used, metrics)
    return dict(sorted(proposed.items()))


def _values_of_other_seeds(lesson: Result, others: Sequence[Result]) -> dict[str, list[float]]:
    used, values = set(lesson.used.get("seeds", [])), dict[str, list[float]]()
    for other in others:
        seeds = set(other.used.get("seeds", []))
        if _plain(other.used | {"seeds": None}) != _plain(lesson.used | {"seeds": None}):
            what = profile_name(other)
            raise LessonsError(f"{lesson.stem}: seeds {sorted(seeds)} are of another experiment, {what}.")
        if used & seeds:
            shared = sorted(used & seeds)
            raise LessonsError(f"{lesson.stem}: two runs share the seeds {shared}, which would count twice.")
        used |= seeds
        for name, summary in other.metrics.items():
            values.setdefault(name, []).extend(summary.values)
    return values


def _entry(name: str, summary: Summary, more: list[float], own: Expected | None, cousin: Expected | None) -> Expected:
    sd, n, known = summary.sd, summary.n, (own.n or 0) if own else 0
    if more and n + len(more) >= ENOUGH:
        sd, n = stdev([*summary.values, *more]), n + len(more)
    elif own and known >= ENOUGH and known > n:
        sd, n = own.sd, known
    words, kept = set(name.split("_")), own or cousin
    entry = Expected(
        value=float(f"{summary.mean:.9g}"),
        tolerance=float(f"{tolerance(summary.values, sd, n):.3g}"),
        direction=kept.direction if kept else "higher" if words & SCORES and "minus" not in words else "equal",
        sd=sd and float(f"{round(sd, 9):.3g}"),  # of equal values it is not quite 0
        n=n,
    )
    return replace(entry, tolerance=own.tolerance, why=own.why) if own and own.why else entry


def changes(old: Baseline, new: Baseline) -> list[Comparison]:
    """List what a proposal would change: every entry that is new, gone or different."""
    before, after = _entries(old), _entries(new)
    found = []
    for key in {**before, **after}:
        was, will_be = before.get(key, ""), after.get(key, "")
        if was != will_be:
            verdict = "new" if not was else "gone" if not will_be else "moved"
            stem, profile, metric = key
            found.append(Comparison(stem, metric, verdict, was, will_be, "" if profile == "defaults" else profile))
    return sorted(found, key=lambda comparison: comparison.lesson)


def _entries(baseline: Baseline) -> dict[tuple[str, str, str], str]:
    return {
        (stem, profile, name): f"{entry} {entry.direction}"
        for stem, profiles in baseline.items()
        for profile, content in profiles.items()
        for name, entry in content.metrics.items()
    }


def _number(x: float) -> str:
    return f"{x:.4g}" if abs(x) < 1e4 else f"{x:.0f}"
