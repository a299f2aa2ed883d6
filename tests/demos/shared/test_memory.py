"""What a browser sends is checked item by item. Histories are tested with the sessions of the pages."""

import pytest

from demos.shared.memory import (
    LONGEST_KEY,
    clean_seconds,
    from_memory,
    is_number,
    is_whole,
    numbers,
    to_memory,
    used_last,
    works,
)

HUGE, NAN = 10**400, float("nan")


def test_what_is_used_goes_to_the_end_and_the_rest_is_forgotten_in_order():
    kept = {"a": 1, "b": 2, "c": 3}
    assert list(used_last(kept, "a", 4).items()) == [("b", 2), ("c", 3), ("a", 4)]
    assert list(used_last(kept, "d", 4, most=2).items()) == [("c", 3), ("d", 4)]
    assert kept == {"a": 1, "b": 2, "c": 3}


def test_of_a_memory_only_its_own_version_is_read():
    assert from_memory(to_memory(marks=[1])).get("marks") == [1]
    for forged in (None, 3, [], "version", {"marks": [1]}, {**to_memory(marks=[1]), "version": 2}):
        assert from_memory(forged) == {}


def test_one_bad_work_costs_itself_alone():
    kept = {"a": [1], "b": "no list", "x" * (LONGEST_KEY + 1): [2], "x" * LONGEST_KEY: [5], 5: [3], "d": [99]}
    assert works(kept, lambda entry: numbers(entry, range(9)), 9) == {"a": (1,), "x" * LONGEST_KEY: (5,)}
    assert list(works({str(number): [1] for number in range(9)}, lambda entry: entry, 2)) == ["7", "8"]


@pytest.mark.parametrize("entry", [[3, 0], [0, -1], [0], [0, 0, 0], [True, 0], [0.0, 0], ["0", 0], (0, 0), None, "00"])
def test_numbers_that_do_not_fit_are_refused(entry):
    assert numbers([2, 0], range(3), range(2)) == (2, 0)
    with pytest.raises(ValueError):  # noqa: PT011  # no visitor reads it
        numbers(entry, range(3), range(2))


@pytest.mark.parametrize(
    ("value", "number", "whole", "seconds"),
    [(1.234, True, False, 1.23), (5, True, True, 5.0), (3.0, True, False, 3.0), (-1, True, True, 0.0)]
    + [(1e9, True, False, 600.0), (True, False, False, 0.0), (HUGE, False, True, 0.0), (-HUGE, False, True, 0.0)]
    + [(value, False, False, 0.0) for value in (NAN, float("inf"), "3", None, [3])],
)
def test_true_is_no_number_and_nan_neither(value, number, whole, seconds):
    assert (is_number(value), is_whole(value), clean_seconds(value)) == (number, whole, seconds)
