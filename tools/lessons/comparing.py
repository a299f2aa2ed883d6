"""Comparisons of a number with what it should be, as a table for people and as JUnit XML for CI.

https://github.com/testmoapp/junitxml describes what Jenkins, GitLab and GitHub's actions read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple
from xml.etree import ElementTree

from rich.console import Console
from rich.table import Table
from rich.text import Text
from scipy import stats

CONFIDENCE = 0.95  # so one interval in twenty misses by chance
SLACK = 1e-8  # relative: numbers are committed with nine digits
HOLDS, FAILS, OPEN = "holds", "does not hold here", "inconclusive"
RED = {"worse", "changed", "missing", "failed"}
COLOURS = {"as expected": "green", "improved": "green", "new": "cyan", HOLDS: "blue", FAILS: "yellow", OPEN: ""}
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
LOG_WIDTH = 160  # a log is no terminal, and its lines may be long


class Interval(NamedTuple):
    """An effect and the interval that holds it."""

    low: float
    effect: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """The verdict on a metric or a claim; if `name` is None, on a lesson as a whole."""

    lesson: str
    name: str | None
    verdict: str
    expected: str = ""
    found: str = ""
    note: str = ""
    interval: Interval | None = None

    @property
    def red(self) -> bool:
        return self.verdict in RED


def half_interval(sd: float, n: int, share: float) -> float:
    """Half of Student's 95 % interval, from the standard deviation of n values.

    share: 1 / n for the interval of their mean; 2 / m for the difference between the means of two sets of m values.
    """
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * sd * math.sqrt(share)


def judge(effect: float, margin: float, bound: float) -> int:
    """On which side of the bound the whole interval effect ± margin lies: 1 above, -1 below, 0 neither."""
    reach = margin + SLACK * (abs(bound) + margin)
    return 1 if effect - bound > reach else -1 if effect - bound < -reach else 0


def show(comparisons: Sequence[Comparison], columns: Sequence[str]) -> None:
    """Print a table, or nothing without comparisons. columns: six headings."""
    if not comparisons:
        return
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for lesson, group in groupby(comparisons, key=lambda comparison: comparison.lesson):
        for number, x in enumerate(group):
            verdict = Text(x.verdict, COLOURS.get(x.verdict, "red"))
            cells = ("" if number else lesson, x.name or "", x.expected, x.found)
            table.add_row(*map(Text, cells), verdict, Text(_first_and_last(x.note)))
    console().print("", table, "", sep="\n")


def console() -> Console:
    """Return a console as wide as the terminal, or wider for a log."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=LOG_WIDTH)


def _first_and_last(note: str) -> str:
    """Put a note on one line; of a traceback, only where it happened and what it says."""
    lines = [line.strip() for line in note.splitlines() if line.strip()]
    return f"{lines[0]} {lines[-1]}" if len(lines) > 1 else note


def as_junit(comparisons: Sequence[Comparison], seconds: Mapping[str, float]) -> str:
    """Return JUnit XML: one suite per lesson, with a case for the lesson and one per metric. seconds: by lesson."""
    root = ElementTree.Element("testsuites", name="histolab-lite lessons")
    for lesson, group in groupby(comparisons, key=lambda comparison: comparison.lesson):
        suite = ElementTree.SubElement(root, "testsuite", name=lesson)
        for comparison in group:
            _add_case(suite, comparison, 0.0 if comparison.name else seconds.get(lesson, 0.0))
        _count(suite)
    _count(root)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add_case(suite: ElementTree.Element, x: Comparison, seconds: float) -> None:
    name = _clean(x.name or "the lesson runs")
    where = {"classname": f"notebooks.{x.lesson}", "name": name, "time": f"{seconds:.1f}"}
    case = ElementTree.SubElement(suite, "testcase", where)
    numbers = [f"{word} {number}" for word, number in (("expected", x.expected), ("found", x.found)) if number]
    text = f"{x.verdict}: {', '.join([*numbers, x.note])}"
    if x.red:
        tag = "error" if x.verdict == "failed" else "failure"
        message = _clean(f"{name}: {_first_and_last(text)}")
        ElementTree.SubElement(case, tag, type=x.verdict, message=message).text = _clean(text)
    elif x.verdict != "as expected":
        ElementTree.SubElement(case, "system-out").text = _clean(text)


def _count(suite: ElementTree.Element) -> None:
    cases = list(suite.iter("testcase"))
    suite.set("tests", str(len(cases)))
    for counted, tag in (("failures", "failure"), ("errors", "error")):
        suite.set(counted, str(sum(case.find(tag) is not None for case in cases)))
    suite.set("time", f"{sum(float(case.get('time', 0)) for case in cases):.1f}")


def _clean(text: str) -> str:
    """Remove the characters that XML cannot hold, such as those that colour a terminal."""
    return NOT_XML.sub("", text)
