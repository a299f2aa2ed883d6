"""Seeds: dropped, taken away, undone, remembered by a browser that may send anything."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("gradio", reason="the demos need gradio: pip install 'histolab-lite[demos]'")

from demos.shared.memory import History  # noqa: E402
from demos.sic.session import MOST_MARKS, Session, Work, from_memory, to_memory  # noqa: E402
from tests.demos.sic.planted import blobs  # noqa: E402


@pytest.fixture
def session() -> Session:
    return Session().show(blobs(), "token")


def test_a_seed_changes_its_class_and_goes_when_dropped_again(session):
    assert session.apply([["seed", 3, 0], ["seed", 9, 1]]).work.seeds == {3: 0, 9: 1}
    assert session.apply([["seed", 3, 0], ["seed", 3, 1]]).work.seeds == {3: 1}
    assert session.apply([["seed", 3, 0], ["seed", 3, 0]]).work.seeds == {}
    assert session.work.seeds == {}


def test_undo_takes_back_any_change_even_of_all_seeds(session):
    done = session.apply([["seed", 3, 0], ["seed", 9, 1], ["seed", 3, 0], ["clear"]])
    assert done.work.seeds == {}
    done = done.apply([["undo"]])
    assert done.work.seeds == {9: 1}
    done = done.apply([["undo"]])
    assert done.work.seeds == {3: 0, 9: 1}
    assert done.apply([["undo"]] * 5).work.seeds == {}


@pytest.mark.parametrize(
    "event",
    [
        ["seed", -1, 0],
        ["seed", 10**9, 0],
        ["seed", 0, 2],
        ["seed", "0", 0],
        ["seed", 0],
        ["hold", 1],
        ["clear"],
        "undo",
        None,
        {},
        [],
    ],
)
def test_what_cannot_be_meant_changes_nothing(session, event):
    assert session.apply([event]).work == session.work


def test_one_seed_too_many_is_refused_in_a_sentence(session):
    full = session.with_work(Work(("a", "b"), session.work.patches, History([(0, 0)] * MOST_MARKS)))
    with pytest.raises(ValueError, match="as many as this page keeps"):
        full.apply([["seed", 1, 1]])


def test_labels_say_where_seeds_are(session):
    labels = session.apply([["seed", 3, 0], ["seed", 9, 1]]).work.labels
    assert labels.shape == (len(blobs()),)
    assert np.flatnonzero(labels >= 0).tolist() == [3, 9]


def test_other_classes_keep_the_seeds_that_still_have_one(session):
    done = session.rename("a, b, c").apply([["seed", 3, 0], ["seed", 9, 2]]).rename("x, y")
    assert done.work.seeds == {3: 0}
    assert done.rename("a, b, c").work.seeds == {3: 0, 9: 2}
    for names in ("a, b, c, d, e, f, g", "one"):
        with pytest.raises(ValueError, match="Name 2 to 6"):
            session.rename(names)


def test_a_browser_remembers_through_json(session):
    done = session.rename("a, b, c").apply([["seed", 3, 0], ["seed", 9, 2], ["hold", True]])
    key, back = from_memory(json.loads(json.dumps(to_memory(done))))
    assert key == done.slide.key
    assert back.slide is None
    assert back.show(blobs(), "other").work == done.work


def test_seeds_of_another_slide_of_the_same_name_are_not_shown(session):
    done = session.apply([["seed", 3, 0]])
    assert done.show(blobs(rows=5), "token").work.seeds == {}


GOOD = {"classes": ["a", "b"], "patches": 9, "marks": [[0, 1]], "held": False}


@pytest.mark.parametrize(
    "wrong",
    [
        {"marks": [[9, 0]]},
        {"marks": [[0, 6]]},
        {"marks": [[0, -2]]},
        {"marks": [[True, 0]]},
        {"marks": [[0.0, 0]]},
        {"marks": [0, 0]},
        {"marks": None},
        {"marks": [[0, 0]] * (MOST_MARKS + 1)},
        {"classes": ["a"]},
        {"classes": ["a", "a"]},
        {"classes": ["a", "=b"]},
        {"classes": ["a", 3]},
        {"classes": ["a,b", "c"]},
        {"classes": "ab"},
        {"patches": 0},
        {"patches": "9"},
        {"patches": 10**9},
    ],
)
def test_what_a_browser_should_not_have_is_left_out(wrong):
    memory = {"version": 1, "slide": "bad", "works": {"good": GOOD, "bad": {**GOOD, **wrong}}}
    key, session = from_memory(memory)
    assert list(session.works) == ["good"]
    assert key is None


@pytest.mark.parametrize("memory", [None, 3, [], {}, {"version": 2}, {"version": 1, "works": [1]}, {"version": 1}])
def test_no_memory_is_a_new_visitor(memory):
    assert from_memory(memory) == (None, Session())
