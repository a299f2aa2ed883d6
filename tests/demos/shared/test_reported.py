"""What a browser reports is taken for what it can be."""

from __future__ import annotations

import pytest

from demos.shared.reported import clean_seconds, is_number, is_whole


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(1.234, 1.23), (5, 5.0), (-1, 0.0), (1e9, 600.0), (float("nan"), 0.0), ("3", 0.0), (None, 0.0), (True, 0.0)],
)
def test_seconds_may_be_anything(value, seconds):
    assert clean_seconds(value) == seconds


def test_true_is_no_number_and_nan_neither():
    assert is_whole(3)
    assert is_number(2.5)
    for value in (True, None, "3", [3]):
        assert not is_whole(value)
        assert not is_number(value)
    assert not is_whole(3.0)
    assert not is_number(float("nan"))
