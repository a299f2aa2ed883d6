"""A visitor's way through the patches: keys and clicks in order, undo, and the memory of the browser."""

import json

import pytest
from hypothesis import given, settings

from demos.mlps.log import Log
from demos.mlps.session import MOST_EVENTS, MOST_SETS, Session, from_memory, new_key, to_memory
from tests.demos.anything import JSON
from tests.demos.mlps.planted import patches


def start(*events: list) -> Session:
    return Session(new_key()).show(patches()).apply(list(events))


def test_a_key_says_there_then_not_there_then_there():
    sessions = [start(*[["toggle", 1, 0.5]] * presses) for presses in (1, 2, 3)]
    assert [session.log.value(0, "tumour") for session in sessions] == [True, False, True]
    assert sessions[-1].log.seconds(0) == 1.5
    assert start(["toggle", 0, "soon"]).log.seconds(0) == 0


def test_a_second_press_releases_a_button():
    session = start(["set", 2, 0, True, 1], ["set", 2, 1, False, 1])
    assert (session.log.value(2, "stroma"), session.log.value(2, "tumour")) == (True, False)
    assert session.apply([["set", 2, 0, True, 1]]).log.value(2, "stroma") is None
    assert session.apply([["set", 2, 0, False, 1]]).log.value(2, "stroma") is False


def test_next_goes_to_the_next_open_patch_and_past_the_last_one_stays():
    session = start(["go", 1], ["toggle", 1, 1], ["next", 1], ["next", 1])
    assert (session.at, session.log.done, session.log.tagged(1)) == (0, [1, 2], ["tumour"])
    session = session.apply([["next", 1]])
    assert (session.at, session.log.done) == (1, [0, 1, 2])
    last = session.apply([["next", 1], ["next", 1]])
    assert last.at == 2
    assert last.log.records == session.log.records  # a patch that is done is not done again


def test_undo_shows_the_patch_of_the_change_and_without_a_change_the_patch_before():
    session = start(["toggle", 0, 1], ["next", 1], ["go", 2], ["undo", 1])
    assert (session.at, session.log.done, session.log.tagged(0)) == (0, [], ["stroma"])
    session = session.apply([["undo", 1], ["go", 2], ["undo", 1]])
    assert (session.at, session.log.tagged(0)) == (1, [])
    assert start(["undo", 1]).at == 0


@pytest.mark.parametrize(
    "event",
    [None, [], "next", ["toggle"], ["toggle", 5, 1], ["toggle", -1, 1], ["toggle", "0", 1], ["go", 3], ["go", 0.5],
     ["go", -1], ["set", 0, 0, 1, 1], ["set", 3, 0, True, 1], ["set", -1, 0, True, 1], ["set", 0, 9, True, 1],
     {"do": "next"}, ["next"], ["eval", "x"]],
)  # fmt: skip
def test_an_invalid_event_is_skipped(event):
    session = start()
    assert session.apply([event, ["toggle", 0, 1]]).log.tagged(0) == ["stroma"]
    assert session.apply([event]) == session  # nothing has changed in place either


def test_a_message_holds_a_limited_number_of_events():
    assert len(start(*[["toggle", 0, 1]] * (MOST_EVENTS + 1)).log.records) == MOST_EVENTS


def test_each_set_keeps_its_tags():
    session = start(["toggle", 0, 1], ["next", 1]).show(patches("other")).apply([["toggle", 1, 1]])
    assert session.log.tagged(0) == ["tumour"]
    again = session.show(patches())
    assert (again.at, again.log.tagged(0)) == (1, ["stroma"])
    anew = again.start_over()
    assert (anew.at, anew.log.records) == (0, ())
    assert anew.show(patches("other")).log.tagged(0) == ["tumour"]
    assert session.show(patches(number=2)).log == Log(patches(number=2).header)  # other patches with the same key


def test_the_browsers_memory_brings_tags_back():
    session = start(["toggle", 0, 1.5], ["next", 1], ["toggle", 1, 1])
    key, again = from_memory(json.loads(json.dumps(to_memory(session, logs=True))))
    assert (key, again.key, again.patches) == ("phantom", session.key, None)
    again = again.show(patches())
    assert (again.at, again.log) == (1, session.log)
    assert again.apply([["undo", 0], ["undo", 0]]).at == 0
    bare = to_memory(session, logs=False)
    assert bare["logs"] == []
    assert from_memory(bare)[1].key == session.key
    names = [f"set {number}" for number in range(MOST_SETS + 2)]
    for name in names:
        session = session.show(patches(name)).apply([["toggle", 0, 1]])
    logs = to_memory(session.show(patches("untouched")), logs=True)["logs"]
    assert [header["set"] for header, *_ in logs] == names[2:]


@settings(max_examples=50)
@given(JSON)
def test_a_forged_memory_does_no_harm(anything):
    shown = {"version": 1, "session": anything, "set": anything, "logs": anything}
    entries = {"version": 1, "logs": [[patches().header.to_json(), anything]]}
    for memory in (anything, shown, entries, {**shown, "logs": [anything]}):
        session = from_memory(memory)[1].show(patches())
        assert len(session.key) == 32
        assert session.log.records == ()
    assert session.apply([["toggle", 0, 1], ["next", 1]]).at == 1


def test_every_visitor_has_a_new_key():
    keys = [from_memory(memory)[1].key for memory in (None, None, {"version": 1, "session": "../../etc"})]
    assert len(set(keys)) == 3
    assert all(len(key) == 32 for key in keys)
