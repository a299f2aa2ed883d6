"""Names of clusters: the last word holds, undo goes back change by change, and a forged memory does no harm."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demos.proto2seg.names import LONGEST, MOST_UNDONE, Names, names_from_json
from histolab_lite.methods.proto2seg import MIXTURE
from tests.demos.anything import JSON


def test_the_last_word_holds_and_undo_goes_back():
    names = Names().set({0: 2}).set({1: MIXTURE}).set({0: 3})
    assert names.given == {0: 3, 1: MIXTURE}
    for given_, cluster in (({0: 2, 1: MIXTURE}, 0), ({0: 2}, 1), ({}, 0), ({}, None)):
        names, changed = names.undo()
        assert (names.given, changed) == (given_, cluster)


def test_a_change_of_many_clusters_is_one_change():
    names = Names().set({0: 1, 1: 1}).set({0: None, 1: None, 2: 4})
    assert names.given == {2: 4}
    assert names.undo()[0].given == {0: 1, 1: 1}
    assert names.set({2: 4}) is names  # nothing that undo would have to take back
    assert names.set({0: MIXTURE}).by_cluster(4).tolist() == [MIXTURE, MIXTURE, 4, MIXTURE]


def test_undo_is_remembered_for_a_while():
    names = Names()
    for number in range(MOST_UNDONE + 11):
        names = names.set({0: number % 3})
    assert len(names.before) == MOST_UNDONE
    while names.before:
        names, _ = names.undo()
    assert names.given == {0: 10 % 3}


def test_the_mean_is_of_clusters_that_are_done():
    names = Names().spend(0, 10.0).spend(1, 30.0).spend(0, 4.0).spend(2, 99.0)
    assert names.mean_seconds is None
    assert names.set({0: 1}).set({1: MIXTURE}).set({3: 1}).mean_seconds == 22.0
    assert names.spend(0, float("nan")).seconds == names.seconds
    for _ in range(61):
        names = names.spend(0, 600.0)
    assert names.seconds[0] == LONGEST


@given(st.lists(st.dictionaries(st.integers(0, 4), st.none() | st.integers(MIXTURE, 3), min_size=1), max_size=20))
def test_memory_brings_everything_back(changes):
    names = Names()
    for change in changes:
        names = names.set(change).spend(next(iter(change)), 1.5)
    assert names_from_json(json.loads(json.dumps(names.to_json())), 5, 4) == names


PAIRS = st.lists(st.lists(JSON, min_size=2, max_size=2), max_size=5)


@given(JSON, JSON | PAIRS, JSON | st.lists(JSON | PAIRS, max_size=4), JSON | PAIRS)
def test_a_forged_memory_does_no_harm(anything, given_, before, seconds):
    assert names_from_json(anything, 5, 4).given == {}
    names = names_from_json({"given": given_, "before": before, "seconds": seconds}, 5, 4)
    while names.before:
        names, cluster = names.undo()
        assert cluster in range(5)
        assert all(name in range(MIXTURE, 4) and at in range(5) for at, name in names.given.items())
    assert all(0 <= spent <= LONGEST for spent in names.seconds.values())


@pytest.mark.parametrize("pair", [[5, 0], [-1, 0], [0, 4], [0, -2], [True, 0], [0, True], ["0", 0], [0, 0.0], [0], 7])
def test_what_cannot_be_meant_is_left_out(pair):
    names = names_from_json({"given": [[1, 1], pair], "before": [[pair]]}, 5, 4)
    assert (names.given, names.before) == ({1: 1}, ())
