"""Claims, told: in words, as a table for the terminal, and as README's block."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from tools.lessons.claims import (
    FAILS,
    HOLDS,
    OPEN,
    Claim,
    ClaimError,
    Evidence,
    Judgement,
    by_paper,
    judge_all,
)
from tools.lessons.evidence import EVIDENCE, RUN_PARAMETERS
from tools.lessons.findings import console

PICTURE = "claims.svg"
BEGIN, END = "<!-- claims: written by make claims, do not edit -->", "<!-- end of claims -->"
SYMBOLS = {HOLDS: "✓", FAILS: "✗", OPEN: "~"}
COLOURS = {HOLDS: "blue", FAILS: "yellow", OPEN: ""}


def counted(judgements: Sequence[Judgement]) -> str:
    """How many claims have which verdict: "6 hold, 1 does not hold here and 2 are inconclusive"."""
    counts = Counter(judgement.verdict for judgement in judgements)
    forms = {HOLDS: ("holds", "hold"), FAILS: (FAILS, "do not hold here"), OPEN: (f"is {OPEN}", f"are {OPEN}")}
    *most, last = (f"{counts[verdict]} {words[counts[verdict] != 1]}" for verdict, words in forms.items())
    return f"{', '.join(most)} and {last}"


def summary(claims: Sequence[Claim], judgements: Sequence[Judgement], evidence: Evidence, sizes: str) -> str:
    """What the counts are and what they mean. `sizes`: where the reader finds the parameters."""
    pending = len(claims) - len(judgements)
    rest = f" {pending} more cannot be judged by these numbers." if pending else ""
    lessons = {judgement.claim.lesson for judgement in judgements}
    data = sorted({evidence[lesson]["parameters"].get("data", "phantom") for lesson in lessons})
    tissue = " and ".join("phantom slides" if name == "phantom" else name for name in data)
    ns = sorted({judgement.n for judgement in judgements})
    seeds = f"{ns[0]} seeds" if len(ns) == 1 else f"{ns[0]} to {ns[-1]} seeds"
    return (
        f"Of {len(judgements)} claims of the papers {counted(judgements)}.{rest} Each is a comparison over {seeds}, on "
        f"{tissue}, {sizes}: what does not hold here may hold at a paper's size. A claim holds where the 95\u00a0% "
        "confidence interval of its effect lies wholly on the claimed side of its bound, and does not hold where it "
        "lies wholly on the other side. One interval in twenty misses by chance."
    )


def here(judgement: Judgement) -> str:
    """The effect with its interval, in plain text."""
    signed = judgement.rival is not None
    low, high = number(judgement.low, signed), number(judgement.high, signed)
    return f"{number(judgement.effect, signed)} ({low} to {high})"


def details(judgement: Judgement) -> str:
    """What the effect is measured against, and its size in standard deviations over the seeds."""
    claim = judgement.claim
    told = [f"against {_words(judgement.rival)}"] if judgement.rival and len(claim.beats) > 1 else []
    if claim.within or claim.bound:
        told.append(f"to be {'below' if claim.within else 'above'} {number(claim.bound)}")
    if judgement.sd:
        told.append(f"{number(judgement.effect / judgement.sd, digits=1)}\u00a0sd")
    else:
        told.append("the same in every seed")
    return ", ".join([*told, f"n\u00a0=\u00a0{judgement.n}"])


def number(value: float, signed: bool = False, digits: int = 3) -> str:
    """A number with a true minus; zero has no sign."""
    text = f"{value:{'+' * signed}.{digits}f}"
    return (text.lstrip("+-") if not float(text) else text).replace("-", "−")


def _words(metric: str) -> str:
    return metric.replace("_", " ")


def show(judgements: Sequence[Judgement], remarks: Sequence[str] = ()) -> None:
    """Print the verdicts, remarks, and a line that counts the verdicts."""
    table = Table("claim", "effect", "interval", "", "verdict", box=None, pad_edge=False, header_style="bold")
    for x in judgements:
        interval = f"{number(x.low, True)} to {number(x.high, True)}"
        cells = (x.claim.id, number(x.effect, True), interval, details(x))
        table.add_row(*map(Text, cells), Text(f"{SYMBOLS[x.verdict]} {x.verdict}", COLOURS[x.verdict]))
    output = console()
    output.print(table)
    output.print(*remarks, sep="\n", markup=False)
    output.print(f"\nOf {len(judgements)} claims {counted(judgements)}.")


def replace_block(readme: str, block: str) -> str:
    """README with the claims' block between its markers. Raises ClaimError unless both stand there once, in order."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in before + after:
        raise ClaimError(f"README.md holds the lines '{BEGIN}' and '{END}' once each, in this order: put them back.")
    return f"{before}{BEGIN}\n\n{block}\n\n{END}{after}"


def as_markdown(claims: Sequence[Claim], evidence: Evidence, folder: str = "notebooks") -> str:
    """README's block: the counts, the picture, and a table a paper to unfold. `folder`: of the lessons, from README."""
    judgements = judge_all(claims, evidence)
    if not judgements:
        return f"None of the {len(claims)} claims has been judged yet: the runs that they need are under way."
    sizes = (
        f"at the lessons' tutorial size with what [`{RUN_PARAMETERS}`]({folder}/{RUN_PARAMETERS}) sets "
        f"([all numbers]({folder}/{EVIDENCE}))"
    )
    told = summary(claims, judgements, evidence, sizes)
    parts = [
        textwrap.fill(told, 120, break_long_words=False, break_on_hyphens=False),
        f"![Effect and interval of every claim, by paper; the tables below hold the numbers]({folder}/{PICTURE})",
    ]
    for paper, group in by_paper(judgements).items():
        rows = [_markdown_row(judgement) for judgement in group]
        head = "| Claim | In the paper | Here: effect, 95 % interval | Verdict |\n|---|---|---|---|"
        parts.append(f"<details>\n<summary>{paper}: {counted(group)}</summary>")
        parts.append("\n".join([head, *rows]))
        parts.append("</details>")
    return "\n\n".join(parts)


def _markdown_row(judgement: Judgement) -> str:
    claim = judgement.claim
    told = f"{claim.claim} ({claim.where})" + (f" *{claim.note}*" if claim.note else "")
    cells = (told, claim.published, f"{here(judgement)}; {details(judgement)}")
    plain = [cell.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("_", "\\_") for cell in cells]
    return f"| {' | '.join(plain)} | {SYMBOLS[judgement.verdict]} {judgement.verdict} |"
