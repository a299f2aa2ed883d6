"""A visitor's work on clusters: keys in a row, undo, the next open one, and what a refresh brings back."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.proto2seg.names import LONGEST, MOST_UNDONE, Names, names_from_json
from demos.proto2seg.samples import Clusters
from demos.proto2seg.session import GAMMA, Session, from_memory, to_memory
from histolab_lite.methods.proto2seg import MIXTURE, PrototypeDictionary
from tests.demos.anything import JSON

NAMES, COLOURS = ("fat", "muscle", "nerve"), ((255, 0, 0), (0, 255, 0), (0, 0, 255))
CLUSTERS = Clusters(torch.eye(4), (b"",) * 4, np.zeros((4, 2)), np.arange(4), np.eye(4)[:, :3], NAMES, COLOURS)


def apply(*events: list, session: Session | None = None) -> Session:
    return (session or Session(CLUSTERS)).apply(list(events))


def test_keys_name_the_cluster_in_view_however_fast():
    session = apply(["key", 1, 3.0], ["next", 1.0], ["key", MIXTURE, 2], ["next", 0], ["key", 0, 1])
    assert session.names.given == {0: 1, 1: MIXTURE, 2: 0}
    assert session.names.seconds == {0: 4.0, 1: 2.0, 2: 1.0}
    assert session.at == 2


def test_the_same_name_again_takes_it_back():
    assert apply(["key", 1, 1], ["key", 2, 1]).names.given == {0: 2}
    assert apply(["key", 1, 1], ["key", 1, 1]).names.given == {}
    assert apply(["name", 3, 1, 1], ["name", 3, 1, 1]).names.given == {}


def test_next_goes_to_what_is_open_and_undo_to_what_it_changes():
    session = apply(["name", 1, 0, 1], ["next", 1])
    assert session.at == 2
    session = apply(["key", 0, 1], ["next", 1], ["key", 0, 1], ["next", 1], session=session)
    assert session.at == 0
    session = apply(["key", 0, 1], ["next", 1], session=session)
    assert session.at == 1  # all are named: simply the next
    assert apply(["back", 1], ["back", 1], session=session).at == 3
    session = apply(["key", 0, 1], ["next", 1], ["key", 1, 1], ["go", 3], ["undo", 1])
    assert (session.at, session.names.given) == (1, {0: 0})
    session = apply(["undo", 1], ["undo", 1], session=session)
    assert (session.at, session.names.given) == (0, {})


@pytest.mark.parametrize(
    "event",
    [None, [], "next", ["key"], ["key", 3, 1], ["key", -2, 1], ["key", "0", 1], ["name", 4, 0, 1], ["name", 0, 3, 1]]
    + [["go", 4], ["go", -1], ["go", 0.5], ["next"], {"do": "next"}, ["eval", "x"]],
)
def test_invalid_events_are_left_out(event):
    assert apply(event) == Session(CLUSTERS)
    assert apply(["key", 0, "soon"]).names.seconds == {0: 0.0}


def test_the_dictionary_holds_named_clusters_or_what_was_loaded_until_the_next_name():
    assert apply().dictionary is None
    assert apply(["key", MIXTURE, 1]).dictionary is None
    dictionary = apply(["name", 0, 2, 1], ["name", 1, MIXTURE, 1], ["name", 3, 2, 1]).dictionary
    assert dictionary.labels.tolist() == [2, 2]
    assert torch.equal(dictionary.embeddings, torch.eye(4)[[0, 3]])
    assert dictionary.class_names == CLUSTERS.class_names
    loaded = PrototypeDictionary(torch.eye(4)[:1], torch.tensor([0]), ("bone",))
    session = Session(CLUSTERS, loaded=loaded)
    assert apply(["next", 1], ["go", 2], session=session).dictionary is loaded
    assert apply(["key", 1, 1], session=session).dictionary.class_names == CLUSTERS.class_names
    assert apply(["undo", 1], session=session).loaded is None
    assert session.start_over().loaded is None


def test_starting_over_can_be_undone():
    session = apply(["key", 1, 5], ["next", 1], ["key", 2, 5]).start_over()
    assert (session.at, session.names.given, session.names.mean_seconds) == (0, {}, None)
    assert apply(["undo", 0], session=session).names.given == {0: 1, 1: 2}


def test_memory_brings_names_back():
    session = dataclasses.replace(apply(["key", 1, 1.5], ["next", 1], ["key", MIXTURE, 1]), gamma=GAMMA + 1)
    memory = json.loads(json.dumps(to_memory(session)))
    key, again = from_memory(memory, CLUSTERS)
    assert (key, again) == (None, session)
    others = dataclasses.replace(CLUSTERS, centers=torch.eye(4) * 2)
    assert from_memory(memory, others)[1].names == Names()


@pytest.mark.parametrize(
    ("field", "value"),
    [("at", 4), ("at", True), ("at", "1"), ("gamma", 0), ("gamma", 21), ("gamma", None), ("tile", 7), ("names", [1])]
    + [("version", 2), ("clusters", "x")],
)
def test_a_forged_memory_does_no_harm(field, value):
    key, session = from_memory({**to_memory(apply(["key", 1, 1])), field: value}, CLUSTERS)
    assert key is None
    assert type(session.at) is int
    assert session.at in range(4)
    assert session.gamma == GAMMA
    assert from_memory(value, CLUSTERS)[1] == Session(CLUSTERS)


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
def test_names_come_back_from_the_browser(changes):
    names = Names()
    for change in changes:
        names = names.set(change).spend(next(iter(change)), 1.5)
    assert names_from_json(json.loads(json.dumps(names.to_json())), 5, 4) == names


PAIRS = st.lists(st.lists(JSON, min_size=2, max_size=2), max_size=5)


@settings(max_examples=50)
@given(JSON, JSON | PAIRS, JSON | st.lists(JSON | PAIRS, max_size=4), JSON | PAIRS)
def test_forged_names_do_no_harm(anything, given_, before, seconds):
    assert names_from_json(anything, 5, 4).given == {}
    names = names_from_json({"given": given_, "before": before, "seconds": seconds}, 5, 4)
    while names.before:
        names, cluster = names.undo()
        assert cluster in range(5)
        assert all(name in range(MIXTURE, 4) and at in range(5) for at, name in names.given.items())
    assert all(0 <= spent <= LONGEST for spent in names.seconds.values())


@pytest.mark.parametrize("pair", [[5, 0], [-1, 0], [0, 4], [0, -2], [True, 0], [0, True], ["0", 0], [0, 0.0], [0], 7])
def test_an_invalid_name_is_left_out(pair):
    names = names_from_json({"given": [[1, 1], pair], "before": [[pair]]}, 5, 4)
    assert (names.given, names.before) == ({1: 1}, ())
