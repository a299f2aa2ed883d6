"""Claims, drawn as a forest plot: every effect with its interval, on the band in which the interval has to lie.

SVG without scripts, in lines of its own rather than by a plotting library: the same marks stand in the rows of an HTML
table and in README's picture, follow the reader's light or dark colours, and come out the same byte for byte.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

from tools.lessons.claims import FAILS, HOLDS, OPEN, Judgement, by_paper

LIMIT = 0.25  # of the axis, in units of a score; what lies beyond is told by an arrow
TICKS = (-0.2, -0.1, 0.0, 0.1, 0.2)
ROW, HEAD = 18, 32  # heights
NAMES, PLOT, MARGIN, EDGE = 240, 360, 16, 12  # widths; a sign leaves the edge to the arrow
CLASSES = {HOLDS: "holds", FAILS: "fails", OPEN: "open"}

# Those of report.PAGE; blue and orange are told apart by everybody.
COLOURS = """
:root { --ink: #2b2233; --soft: #6f6579; --line: #e6dfe9; --card: #fff;
  --holds: #0b62a8; --fails: #b3480a; --open: #6f6579; --band: #e6eff7; }
@media (prefers-color-scheme: dark) { :root { --ink: #efe8f2; --soft: #a99db3; --line: #3a3142; --card: #221c28;
  --holds: #7cbcf5; --fails: #ffab70; --open: #b5aabf; --band: #2b3644; } }
"""
MARKS = """
.band { fill: var(--band); } .zero { stroke: var(--soft); stroke-width: 1; }
.holds { --mark: var(--holds); } .fails { --mark: var(--fails); } .open { --mark: var(--open); }
.mark { stroke: var(--mark); stroke-width: 2; fill: none; stroke-linecap: round; }
.holds .dot { fill: var(--mark); } .open .dot { fill: var(--card); }
"""
TEXT = """
text { font: 12px system-ui, sans-serif; fill: var(--ink); } .head { font-weight: 600; } .soft { fill: var(--soft); }
.paper { fill: var(--card); } .rule { stroke: var(--line); }
"""


def effect(judgement: Judgement, width: int) -> str:
    """The elements of one row, `width` wide and ROW high."""

    def x(value: float) -> float:
        return round((min(max(value, -LIMIT), LIMIT) / LIMIT + 1) * width / 2, 1)

    bound, middle = x(judgement.claim.bound), ROW / 2
    left, right = (0.0, bound) if judgement.claim.within else (bound, float(width))
    low, at, high = x(judgement.low), x(judgement.effect), x(judgement.high)
    marks = [f"M{low} {middle}H{high}"]
    if judgement.low < -LIMIT:
        marks.append(f"M5 {middle - 4}L1 {middle}L5 {middle + 4}")
    if judgement.high > LIMIT:
        marks.append(f"M{width - 5} {middle - 4}L{width - 1} {middle}L{width - 5} {middle + 4}")
    sign = _sign(judgement.verdict, min(max(at, EDGE), width - EDGE), middle)
    return (
        f'<rect class="band" x="{left}" width="{round(right - left, 1)}" height="{ROW}"/>'
        f'<path class="zero" d="M{width / 2} 0V{ROW}"/>'
        f'<g class="{CLASSES[judgement.verdict]}"><path class="mark" d="{"".join(marks)}"/>{sign}</g>'
    )


def _sign(verdict: str, x: float, y: float) -> str:
    """The sign of a verdict, told by its form too: a disc, a cross, a ring."""
    if verdict == FAILS:
        return f'<path class="mark" d="M{x - 4} {y - 4}l8 8m0-8l-8 8"/>'
    return f'<circle class="mark dot" cx="{x}" cy="{y}" r="4"/>'


def picture(judgements: Sequence[Judgement]) -> str:
    """A whole SVG file: a row a claim, by paper, below the key and the axis."""
    drawn, y = [_key(), _axis(HEAD + ROW)], HEAD + ROW
    for paper, group in by_paper(judgements).items():
        y += HEAD
        drawn.append(f'<text class="head" x="{MARGIN}" y="{y - 10}">{html.escape(paper)}</text>')
        for judgement in group:
            name = html.escape(judgement.claim.id.replace("_", " "))
            drawn.append(f'<text x="{MARGIN}" y="{y + ROW * 0.7:g}">{name}</text>')
            drawn.append(f'<g transform="translate({MARGIN + NAMES} {y})">{effect(judgement, PLOT)}</g>')
            y += ROW
    width, height = NAMES + PLOT + 2 * MARGIN, y + MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f"<style>{COLOURS}{MARKS}{TEXT}</style>"
        f'<rect class="paper" width="{width}" height="{height}" rx="8"/>\n' + "\n".join(drawn) + "\n</svg>\n"
    )


def _key() -> str:
    drawn, x = [], MARGIN + 4
    for verdict, name in CLASSES.items():
        drawn.append(f'<g class="{name}">{_sign(verdict, x, 20)}</g><text x="{x + 10}" y="24">{verdict}</text>')
        x += 34 + 7 * len(verdict)
    drawn.append(f'<rect class="band" x="{x}" y="13" width="20" height="14"/>')
    drawn.append(f'<text x="{x + 26}" y="24">where the interval has to lie</text>')
    return "".join(drawn)


def _axis(y: int) -> str:
    drawn = []
    for tick in TICKS:
        x, told = MARGIN + NAMES + PLOT * (tick / LIMIT + 1) / 2, f"{tick:+g}".replace("-", "−") if tick else "0"
        drawn.append(f'<text class="soft" text-anchor="middle" x="{x:g}" y="{y}">{told}</text>')
    return "".join(drawn)
