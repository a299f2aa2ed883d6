"""What a browser reports or has kept, which may be anything, taken for what it can be."""

from __future__ import annotations

import math
from typing import Any

LONGEST_PAUSE = 600.0  # seconds


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def clean_seconds(value: Any) -> float:
    """Seconds, within reason."""
    return round(min(max(float(value), 0.0), LONGEST_PAUSE), 2) if is_number(value) else 0.0
