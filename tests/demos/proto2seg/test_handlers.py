"""Handlers change a visitor's session: names become masks, errors become sentences, nothing is shared."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from demos.proto2seg import views
from demos.proto2seg.dictionary import to_bytes
from demos.proto2seg.handlers import OWN, Handlers
from demos.proto2seg.samples import load
from demos.proto2seg.session import Session
from histolab_lite.methods.proto2seg import PrototypeDictionary
from tests.demos.saved import unpack


@pytest.fixture(scope="module")
def app():
    return Handlers(load())


@pytest.fixture
def session(app) -> Session:
    return app.restore(None)["session"]


def act(app, session: Session, *events: list) -> dict:
    value = json.dumps({"serial": session.serial + 1, "events": events})
    return app.act(SimpleNamespace(index=0, value=value), session)


def named(app, session: Session, *names: list) -> Session:
    """names: cluster and class."""
    return act(app, session, *(["name", *name, 1] for name in names))["session"]


def bring(app, session, tmp_path, content: bytes) -> dict:
    path = tmp_path / "own.safetensors"
    path.write_bytes(content)
    answer = app.bring(str(path), session)
    assert not path.exists()
    return answer


def test_a_name_becomes_a_mask_and_another_name_changes_it(app, session):
    assert 'data-state="waiting"' in app.restore(None)["result"]
    answer = act(app, session, ["key", 3, 2.0])
    assert answer["session"].names.given == {0: 3}
    assert answer["memory"]["names"]["given"] == [[0, 3]]
    assert answer["problem"] == ""
    assert "gallery" not in answer  # the same cluster: not sent again
    assert 'data-named="1"' in answer["panel"]
    assert "Cluster 1 of 24: lymphocytes." in answer["panel"]
    assert "Cluster 1 is outlined: lymphocytes." in answer["plane"]
    assert 'data-own="2.00"' in answer["stopwatch"]
    assert "lymphocytes 100%" in answer["result"]

    session = named(app, answer["session"], [1, 0], [2, 5])
    before = app.result(session)
    answer = act(app, session, ["next", 1.0])
    assert "result" not in answer  # the same names: not queried again
    assert "cluster 4" in answer["gallery"]
    answer = act(app, session, ["name", 2, 1, 1])
    direct = [result.split("DQ, place by place")[1].split('"')[0] for result in (before, answer["result"])]
    assert ["normal gland" in read_out for read_out in direct] == [True, False]
    assert act(app, answer["session"], ["undo", 1])["result"] == before


def test_a_message_that_comes_twice_counts_once_and_nobody_elses_session_changes(app, session):
    message = SimpleNamespace(index=0, value=json.dumps({"serial": 1, "events": [["key", 0, 1]]}))
    after = app.act(message, session)["session"]
    assert app.act(message, after) == {"panel": views.panel(after)}
    assert session.names.given == act(app, session, ["next", 1])["session"].names.given == {}


def test_a_restarted_server_lets_the_page_load_again(app):
    answer = act(app, Session(), ["next", 1])
    assert list(answer) == ["panel"]
    assert "data-reload" in answer["panel"]
    assert app.start_over(Session()) == app.own_names(Session()) == {}
    assert app.save("dictionary", Session())["packed"] == ""


def test_a_refresh_brings_names_tile_and_groups_back(app, session):
    session = act(app, session, ["key", 3, 1], ["next", 1])["session"]
    answer = app.regroup(9, app.pick("phantom-2", session)["session"])
    back = app.restore(json.loads(json.dumps(answer["memory"])))
    assert (back["gamma"], back["choice"].value, back["problem"]) == (9, "phantom-2", "")
    assert (back["session"].names, back["session"].at) == (answer["session"].names, 1)
    assert (back["memory"], back["result"]) == (answer["memory"], answer["result"])
    assert 'id="dots-23"' in back["dots"]
    assert all(app.regroup(gamma, session) == {} for gamma in (session.gamma, 0, 10**9))
    for memory in (5, {}, {"version": 1}, {"version": 1, "names": {"given": [[99, 1]]}}):
        restored = app.restore(memory)["session"]
        assert (restored.names.given, restored.tile) == ({}, app.first)


def test_a_saved_dictionary_brings_its_names_back(app, session, tmp_path):
    name, content = unpack(app.save("dictionary", named(app, session, [0, 3], [4, 2], [7, -1]))["packed"])
    assert name == "dictionary.safetensors"
    answer = bring(app, named(app, session, [0, 1], [9, 1]), tmp_path, content)
    assert answer["session"].names.given == {0: 3, 4: 2}
    assert "names are back" in answer["problem"]
    assert act(app, answer["session"], ["undo", 1])["session"].names.given == {0: 1, 9: 1}


def test_any_other_dictionary_is_queried_as_it_is_or_refused(app, session, tmp_path):
    foreign = PrototypeDictionary(app.samples.clusters.centers[:2] * 3, torch.tensor([0, 1]), ("cells <b>", "glass"))
    answer = bring(app, named(app, session, [0, 3]), tmp_path, to_bytes(foreign))
    assert (answer["problem"], answer["own_names"].visible) == ("", True)
    for text, there in (("the dictionary you loaded", True), ("cells &lt;b&gt;", True), ("cells <b>", False)):
        assert (text in answer["result"]) is there
    assert "mean Dice" not in answer["result"]  # of other classes than the truth's
    assert "load it again" in app.restore(answer["memory"])["problem"]
    answer = app.own_names(answer["session"])
    assert answer["own_names"].visible is False
    assert "your dictionary" in answer["result"]
    answer = bring(app, session, tmp_path, to_bytes(PrototypeDictionary(torch.eye(8), torch.zeros(8).long(), ("fat",))))
    assert list(answer) == ["problem"]
    assert "another encoder" in answer["problem"]
    assert app.bring(None, session) == {}


def test_saving_says_what_is_missing(app, session):
    for kind in ("dictionary", "mask"):
        assert "at least one cluster" in app.save(kind, session)["problem"]
        assert app.save(kind, named(app, session, [0, -1]))["packed"] == ""
    name, content = unpack(app.save("mask", named(app, session, [0, 2]))["packed"])
    mask = np.asarray(Image.open(io.BytesIO(content)))
    assert (name, mask.shape) == ("mask.png", app.first.size)
    assert (mask == 2).all()


def test_an_own_tile_is_queried_or_refused(app, session, tmp_path):
    def read(height: int, mpp: str) -> dict:
        path = tmp_path / "own.png"
        pixels = np.random.default_rng(0).integers(0, 255, (height, 90, 3), np.uint8)
        Image.fromarray(pixels).save(path)
        answer = app.read(str(path), mpp)
        assert not path.exists()
        return answer

    tile = read(70, " 1,0 ")["arrived"]
    answer = app.show(tile, named(app, session, [0, 3]))
    assert answer["choice"].value == OWN
    assert ("Your tile", OWN) in answer["choice"].choices
    assert "truth-tile" not in answer["images"]
    assert "lymphocytes 100%" in answer["result"]
    assert "Truth" not in answer["result"]
    other = app.pick("phantom-1", answer["session"])["session"]
    assert other.tile.key == "phantom-1"
    assert app.pick(OWN, other)["session"].tile is tile
    assert "upload it again" in app.restore(answer["memory"])["problem"]
    assert app.show(None, session) == app.pick(OWN, session) == {}
    for height, mpp, said in ((70, "100", "from 0.05 to 20"), (40, "", "64 on each side")):
        refused = read(height, mpp)
        assert refused["arrived"] is None
        assert said in refused["problem"]
