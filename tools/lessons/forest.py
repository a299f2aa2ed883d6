"""Claims as a forest plot: every effect with its interval, on the band in which the interval has to lie."""

from __future__ import annotations

import io
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tools.lessons.claims import Judged, by_paper, number
from tools.lessons.comparing import FAILS, HOLDS, OPEN

LIMIT = 0.25  # of the axis, in units of a score; arrows point to what lies beyond
ROW_INCHES, WIDTH_INCHES = 0.2, 9.0
LEFT, RIGHT = -0.62, 1.03  # where names and numbers begin, in widths of the axis
INK, BAND = "#2b2233", "#e6eff7"
# Everybody can tell blue from orange, and the forms of the marks show the verdicts too.
MARKS = {HOLDS: ("o", "#0b62a8", "#0b62a8"), FAILS: ("X", "#b3480a", "#b3480a"), OPEN: ("o", "#6f6579", "white")}


def draw(judged: Judged) -> bytes:
    """Draw an SVG file with one row per claim, by paper; the same verdicts give the same bytes."""
    papers = by_paper(judged)
    rows = len(judged) + 1.5 * len(papers)
    height = rows * ROW_INCHES + 0.8
    figure = Figure((WIDTH_INCHES, height), facecolor="white")
    axes = figure.add_axes((0.3, 0.5 / height, 0.47, rows * ROW_INCHES / height))
    beside: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center"}
    y = 0.0
    for paper, verdicts in papers.items():
        axes.text(LEFT, y + 1, paper, color=INK, size=9, weight="bold", **beside)
        y += 1.5
        for claim, found in verdicts.items():
            assert found.interval
            low, effect, high = (min(max(x, -LIMIT), LIMIT) for x in found.interval)
            marker, colour, fill = MARKS[found.verdict]
            start, end = (-LIMIT, claim.bound) if claim.within else (claim.bound, LIMIT)
            axes.barh(y + 0.5, end - start, height=0.9, left=start, color=BAND)
            axes.plot([low, high], [y + 0.5] * 2, color=colour, linewidth=1.5, clip_on=False)
            for beyond, arrow in ((found.interval.low < -LIMIT, "<"), (found.interval.high > LIMIT, ">")):
                if beyond:
                    edge = LIMIT if arrow == ">" else -LIMIT
                    axes.plot(edge, y + 0.5, arrow, color=colour, markersize=5, clip_on=False)
            if abs(found.interval.effect) < LIMIT:
                axes.plot(effect, y + 0.5, marker, color=colour, markerfacecolor=fill, markersize=6)
            axes.text(LEFT, y + 0.5, claim.id.replace("_", " "), color=INK, size=8, **beside)
            axes.text(RIGHT, y + 0.5, found.found, color=colour, size=8, **beside)
            y += 1
    axes.axvline(0, color="#6f6579", linewidth=0.8, zorder=1)
    ticks = (-0.2, -0.1, 0.0, 0.1, 0.2)
    axes.set(xlim=(-LIMIT, LIMIT), ylim=(y, 0), yticks=[], xticks=ticks)
    axes.set_xticklabels([number(tick, True, 1) for tick in ticks], color=INK, size=8)
    axes.set_xlabel("effect with its 95 % interval", color=INK, size=8)
    axes.spines[["left", "right", "top"]].set_visible(False)
    keys: list[Line2D | Patch] = [
        Line2D([], [], marker=m, color=c, markerfacecolor=fill, linewidth=1.5, label=verdict)
        for verdict, (m, c, fill) in MARKS.items()
    ]
    keys.append(Patch(color=BAND, label="where the interval has to lie"))
    figure.legend(handles=keys, ncols=4, loc="upper center", frameon=False, fontsize=8, labelcolor=INK)
    content = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "claims", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()
