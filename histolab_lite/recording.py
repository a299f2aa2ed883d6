"""`record(...)`: how a lesson states its numbers.

The numbers are stored in the executed notebook, as one display output with our own MIME type. So running a lesson
needs no other file, and a reader sees the same table that metrics.json holds.
https://nbformat.readthedocs.io/en/latest/format_description.html#display-data
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

METRICS_MIME = "application/vnd.histolab.metrics+json"


@dataclass(frozen=True)
class Summary:
    """One metric.

    Parameters
    ----------
    mean
        Mean of the values.
    sd
        Sample standard deviation (n - 1), None for a single value.
    n
        Number of values.
    values
        One value per seed or fold.
    """

    mean: float
    sd: float | None
    n: int
    values: list[float]

    def __str__(self) -> str:
        """Format as "0.874 ± 0.012", or as "0.874" for a single value."""
        parts = [self.mean] if self.sd is None else [self.mean, self.sd]
        size = max(map(abs, parts))
        if size and (size < 1e-3 or size >= 1e6):
            return " ± ".join(f"{p:.2e}" for p in parts)
        decimals = 3 if size < 10 else 2 if size < 100 else 1
        if all(float(p).is_integer() for p in parts):
            decimals = 0
        return " ± ".join(f"{p:.{decimals}f}" for p in parts)


def record(**metrics: ArrayLike) -> None:
    """Show numbers as a table and keep them in the notebook, for metrics.json.

    A name may be recorded once per notebook.

    Parameters
    ----------
    **metrics
        Numbers, or sequences, arrays or tensors (n,) with one number per seed or fold.

    Raises
    ------
    ValueError
        There is no metric, or a value is empty, nested, NaN, infinite or no number.
    """
    if not metrics:
        raise ValueError("record() was given nothing. Name what it should keep: record(dice=0.8).")
    summaries = {name: summarise(name, value) for name, value in metrics.items()}
    # a list, because notebooks are written with sorted keys, and the order is the author's
    listed = [{"name": name, **asdict(summary)} for name, summary in summaries.items()]
    payload = {"metrics": listed, "peak_memory_mib": _peak_memory_mib()}
    from IPython import get_ipython
    from IPython.display import display

    if get_ipython() is None:
        print(_as_text(summaries))
        return
    display({METRICS_MIME: payload, "text/html": _as_html(summaries), "text/plain": _as_text(summaries)}, raw=True)


def summarise(name: str, value: ArrayLike) -> Summary:
    """Summarise one metric; raises ValueError as `record`."""
    detached: Any = value.detach().cpu() if hasattr(value, "detach") else value
    try:
        array = np.asarray(detached)
    except ValueError as error:
        raise ValueError(f"record({name}=...): a ragged sequence. Give one number per seed.") from error
    if array.dtype.kind not in "iuf":
        raise ValueError(
            f"record({name}=...): numbers only, and this is {type(value).__name__} {value!r:.60}. "
            "Give a number, or a sequence with one number per seed."
        )
    if array.ndim > 1:
        raise ValueError(f"record({name}=...): shape {array.shape}; give a number, or one number per seed.")
    if array.size == 0:
        raise ValueError(f"record({name}=...): an empty sequence has no mean.")
    values = [float(v) for v in array.reshape(-1)]
    if not all(map(math.isfinite, values)):
        raise ValueError(f"record({name}=...): {values} holds NaN or infinity. Find where it comes from.")
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Summary(float(np.mean(values)), sd, len(values), values)


def _peak_memory_mib() -> float | None:
    """Return the largest resident size of this process so far, in MiB; None where the system does not state it."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: unlike getrusage, without the parent's peak
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    try:
        import resource
    except ImportError:  # Windows
        return None
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1)  # bytes on macOS


def _rows(summaries: Mapping[str, Summary]) -> list[tuple[str, str, str]]:
    return [(name, str(summary), str(summary.n)) for name, summary in summaries.items()]


def _as_text(summaries: Mapping[str, Summary]) -> str:
    rows = [("recorded", "mean ± sd", "n"), *_rows(summaries)]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join(f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows)


def _as_html(summaries: Mapping[str, Summary]) -> str:
    """Return a table without own styles, so that those of the page apply."""
    body = "".join(
        f"<tr><td style='text-align:left'>{html.escape(a)}</td><td>{b}</td><td>{c}</td></tr>"
        for a, b, c in _rows(summaries)
    )
    return (
        "<table><thead><tr><th style='text-align:left'>recorded</th><th>mean ± sd</th><th>n</th></tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )
