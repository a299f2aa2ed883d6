"""The log of tags: values, undo, time, files; every line of a visitor's file is checked."""

import csv
import io
import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demos.mlps.log import MOST_RECORDS, Header, Log, LogError, Record, from_json, from_lines, to_lines, to_table
from tests.demos.mlps.planted import HEADER

CLASSES, VALUES = st.sampled_from([*HEADER.classes, None]), st.sampled_from([True, False, None])


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2), CLASSES, VALUES), max_size=30))
def test_a_log_agrees_with_a_list_of_all_its_states_and_so_does_its_file(events):
    log, states, spent = Log(HEADER), [(None, {})], Counter()
    for undo, patch, name, value in events:
        if undo:
            undone = log.undo(0.5)
            assert (undone is log) == (len(states) == 1)
            if undone is not log:
                spent[states.pop()[0]] += 0.5
            log = undone
        else:
            value = bool(value) if name is None else value
            log = log.set(patch, name, value, 0.25)
            states.append((patch, states[-1][1] | {(patch, name): value}))
            spent[patch] += 0.25
    state = states[-1][1]
    latest = {}  # for a reader of the file who knows nothing of undo
    for entry in log.to_json()[1:]:
        latest[entry["patch"], entry.get("class")] = entry.get("present", entry.get("done"))
    for patch in range(3):
        assert (patch in log.done) == bool(state.get((patch, None))) == bool(latest.get((patch, None)))
        assert log.seconds(patch) == spent[patch]
        for name in HEADER.classes:
            assert log.value(patch, name) == state.get((patch, name)) == latest.get((patch, name))
    assert from_lines(to_lines(log)) == (log, False)


def tagged() -> Log:
    log = Log(HEADER).set(0, "tumour", True, 1.5).set(0, "necrosis", False, 0.5).set(0, None, True, 2.0)
    return log.set(1, "stroma", True, 1.0).set(1, None, True, 0.5)


def test_the_median_time_and_the_table_are_over_finished_patches():
    log = tagged().set(2, "necrosis", True, 100.0)
    assert log.median_seconds == 2.75
    assert Log(HEADER).median_seconds is None
    assert log.set(2, None, True, 0).tagged(2) == ["necrosis"]
    rows = list(csv.reader(io.StringIO(to_table(log, [(0, 0), (0, 224), (224, 0)]).decode("utf-8-sig"))))
    assert rows == [
        ["patch", "row", "column", *HEADER.classes, "seconds"],
        ["1", "0", "0", "0", "1", "0", "0", "0", "4.0"],
        ["2", "0", "224", "1", "0", "0", "0", "0", "1.5"],
    ]


def test_a_last_line_that_was_cut_off_is_skipped():
    content, records = to_lines(tagged()), tagged().records
    for end, kept, cut_off in ((-1, 5, False), (-2, 4, True), (-20, 4, True)):
        log, said = from_lines(content[:end])
        assert (len(log.records), said) == (kept, cut_off)
        assert log.records == records[:kept]
    umlaut = Log(Header("k", "t", ("Drüse", "fat"), 1, 112)).set(0, "Drüse", True, 0)
    content = to_lines(umlaut)
    within = content.rindex("ü".encode()) + 1  # in the middle of a letter
    assert from_lines(content[:within]) == (Log(umlaut.header), True)


def lines(*entries: object) -> bytes:
    return "".join(json.dumps(entry) + "\n" for entry in entries).encode()


FIRST = HEADER.to_json()
GOOD = {"patch": 0, "class": "necrosis", "present": True, "seconds": 1.0}
HEADERS = [{"tags": 2}, {"tags": True}, {"set": "x" * 101}, {"set": ""}, {"title": 5}, {"title": "x" * 101}]
HEADERS += [{"classes": names} for names in (["only"], ["a", 5], ["a", "=b"], ["a,b", "c"], "ab")]
HEADERS += [{"patches": number} for number in (0, 1001, True, "3")] + [{"size": side} for side in (0, 4097, 1.5)]
RECORDS = [{"patch": number} for number in (3, -1, True, "0")] + [{"class": name} for name in ("bone", ["necrosis"])]
RECORDS += [{"present": 1}, {"undo": 1}, {"at": 5}, {"at": "x" * 31}]
RECORDS += [{"seconds": number} for number in (-1, 600.1, float("nan"), True)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"\x89PNG\r\n\x1a\n", "other than text"),
        (b"not json", "Line 1"),
        (b"[" * 100_000, "Line 1"),
        (lines(FIRST) + b"{broken\n" + lines(GOOD), "Line 2"),
        (lines(FIRST, GOOD) + b"{broken\n", "Line 3"),
        (lines(GOOD), "first line"),
        (lines([1]), "first line"),
        (lines(FIRST, {"patch": 0, "done": "yes"}), "Line 2"),
        (lines(FIRST, GOOD, {**GOOD, "class": "bone"}), "Line 3"),
        (lines(FIRST, *[GOOD] * (MOST_RECORDS + 1)), "at most"),
        *((lines(FIRST | wrong), "first line") for wrong in HEADERS),
        *((lines(FIRST, GOOD | wrong), "Line 2") for wrong in RECORDS),
    ],
)
def test_a_bad_file_is_explained(content, message):
    with pytest.raises(LogError, match=message):
        from_lines(content)


def test_a_full_log_is_read_and_takes_no_more():
    log = from_json([FIRST, *[GOOD] * MOST_RECORDS])
    with pytest.raises(LogError, match="start over"):
        log.set(0, "necrosis", False, 0)


def test_a_record_says_what_it_is():
    assert Record(2, None, True, 1.239, at="now").to_json() == {"patch": 2, "done": True, "seconds": 1.24, "at": "now"}
