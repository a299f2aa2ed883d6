"""A visitor's points are added, taken back and remembered; what the browser remembers is checked."""

import json

import numpy as np
import pytest
from hypothesis import given, settings

from demos.cvm.images import make_image
from demos.cvm.session import MOST_ACTIONS, MOST_IMAGES, Session, from_memory, to_memory
from tests.demos.anything import JSON

IMAGE, OTHER = (make_image(np.zeros((60, 80, 3), np.uint8), key, key) for key in "ab")


def test_points_are_added_taken_back_and_cleared():
    session = Session().show(IMAGE).add(0, 1, 2).add(2, 3, 4).add(1, 5, 6).add(0, 7, 8)
    assert list(session.by_class().items()) == [(1, [(5, 6)]), (2, [(3, 4)]), (0, [(1, 2), (7, 8)])]
    session = Session().show(IMAGE).add(1, 1, 1).add(0, 2, 2)
    assert session.undo().points == [(1, 1, 1)]
    assert session.clear().points == []
    assert session.clear().clear().undo().points == session.points == [(1, 1, 1), (0, 2, 2)]
    assert session.clear().add(1, 3, 3).points == [(1, 3, 3)]
    assert Session().undo() == Session().clear() == Session()


def test_each_image_keeps_its_points():
    session = Session().show(IMAGE).add(1, 1, 1).show(OTHER).add(0, 2, 2)
    assert session.points == [(0, 2, 2)]
    assert session.show(IMAGE).points == [(1, 1, 1)]
    for number in range(MOST_IMAGES):
        session = session.show(make_image(np.zeros((40, 40, 3), np.uint8), str(number), ""))
    assert len(session.actions) == MOST_IMAGES
    assert session.show(OTHER).points == []


def test_points_off_the_image_or_too_many_are_refused_and_clearing_still_works():
    session = Session().show(IMAGE)
    for row, column in ((-1, 0), (0, -1), (60, 0), (0, 80)):
        with pytest.raises(ValueError, match="x goes from 0 to 79, y from 0 to 59"):
            session.add(1, row, column)
    for _ in range(MOST_ACTIONS):
        session = session.add(1, 59, 79)
    with pytest.raises(ValueError, match=f"{MOST_ACTIONS} clicks"):
        session.add(1, 1, 1)
    assert session.undo().add(0, 2, 2).points == [*session.undo().points, (0, 2, 2)]
    assert session.clear().points == []
    assert len(session.clear().actions["a"]) == MOST_ACTIONS


def test_memory_brings_points_back_and_holds_no_image():
    session = Session().show(OTHER).add(1, 9, 9).show(IMAGE).add(1, 1, 2).clear().add(0, 3, 4)
    memory = json.loads(json.dumps(to_memory(session)))
    key, again = from_memory(memory)
    assert key == "a"
    assert again.show(IMAGE).points == session.points
    assert again.show(IMAGE).undo().undo().points == [(1, 1, 2)]
    assert again.show(OTHER).points == [(1, 9, 9)]
    assert "0, 0, 0" not in json.dumps(memory)


@settings(max_examples=50)
@given(JSON, JSON, JSON)
def test_a_forged_memory_does_no_harm(anything, actions, done):
    for memory in (anything, {"version": 1, "image": anything, "actions": actions}):
        assert isinstance(from_memory(memory)[1], Session)
    _, session = from_memory({"version": 1, "actions": {"a": done}})
    height, width = IMAGE.size
    for name, row, column in session.show(IMAGE).points:
        assert (name in range(4), row in range(height), column in range(width)) == (True, True, True)


def test_invalid_items_of_a_memory_are_left_out():
    done = [[1, 5, 6], [1, 5], [9, 5, 6], [1, -5, 6], [1, 5.5, 6], [True, 5, 6], ["1", 5, 6], [1, 59, 80], [0, 7, 8], 3]
    key, session = from_memory({"version": 1, "image": 7, "actions": {"a": done, "x" * 101: done, "b": "no"}})
    assert key is None
    assert session.show(IMAGE).points == [(1, 5, 6), (0, 7, 8)]
    assert list(session.actions) == ["a"]
    many = {str(number): [[1, 1, 1]] * 9999 for number in range(50)}
    actions = from_memory({"version": 1, "actions": many})[1].actions
    assert (len(actions), len(actions["49"])) == (MOST_IMAGES, MOST_ACTIONS)
