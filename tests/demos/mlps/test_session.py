"""A visitor's way through the patches: keys and clicks in order, there and back, and what a browser remembers of it."""

import json

import pytest
from hypothesis import given

pytest.importorskip("gradio", reason="the demos need gradio: pip install 'histolab-lite[demos]'")

from demos.mlps.log import Header, Log  # noqa: E402
from demos.mlps.patch_sets import PatchSet  # noqa: E402
from demos.mlps.session import MOST_SETS, Session, from_memory, new_key, to_memory  # noqa: E402
from tests.demos.anything import JSON  # noqa: E402


def patches(key: str = "a", number: int = 3, classes: tuple[str, ...] = ("stroma", "tumour")) -> PatchSet:
    header = Header(key, key.upper(), classes, number, 112)
    return PatchSet(header, (b"",) * number, tuple((0, 112 * i) for i in range(number)))


def start() -> Session:
    return Session(new_key()).show(patches())


def test_a_digit_says_there_then_absent_then_there():
    values = []
    session = start()
    for _ in range(3):
        session = session.apply([["toggle", 1, 0.5]])
        values.append(session.log.value(0, "tumour"))
    assert values == [True, False, True]
    assert session.log.seconds(0) == 1.5


def test_a_pressed_button_pressed_again_is_open_again():
    session = start().apply([["set", 2, 0, True, 1], ["set", 2, 1, False, 1]])
    assert (session.log.value(2, "stroma"), session.log.value(2, "tumour")) == (True, False)
    assert session.apply([["set", 2, 0, True, 1]]).log.value(2, "stroma") is None
    assert session.apply([["set", 2, 0, False, 1]]).log.value(2, "stroma") is False


def test_keys_that_come_together_are_taken_one_after_another():
    session = start().apply([["toggle", 0, 1], ["next", 1], ["toggle", 1, 1], ["next", 1], ["toggle", 0, 1]])
    assert session.log.tagged(0) == ["stroma"]
    assert session.log.tagged(1) == ["tumour"]
    assert session.log.tagged(2) == ["stroma"]
    assert (session.at, session.log.done) == (2, [0, 1])


def test_next_goes_to_what_is_open_and_stays_at_the_end():
    session = start().apply([["go", 1], ["next", 1], ["next", 1]])
    assert (session.at, session.log.done) == (0, [1, 2])
    session = session.apply([["next", 1]])
    assert (session.at, session.log.done) == (1, [0, 1, 2])
    records = session.log.records
    session = session.apply([["next", 1], ["next", 1]])
    assert session.at == 2
    assert session.log.records == records  # what is done already is not done again


def test_undo_shows_the_patch_it_changes_and_then_goes_back():
    session = start().apply([["toggle", 0, 1], ["next", 1], ["go", 2], ["undo", 1]])
    assert (session.at, session.log.done, session.log.tagged(0)) == (0, [], ["stroma"])
    session = session.apply([["undo", 1], ["go", 2], ["undo", 1]])
    assert (session.at, session.log.tagged(0)) == (1, [])
    assert start().apply([["undo", 1]]).at == 0


@pytest.mark.parametrize(
    "event",
    [None, [], "next", ["toggle"], ["toggle", 2, 1], ["toggle", -1, 1], ["toggle", "0", 1], ["go", 3], ["go", 0.5],
     ["set", 0, 0, 1, 1], ["set", 3, 0, True, 1], ["set", 0, 9, True, 1], {"do": "next"}, ["next"], ["eval", "x"]],
)  # fmt: skip
def test_what_cannot_be_meant_is_left_out(event):
    session = start()
    assert session.apply([event]) == session
    assert session.apply([["toggle", 0, "soon"]]).log.seconds(0) == 0


def test_nothing_changes_in_place():
    session = start()
    session.apply([["toggle", 0, 1], ["next", 1]])
    session.start_over()
    assert session.log.records == ()


def test_each_set_keeps_its_tags():
    session = start().apply([["toggle", 0, 1], ["next", 1]]).show(patches("b")).apply([["toggle", 1, 1]])
    assert session.log.tagged(0) == ["tumour"]
    again = session.show(patches("a"))
    assert (again.at, again.log.tagged(0)) == (1, ["stroma"])
    assert again.start_over().log.records == ()
    assert again.start_over().show(patches("b")).log.tagged(0) == ["tumour"]


def test_tags_of_other_patches_under_the_same_key_are_not_used():
    session = start().apply([["toggle", 1, 1]])
    assert session.show(patches(number=2)).log == Log(patches(number=2).header)


def test_memory_brings_tags_back():
    session = start().apply([["toggle", 0, 1.5], ["next", 1], ["toggle", 1, 1]])
    key, again = from_memory(json.loads(json.dumps(to_memory(session, logs=True))))
    assert (key, again.key, again.patches) == ("a", session.key, None)
    again = again.show(patches())
    assert (again.at, again.log) == (1, session.log)
    assert again.apply([["undo", 0], ["undo", 0]]).at == 0
    bare = to_memory(session, logs=False)
    assert bare["logs"] == []
    assert from_memory(bare)[1].key == session.key
    for number in range(MOST_SETS + 2):
        session = session.show(patches(f"set {number}")).apply([["toggle", 0, 1]])
    assert len(to_memory(session, logs=True)["logs"]) == MOST_SETS


@given(JSON, JSON, JSON)
def test_a_forged_memory_does_no_harm(anything, logs, entries):
    for memory in (anything, {"version": 1, "session": anything, "set": anything, "logs": logs}):
        session = from_memory(memory)[1]
        assert len(session.key) == 32
        assert session.show(patches()).log.records == ()
    header = patches().header.to_json()
    session = from_memory({"version": 1, "logs": [[header, entries]]})[1].show(patches())
    assert session.apply([["toggle", 0, 1], ["next", 1]]).at in range(3)


def test_nobody_else_has_the_same_key():
    assert from_memory(None)[1].key != from_memory(None)[1].key
    assert from_memory({"version": 1, "session": "../../etc"})[1].key != "../../etc"
