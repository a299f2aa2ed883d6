"""What handlers make of a visitor's session: names become masks, errors sentences, and nothing is shared."""

from __future__ import annotations

import base64
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

gr = pytest.importorskip("gradio", reason="the demos need gradio: pip install 'histolab-lite[demos]'")

from demos.proto2seg import views  # noqa: E402
from demos.proto2seg.dictionary import to_bytes  # noqa: E402
from demos.proto2seg.handlers import OWN, Handlers  # noqa: E402
from demos.proto2seg.samples import load  # noqa: E402
from demos.proto2seg.session import Session  # noqa: E402
from histolab_lite.methods.proto2seg import PrototypeDictionary  # noqa: E402


@pytest.fixture(scope="module")
def app():
    return Handlers(load())


@pytest.fixture
def session(app) -> Session:
    return app.restore(None)["session"]


def act(app, session: Session, *events: list) -> dict:
    value = json.dumps({"serial": session.serial + 1, "events": events})
    return app.act(SimpleNamespace(index=0, value=value), session)


def unpack(packed: str) -> tuple[str, bytes]:
    content = json.loads(packed)
    return content["name"], base64.b64decode(content["content"])


def test_a_name_becomes_a_mask(app, session):
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
    assert "cluster 2" in act(app, answer["session"], ["next", 1.0])["gallery"]


def test_another_name_changes_the_mask_at_once(app, session):
    session = act(app, session, ["key", 3, 1], ["name", 1, 0, 1], ["name", 2, 5, 1])["session"]
    before = app.result(session)
    assert "result" not in act(app, session, ["go", 2])
    after = act(app, session, ["name", 2, 1, 1])["result"]
    assert "normal gland" in before.split("DQ, place by place")[1].split('"')[0]
    assert "normal gland" not in after.split("DQ, place by place")[1].split('"')[0]
    assert act(app, act(app, session, ["name", 2, 1, 1])["session"], ["undo", 1])["result"] == before


def test_a_message_that_comes_twice_counts_once(app, session):
    message = SimpleNamespace(index=0, value=json.dumps({"serial": 1, "events": [["key", 0, 1]]}))
    session = app.act(message, session)["session"]
    assert app.act(message, session) == {"panel": views.panel(session)}


def test_a_restarted_server_lets_the_page_load_again(app):
    answer = act(app, Session(), ["next", 1])
    assert list(answer) == ["panel"]
    assert "data-reload" in answer["panel"]
    for handler in (app.start_over, app.own_names):
        assert handler(Session()) == {}
    assert app.save("dictionary", Session())["packed"] == ""


def test_a_refresh_brings_names_tile_and_groups_back(app, session):
    session = act(app, session, ["key", 3, 1], ["next", 1])["session"]
    answer = app.regroup(9, app.pick("phantom-2", session)["session"])
    back = app.restore(json.loads(json.dumps(answer["memory"])))
    assert (back["gamma"], back["choice"].value, back["problem"]) == (9, "phantom-2", "")
    assert (back["session"].names, back["session"].at) == (answer["session"].names, 1)
    assert back["memory"] == answer["memory"]
    assert 'id="dots-23"' in back["dots"]
    assert back["result"] == answer["result"]


@pytest.mark.parametrize("memory", [None, 5, {}, {"version": 1}, {"version": 1, "names": {"given": [[99, 1]]}}])
def test_another_memory_starts_afresh(app, memory):
    restored = app.restore(memory)["session"]
    assert restored.names.given == {}
    assert restored.tile is app.first


def test_groups_must_be_meant(app, session):
    assert app.regroup(session.gamma, session) == {}
    assert app.regroup(0, session) == {}
    assert app.regroup(10**9, session) == {}


def bring(app, session, tmp_path, dictionary: PrototypeDictionary) -> dict:
    path = tmp_path / "own.safetensors"
    path.write_bytes(to_bytes(dictionary))
    answer = app.bring(str(path), session)
    assert not path.exists()
    return answer


