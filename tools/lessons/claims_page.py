"""Claims, told: a section of index.html, in which every row draws its interval."""

from __future__ import annotations

import html
from collections.abc import Sequence

from tools.lessons.claims import Claim, Evidence, Judgement, by_paper, judge_all
from tools.lessons.claims_picture import CLASSES, COLOURS, LIMIT, MARKS, ROW, effect
from tools.lessons.claims_report import SYMBOLS, details, here, summary

WIDTH = 220  # of an interval's picture

STYLE = f"""{COLOURS}{MARKS}
.claims {{ background: var(--card); border: 1px solid var(--line); border-radius: .75rem; padding: 1.25rem;
  margin-top: 1.25rem; }}
.claims h3 {{ font-size: 1rem; margin: 1.75rem 0 0; }}
.claims svg {{ display: block; width: 100%; max-width: 20rem; margin-bottom: .25rem; border-radius: .2rem; }}
.claims .key svg {{ display: inline; width: 1.25rem; margin: 0 .25rem 0 0; vertical-align: -.3em; }}
.claims .key span {{ display: inline-block; margin-right: 1.5rem; }}
.claims table {{ width: 100%; table-layout: fixed; }}
.claims th {{ text-align: left; font-weight: 500; color: var(--soft); padding: 0 1.5rem .35rem 0; }}
.claims th:nth-child(2) {{ width: 24%; }}
.claims th:nth-child(3) {{ width: 15rem; }}
.claims th:last-child {{ width: 7.5rem; }}
.claims td {{ vertical-align: top; padding: .6rem 1.5rem .6rem 0; color: var(--ink); white-space: normal; }}
.claims th:last-child, .claims td:last-child {{ padding-right: 0; }}
.claims small {{ display: block; font-size: .8125rem; color: var(--soft); }}
.claims b {{ font-weight: 600; color: var(--mark); }}
@media (max-width: 42rem) {{
  .claims thead {{ display: none; }}
  .claims tr {{ display: block; border-top: 1px solid var(--line); padding: .75rem 0; }}
  .claims td {{ display: block; border: 0; padding: .15rem 0; }}
  .claims td[data-of]::before {{ content: attr(data-of) " "; color: var(--soft); }}
}}
"""

SECTION = """<section class="claims" id="claims">
<h2>What the papers claim, and what holds here</h2>
<p class="soft">{summary}</p>
<p class="soft key">
<span><svg viewBox="0 0 20 20" aria-hidden="true"><rect class="band" width="20" height="20"/></svg>
where the interval has to lie</span> <span>axis from −{limit:g} to +{limit:g}, a line at 0; arrows point beyond</span>
</p>
{tables}
</section>"""

TABLE = """<h3>{paper}</h3>
<table>
<thead><tr><th>Claim</th><th>In the paper</th><th>Here, with 95 % interval</th><th>Verdict</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>"""

TABLE_ROW = """<tr><td>{claim}<small>{where}</small></td>
<td data-of="In the paper:">{published}</td>
<td><svg viewBox="0 0 {width} {height}" aria-hidden="true">{drawn}</svg>{here}<small>{details}</small></td>
<td class="{name}"><b>{symbol} {verdict}</b></td></tr>"""


def as_section(claims: Sequence[Claim], evidence: Evidence) -> str:
    """The section for the claims that a run's numbers can judge; nothing where there are none."""
    judgements = judge_all(claims, evidence)
    if not judgements:
        return ""
    papers = by_paper(judgements).items()
    tables = [TABLE.format(paper=paper, rows="\n".join(map(_row, group))) for paper, group in papers]
    return SECTION.format(
        summary=html.escape(summary(claims, judgements, evidence, "at the size shown with each lesson")),
        limit=LIMIT,
        tables="\n".join(tables),
    )


def _row(judgement: Judgement) -> str:
    claim = judgement.claim
    return TABLE_ROW.format(
        claim=html.escape(claim.claim),
        where=html.escape(f"{claim.where}. {claim.note}" if claim.note else claim.where),
        published=html.escape(claim.published),
        width=WIDTH,
        height=ROW,
        drawn=effect(judgement, WIDTH),
        here=here(judgement),
        details=html.escape(details(judgement)),
        name=CLASSES[judgement.verdict],
        symbol=SYMBOLS[judgement.verdict],
        verdict=judgement.verdict,
    )
