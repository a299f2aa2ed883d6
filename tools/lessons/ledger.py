"""The ledger: the committed numbers that judge the claims, and docs/claims.md, which is made from them.

notebooks/evidence.json is {lesson: {"parameters", "date", "versions", "metrics": {name: {"values": [one per seed]}}}}.
"""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from histolab_lite.files import read_json, write_atomically
from tools.lessons import LessonsError
from tools.lessons.claims import (
    CLAIMS,
    SEEDS,
    Claim,
    Evidence,
    Judged,
    Ledger,
    by_paper,
    judge_claims,
    problem,
    read_claims,
)
from tools.lessons.comparing import FAILS, HOLDS, OPEN, Comparison, console, show
from tools.lessons.forest import draw
from tools.lessons.parameters import Parameters
from tools.lessons.runs import Run, as_lines, read_run

EVIDENCE, FIGURE, RUN_PARAMETERS = "evidence.json", "claims.svg", "claims_run.yaml"
PAGE = Path("docs", "claims.md")  # in the checkout
ADVICE = f"Run the lessons with --params notebooks/{RUN_PARAMETERS}."
BEGIN, END = "<!-- claims: written by make claims, do not edit -->", "<!-- end of claims -->"
SYMBOLS = {HOLDS: "✓", FAILS: "✗", OPEN: "~"}


def of_run(run: Run, machine: Mapping[str, Any]) -> Ledger:
    """Return what those lessons of a run recorded that ran to their end. machine: from `read_run`."""
    versions = {"python": machine["python"], **machine["versions"]}
    return {
        stem: Evidence(lesson.used, {k: x.values for k, x in lesson.metrics.items()}, machine["date"][:10], versions)
        for stem, lesson in run.items()
        if not lesson.error
    }


def refuse_few_seeds(planned: Mapping[str, Parameters], claims: Iterable[Claim]) -> None:
    """Raise LessonsError if a lesson of a claim would run with too few seeds. planned: parameters by lesson."""
    named = {claim.lesson for claim in claims}
    few = [stem for stem, x in planned.items() if stem in named and len(set(x.get("seeds", range(SEEDS)))) < SEEDS]
    if few:
        raise LessonsError(f"Claims need {SEEDS} seeds, and {', '.join(few)} would have fewer. {ADVICE}")


def merge(known: Ledger, new: Ledger, claims: Sequence[Claim]) -> Ledger:
    """Put a run's numbers of the lessons that claims name in place of the known ones.

    Raises LessonsError if they cannot judge a claim on their lesson, or if no claim names a lesson of the run.
    """
    taken = {stem: new[stem] for stem in new if any(claim.lesson == stem for claim in claims)}
    if not taken:
        raise LessonsError("There is nothing to take: of the lessons that claims name, none has run to its end here.")
    complaints = [problem(claim, taken) for claim in claims if claim.lesson in taken]
    if any(complaints):
        raise LessonsError("\n".join([*filter(None, complaints), f"Nothing has been taken. {ADVICE}"]))
    return dict(sorted({**known, **taken}.items()))


def read_evidence(path: Path) -> Ledger:
    """Read the evidence; none without a file. Raises LessonsError for a file that --claims has not written."""
    if not path.is_file():
        return {}
    try:
        ledger = {}
        for stem, lesson in read_json(path).items():
            values = {name: list(metric["values"]) for name, metric in lesson["metrics"].items()}
            for name, numbers in values.items():
                if not all(type(value) in (int, float) and math.isfinite(value) for value in numbers):
                    raise LessonsError(f"{path}: {stem}, {name}: expected numbers, not {numbers}.")
            ledger[stem] = Evidence(dict(lesson["parameters"]), values, lesson["date"], dict(lesson["versions"]))
    except LessonsError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LessonsError(f"{path} is not as --claims writes it: {type(error).__name__} {error}") from error
    return ledger


def as_json(ledger: Ledger) -> str:
    """Return the text of evidence.json, with one line per metric."""
    content = {
        stem: {
            "parameters": x.parameters,
            "date": x.date,
            "versions": x.versions,
            "metrics": {name: {"values": values} for name, values in x.values.items()},
        }
        for stem, x in ledger.items()
    }
    return as_lines(content, depth=3)


def rendered(folder: Path, claims: Sequence[Claim], ledger: Ledger) -> dict[Path, bytes]:
    """Make the page and its figure from claims and evidence. folder: that of the lessons."""
    page, judged = folder.parent / PAGE, judge_claims(claims, ledger)
    links = f"[`{RUN_PARAMETERS}`](../{folder.name}/{RUN_PARAMETERS}) sets ([all numbers](../{folder.name}/{EVIDENCE}))"
    sizes = f"at the lessons' tutorial size with what {links}"
    block = as_markdown(claims, judged, ledger, sizes, FIGURE)
    files = {page: replace_block(page.read_text(encoding="utf-8"), block).encode()}
    return files | ({page.with_name(FIGURE): draw(judged)} if judged else {})


