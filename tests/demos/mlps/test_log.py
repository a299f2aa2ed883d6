"""The log of tags: folded, undone, written and read again; whatever a visitor brings is checked line by line."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demos.mlps.log import (
    MOST_RECORDS,
    Header,
    Log,
    LogError,
    Record,
    from_json,
    from_lines,
    to_lines,
    to_table,
)

HEADER = Header("phantom", "Phantom patches", ("stroma", "tumour", "fat"), 3, 224)


def tagged() -> Log:
    log = Log(HEADER).set(0, "tumour", True, 1.5).set(0, "fat", False, 0.5).set(0, None, True, 2.0)
    return log.set(1, "stroma", True, 1.0).set(1, None, True, 0.5)


def test_the_last_word_holds():
    log = tagged().set(0, "tumour", False, 1.0).set(0, "stroma", True, 0.0)
    assert (log.value(0, "tumour"), log.value(0, "stroma"), log.value(1, "tumour")) == (False, True, None)
    assert log.tagged(0) == ["stroma"]
    assert log.done == [0, 1]


def test_time_is_that_of_finished_patches():
    log = tagged()
    assert (log.seconds(0), log.seconds(1), log.seconds(2)) == (4.0, 1.5, 0.0)
    assert log.median_seconds == 2.75
    assert log.set(2, "fat", True, 100.0).median_seconds == 2.75
    assert Log(HEADER).median_seconds is None


def test_undo_goes_back_step_by_step_and_keeps_the_time():
    log = tagged().set(1, "stroma", None, 1.0)
    seen = []
    while (before := log.undo(0.5)) is not log:
        log = before
        seen.append((log.value(0, "tumour"), log.value(1, "stroma"), log.done))
    assert seen[0] == (True, True, [0, 1])
    assert seen[1] == (True, True, [0])
    assert seen[3] == (True, None, [])
    assert seen[-1] == (None, None, [])
    assert len(seen) == 6
    assert log.seconds(0) == 4.0 + 3 * 0.5
    assert log.set(2, "fat", True, 0).undo(0).value(2, "fat") is None
    assert log.set(2, "fat", True, 0).undo(0).undo(0).value(0, "tumour") is None  # nothing is undone twice


EVENTS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from([*HEADER.classes, None]), st.booleans(), st.booleans()), max_size=30
)


@given(EVENTS)
def test_files_bring_everything_back(events):
    log = Log(HEADER)
    for patch, name, value, undo in events:
        log = log.undo(1.0) if undo else log.set(patch, name, value, 0.25)
    again, cut_off = from_lines(to_lines(log))
    assert again == log
    assert not cut_off
    last = {}
    for line in to_lines(log).decode().splitlines()[1:]:  # a reader who knows nothing of undo
        entry = json.loads(line)
        last[entry["patch"], entry.get("class")] = entry.get("present", entry.get("done"))
    for patch in range(3):
        assert (patch in log.done) == bool(last.get((patch, None)))
        for name in HEADER.classes:
            assert log.value(patch, name) == last.get((patch, name))


def test_the_table_is_of_finished_patches():
    rows = list(csv.reader(io.StringIO(to_table(tagged(), [(0, 0), (0, 224), (224, 0)]).decode("utf-8-sig"))))
    assert rows == [
        ["patch", "row", "column", "stroma", "tumour", "fat", "seconds"],
        ["1", "0", "0", "0", "1", "0", "4.0"],
        ["2", "0", "224", "1", "0", "0", "1.5"],
    ]


def test_a_last_line_that_was_cut_off_is_left_out():
    whole = tagged()
    content = to_lines(whole)
    for end in (-1, -2, -20):
        log, cut_off = from_lines(content[:end])
        assert cut_off == (end != -1)  # without its line break alone, the line is whole
        assert log.records == whole.records[: 5 if end == -1 else 4]
    umlaut = Log(Header("k", "t", ("Drüse", "fat"), 1, 112)).set(0, "Drüse", True, 0)
    content = to_lines(umlaut)
    within = content.rindex("ü".encode()) + 1  # in the middle of a letter
    assert from_lines(content[:within]) == (Log(umlaut.header), True)


def lines(*entries: object) -> bytes:
    return "".join(json.dumps(entry) + "\n" for entry in entries).encode()


FIRST = HEADER.to_json()
GOOD = {"patch": 0, "class": "fat", "present": True, "seconds": 1.0}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"\x89PNG\r\n\x1a\n", "other than text"),
        (b"not json", "Line 1"),
        (lines(FIRST) + b"{broken\n" + lines(GOOD), "Line 2"),
        (lines(FIRST, GOOD) + b"{broken\n", "Line 3"),
        (lines(GOOD), "first line"),
        (lines([1]), "first line"),
        (lines({**FIRST, "tags": 2}), "first line"),
        (lines({**FIRST, "classes": ["only"]}), "first line"),
        (lines({**FIRST, "classes": ["a", 5]}), "first line"),
        (lines({**FIRST, "patches": 0}), "first line"),
        (lines({**FIRST, "patches": True}), "first line"),
        (lines({**FIRST, "set": "x" * 101}), "first line"),
        (lines(FIRST, {**GOOD, "patch": 3}), "Line 2"),
        (lines(FIRST, {**GOOD, "patch": True}), "Line 2"),
        (lines(FIRST, GOOD, {**GOOD, "class": "bone"}), "Line 3"),
        (lines(FIRST, {**GOOD, "class": ["fat"]}), "Line 2"),
        (lines(FIRST, {**GOOD, "present": 1}), "Line 2"),
        (lines(FIRST, {**GOOD, "seconds": -1}), "Line 2"),
        (lines(FIRST, {**GOOD, "seconds": float("nan")}), "Line 2"),
        (lines(FIRST, {"patch": 0, "done": "yes"}), "Line 2"),
        (lines(FIRST, *[GOOD] * (MOST_RECORDS + 1)), "at most"),
        (b"[" * 100_000, "Line 1"),
    ],
)
def test_a_bad_file_is_explained(content, message):
    with pytest.raises(LogError, match=message):
        from_lines(content)


def test_there_is_a_limit():
    log = from_json([FIRST, *[GOOD] * MOST_RECORDS])
    with pytest.raises(LogError, match="start over"):
        log.set(0, "fat", False, 0)


def test_records_say_what_they_are():
    assert Record(2, None, True, 1.239, at="now").to_json() == {"patch": 2, "done": True, "seconds": 1.24, "at": "now"}
