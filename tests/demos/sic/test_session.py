"""Seeds: dropped, removed, undone, remembered by a browser that may send anything."""

import json

import numpy as np
import pytest
from hypothesis import given, settings

from demos.shared.memory import History
from demos.sic.session import MOST_EVENTS, MOST_MARKS, Session, Work, from_memory, to_memory
from tests.demos.anything import JSON
from tests.demos.sic.planted import blobs


@pytest.fixture
def session() -> Session:
    return Session().show(blobs(), "token")


def test_a_seed_changes_its_class_and_is_removed_by_the_same_class_again(session):
    two = session.apply([["seed", 3, 0], ["seed", 9, 1]])
    assert two.work.seeds == {3: 0, 9: 1}
    assert (two.work.labels[[3, 9]].tolist(), np.sum(two.work.labels == -1)) == ([0, 1], len(blobs()) - 2)
    assert list(two.apply([["seed", 3, 1]]).work.seeds.items()) == [(9, 1), (3, 1)]
    assert two.apply([["seed", 3, 0]]).work.seeds == {9: 1}
    assert session.work.seeds == {}  # nothing changes in place


def test_undo_takes_back_any_change_even_clear(session):
    done = session.apply([["seed", 3, 0], ["seed", 9, 1], ["seed", 3, 0], ["clear"]])
    for seeds in ({}, {9: 1}, {3: 0, 9: 1}, {3: 0}, {}, {}):
        assert done.work.seeds == seeds
        done = done.apply([["undo"]])


@pytest.mark.parametrize(
    "event",
    [["seed", -1, 0], ["seed", 90, 0], ["seed", 0, 2], ["seed", 0, -1], ["seed", "0", 0], ["seed", 0], ["hold", 1],
     ["clear"], "undo", None, {}, []],
)  # fmt: skip
def test_an_invalid_event_is_skipped(session, event):
    assert session.apply([event]).work == session.work


def test_the_number_of_changes_and_of_events_per_message_is_limited(session):
    full = session.with_work(Work(("a", "b"), session.work.patches, History([(0, 0)] * MOST_MARKS)))
    with pytest.raises(ValueError, match="at most 600 changes"):
        full.apply([["seed", 1, 1]])
    assert len(session.apply([["seed", 1, 1]] * (MOST_EVENTS + 1)).work.marks) == MOST_EVENTS


def test_new_class_names_keep_the_seeds_that_still_have_a_class(session):
    done = session.rename("a, b, c").apply([["seed", 3, 0], ["seed", 9, 2]]).rename("x, y")
    assert done.work.seeds == {3: 0}
    assert done.rename("a, b, c").work.seeds == {3: 0, 9: 2}
    with pytest.raises(ValueError, match="Name 2 to 6"):
        session.rename("a, b, c, d, e, f, g")


def test_the_browsers_memory_brings_seeds_back_to_the_same_slide(session):
    done = session.rename("a, b, c").apply([["seed", 3, 0], ["seed", 9, 2], ["hold", True]])
    key, back = from_memory(json.loads(json.dumps(to_memory(done))))
    assert (key, back.slide) == ("blobs", None)
    assert back.show(blobs(), "other").work == done.work
    assert done.show(blobs(rows=5), "token").work.seeds == {}  # another slide with the same key


GOOD = {"classes": ["a", "b"], "patches": 9, "marks": [[0, 1], [-1, -1]], "held": False}
WRONG = {
    "marks": [[[9, 0]], [[0, 6]], [[0, -2]], [[True, 0]], [[0.0, 0]], [0, 0], None, [[0, 0]] * (MOST_MARKS + 1)],
    "classes": [["a"], ["a", "a"], ["a", "=b"], ["a", 3], ["a,b", "c"], "ab", list("abcdefg")],
    "patches": [0, "9", 10**5 + 1],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_work_that_the_page_cannot_have_written_is_skipped(field, value):
    works = {"good": GOOD, "bad": {**GOOD, field: value}}
    key, session = from_memory({"version": 1, "slide": "bad", "works": works})
    assert (key, list(session.works)) == (None, ["good"])


@settings(max_examples=50)
@given(JSON)
def test_any_other_memory_is_a_new_visitor(anything):
    for memory in (
        anything,
        {"version": 1, "slide": anything, "works": anything},
        {"version": 2, "works": {"a": GOOD}},
    ):
        assert from_memory(memory) == (None, Session())