def test_a_saved_dictionary_brings_its_names_back(app, session, tmp_path):
    named = act(app, session, ["key", 3, 1], ["name", 4, 2, 1], ["name", 7, -1, 1])["session"]
    name, content = unpack(app.save("dictionary", named)["packed"])
    assert name == "dictionary.safetensors"
    (tmp_path / name).write_bytes(content)
    other = act(app, session, ["key", 1, 1], ["name", 9, 1, 1])["session"]
    answer = app.bring(str(tmp_path / name), other)
    assert answer["session"].names.given == {0: 3, 4: 2}
    assert "names are back" in answer["problem"]
    assert act(app, answer["session"], ["undo", 1])["session"].names.given == {0: 1, 9: 1}


def test_any_other_dictionary_is_queried_as_it_is(app, session, tmp_path):
    session = act(app, session, ["key", 3, 1])["session"]
    foreign = PrototypeDictionary(app.samples.clusters.centers[:2] * 3, torch.tensor([0, 1]), ("cells <b>", "glass"))
    answer = bring(app, session, tmp_path, foreign)
    session, result = answer["session"], answer["result"]
    assert (answer["problem"], answer["own_names"].visible) == ("", True)
    assert "the dictionary you loaded" in result
    assert "cells &lt;b&gt;" in result
    assert "mean Dice" not in result  # of other classes than the truth's
    assert unpack(app.save("mask", session)["packed"])[0] == "mask.png"
    answer = app.own_names(session)
    assert answer["own_names"].visible is False
    assert "your dictionary" in answer["result"]
    assert "load it again" in app.restore(answer["memory"] | {"loaded": True, "tile": "phantom-1"})["problem"]


def test_a_dictionary_of_another_encoder_is_refused(app, session, tmp_path):
    answer = bring(app, session, tmp_path, PrototypeDictionary(torch.eye(8), torch.zeros(8).long(), ("fat",)))
    assert list(answer) == ["problem"]
    assert "another encoder" in answer["problem"]
    assert app.bring(None, session) == {}


def test_saving_says_what_is_missing(app, session):
    for kind in ("dictionary", "mask"):
        assert "at least one cluster" in app.save(kind, session)["problem"]
        assert app.save(kind, act(app, session, ["key", -1, 1])["session"])["packed"] == ""
    name, content = unpack(app.save("mask", act(app, session, ["key", 2, 1])["session"])["packed"])
    mask = np.asarray(Image.open(io.BytesIO(content)))
    assert name == "mask.png"
    assert mask.shape == app.first.size
    assert (mask == 2).all()


def image(tmp_path, size: tuple[int, int] = (90, 70)) -> str:
    path = tmp_path / "own.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size[::-1], 3)).astype(np.uint8)).save(path)
    return str(path)


def test_an_own_tile_is_queried(app, session, tmp_path):
    session = act(app, session, ["key", 3, 1])["session"]
    read = app.read(image(tmp_path), " 1,0 ")
    assert read["problem"] == ""
    assert not (tmp_path / "own.png").exists()
    answer = app.show(read["arrived"], session)
    assert answer["choice"].value == OWN
    assert ("Your tile", OWN) in answer["choice"].choices
    assert "truth-tile" not in answer["images"]
    assert "lymphocytes 100%" in answer["result"]
    assert "Truth" not in answer["result"]
    other = app.pick("phantom-1", answer["session"])["session"]
    assert other.tile.key == "phantom-1"
    assert app.pick(OWN, other)["session"].tile is read["arrived"]
    assert "upload it again" in app.restore(answer["memory"])["problem"]
    assert app.show(None, session) == {}
    assert app.pick(OWN, app.restore(None)["session"]) == {}


@pytest.mark.parametrize(
    ("size", "mpp", "said"),
    [
        ((90, 70), "100", "from 0.05 to 20"),
        ((90, 70), "-1", "from"),
        ((90, 70), "half", "from"),
        ((90, 70), "nan", "from"),
        ((90, 40), "", "64 on each side"),
    ],
)
def test_a_tile_that_cannot_be_used_is_explained(app, tmp_path, size, mpp, said):
    answer = app.read(image(tmp_path, size), mpp)
    assert answer["arrived"] is None
    assert said in answer["problem"]
    assert str(tmp_path) not in answer["problem"]


def test_visitors_share_nothing(app):
    one, other = (app.restore(None)["session"] for _ in range(2))
    act(app, one, ["key", 1, 1])
    assert other.names.given == {}
    assert act(app, other, ["next", 1])["session"].names.given == {}