def take(folder: Path, results: Path, wanted: Collection[str] | None = None) -> Path:
    """Take a run's lessons, all or those `wanted`, into the evidence; write the files, and print what holds.

    Returns the page. Raises LessonsError if they cannot judge a claim on them; then nothing is written.
    """
    folder, claims = folder.resolve(), read_claims(folder / CLAIMS)
    run, machine = read_run(results, wanted)
    new = of_run(run, machine)
    ledger = merge(read_evidence(folder / EVIDENCE), new, claims)
    for path, content in {folder / EVIDENCE: as_json(ledger).encode(), **rendered(folder, claims, ledger)}.items():
        write_atomically(path, content)
    judged = judge_claims(claims, ledger)
    show(list(judged.values()), ("lesson", "claim", "", "effect (95 % interval)", "verdict", ""))
    failed = [f"{stem} failed: the evidence keeps its earlier numbers." for stem in run if stem not in new]
    complaints = filter(None, (problem(claim, ledger) for claim in claims))
    console().print(*failed, *complaints, sep="\n", markup=False)
    console().print(f"\nOf {len(judged)} claims {counted(judged.values())}.")
    return folder.parent / PAGE


def counted(found: Collection[Comparison]) -> str:
    """Count the verdicts: "6 hold, 1 does not hold here and 2 are inconclusive"."""
    counts = Counter(x.verdict for x in found)
    forms = {HOLDS: ("holds", "hold"), FAILS: (FAILS, "do not hold here"), OPEN: (f"is {OPEN}", f"are {OPEN}")}
    *most, last = (f"{counts[verdict]} {words[counts[verdict] != 1]}" for verdict, words in forms.items())
    return f"{', '.join(most)} and {last}"


def replace_block(page: str, block: str) -> str:
    """Return the page with the claims' block between its markers.

    Raises LessonsError unless the page holds both markers once, in order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in before + after:
        lines = f"the lines '{BEGIN}' and '{END}'"
        raise LessonsError(f"{PAGE.as_posix()} holds {lines} once each, in this order: put them back.")
    return f"{before}{BEGIN}\n\n{block}\n\n{END}{after}"


def as_markdown(claims: Sequence[Claim], judged: Judged, ledger: Ledger, sizes: str, figure: str) -> str:
    """Write the counts and what they mean, the figure, and one table per paper to unfold.

    sizes: where the reader finds the parameters; figure: the address of the forest plot.
    """
    if not judged:
        return f"None of the {len(claims)} claims has been judged yet: the runs that they need are under way."
    parts = [
        textwrap.fill(_summary(claims, judged, ledger, sizes), 120, break_long_words=False, break_on_hyphens=False),
        f"![Effect and interval of every claim, by paper; the tables below hold the numbers]({figure})",
    ]
    for paper, verdicts in by_paper(judged).items():
        head = "| Claim | In the paper | Here: effect, 95 % interval | Verdict |\n|---|---|---|---|"
        parts.append(f"<details>\n<summary>{paper}: {counted(verdicts.values())}</summary>")
        parts.append("\n".join([head, *(_row(claim, found) for claim, found in verdicts.items())]))
        parts.append("</details>")
    return "\n\n".join(parts)


def _summary(claims: Sequence[Claim], judged: Judged, ledger: Ledger, sizes: str) -> str:
    pending = len(claims) - len(judged)
    rest = f" {pending} more cannot be judged by these numbers." if pending else ""
    data = sorted({ledger[claim.lesson].parameters.get("data", "phantom") for claim in judged})
    tissue = " and ".join("phantom slides" if name == "phantom" else name for name in data)
    ns = sorted({len(ledger[claim.lesson].values[claim.metric]) for claim in judged})
    seeds = f"{ns[0]} seeds" if len(ns) == 1 else f"{ns[0]} to {ns[-1]} seeds"
    return (
        f"Of {len(judged)} claims of the papers {counted(judged.values())}.{rest} Each is a comparison over {seeds}, "
        f"on {tissue}, {sizes}: what does not hold here may hold at a paper's size. A claim holds where the 95\u00a0% "
        "confidence interval of its effect lies wholly on the claimed side of its bound, and does not hold where it "
        "lies wholly on the other side. One interval in twenty misses by chance."
    )


def _row(claim: Claim, found: Comparison) -> str:
    text = f"{claim.claim} ({claim.where})" + (f" *{claim.note}*" if claim.note else "")
    cells = (text, claim.published, f"{found.found}; {found.note}")
    plain = [cell.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("_", "\\_") for cell in cells]
    return f"| {' | '.join(plain)} | {SYMBOLS[found.verdict]} {found.verdict} |"
