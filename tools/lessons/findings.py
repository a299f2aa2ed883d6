"""Findings of the regression check, told: a table for people, JUnit XML for CI.

https://github.com/testmoapp/junitxml describes what Jenkins, GitLab and GitHub's actions read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from xml.etree import ElementTree

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tools.lessons.regression import Finding
from tools.lessons.runs import Run

COLOURS = {"as expected": "green", "improved": "green", "new": "cyan", "not compared": "yellow"}
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
LOG_WIDTH = 160  # a log is no terminal, and its lines may be long


def show(findings: Sequence[Finding]) -> None:
    """Print the findings that are not as expected, and a line that counts them all."""
    told = [finding for finding in findings if finding.verdict != "as expected"]
    _print_table(told, ("lesson", "metric", "expected", "found", "verdict", ""))
    numbers = Counter(finding.verdict for finding in findings if finding.metric is not None)
    lessons = Counter(finding.verdict for finding in findings if finding.metric is None)
    total = numbers.total()
    counted = [f"{numbers.pop('as expected', 0)} of {total} numbers as expected"]
    counted += [f"{n} {verdict}" for verdict, n in numbers.items()]
    del lessons["as expected"]
    counted += [f"{n} lesson{'s' * (n != 1)} {verdict}" for verdict, n in lessons.items()]
    word, colour = ("failed", "red") if any(finding.red for finding in findings) else ("passed", "green")
    console().print(Text.assemble(("Regression check " + word, f"bold {colour}"), f": {', '.join(counted)}."))


def show_changes(changes: Sequence[Finding]) -> None:
    """Print what a proposal would change."""
    _print_table(changes, ("lesson", "metric", "committed", "proposed", "", "parameters"))
    if not changes:
        console().print("\nThe proposal is what is committed.")


def _print_table(findings: Sequence[Finding], columns: Sequence[str]) -> None:
    if not findings:
        return
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for lesson, group in groupby(findings, key=lambda finding: finding.lesson):
        for number, f in enumerate(group):
            verdict = Text(f.verdict, COLOURS.get(f.verdict, "red"))
            shown = "" if number else lesson
            table.add_row(
                *map(Text, (shown, f.metric or "", f.expected, f.found)), verdict, Text(_first_and_last(f.note))
            )
    output = console()
    output.print()
    output.print(table)
    output.print()


def console() -> Console:
    """A terminal's own width, and a wider one in a log."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=LOG_WIDTH)


def _first_and_last(note: str) -> str:
    """A note on one line: of a traceback, where it happened and what it says."""
    lines = [line.strip() for line in note.splitlines() if line.strip()]
    return f"{lines[0]} {lines[-1]}" if len(lines) > 1 else note


def as_junit(findings: Sequence[Finding], run: Run) -> str:
    """JUnit XML: a suite a lesson, in it a case for the lesson itself, with its run time, and one a metric."""
    root = ElementTree.Element("testsuites", name="histolab-lite lessons")
    for lesson, group in groupby(findings, key=lambda finding: finding.lesson):
        suite = ElementTree.SubElement(root, "testsuite", name=lesson)
        for finding in group:
            seconds = 0.0 if finding.metric else run.get(lesson, {}).get("runtime_s", 0.0)
            _add_case(suite, finding, seconds)
        _count(suite)
    _count(root)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add_case(suite: ElementTree.Element, finding: Finding, seconds: float) -> None:
    name = finding.metric or "the lesson runs"
    case = ElementTree.SubElement(
        suite, "testcase", classname=f"notebooks.{finding.lesson}", name=_clean(name), time=f"{seconds:.1f}"
    )
    numbers = [f"expected {finding.expected}"] * bool(finding.expected) + [f"found {finding.found}"] * bool(
        finding.found
    )
    said = f"{finding.verdict}: {', '.join([*numbers, finding.note])}"
    if finding.verdict == "as expected":
        return
    if finding.red:
        tag = "error" if finding.verdict == "failed" else "failure"
        message = _clean(f"{name}: {_first_and_last(said)}")
        ElementTree.SubElement(case, tag, type=finding.verdict, message=message).text = _clean(said)
    elif finding.verdict == "not compared":
        ElementTree.SubElement(case, "skipped", message=_clean(said))
    else:
        ElementTree.SubElement(case, "system-out").text = _clean(said)


def _count(suite: ElementTree.Element) -> None:
    cases = list(suite.iter("testcase"))
    suite.set("tests", str(len(cases)))
    for counted, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(counted, str(sum(case.find(tag) is not None for case in cases)))
    suite.set("time", f"{sum(float(case.get('time', 0)) for case in cases):.1f}")


def _clean(text: str) -> str:
    """Without the characters that XML cannot hold, such as those that colour a terminal."""
    return NOT_XML.sub("", text)
