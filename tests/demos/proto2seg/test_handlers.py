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

SKIP = gr.skip()
PANEL, PLANE, STOPWATCH, RESULT = 4, 5, 6, 7  # among the outputs of an edit


@pytest.fixture(scope="module")
def app():
    return Handlers(load())


@pytest.fixture
def session(app) -> Session:
    return app.restore(None)[4]


def act(app, session: Session, *events: list) -> list:
    value = json.dumps({"serial": session.serial + 1, "events": events})
    return app.act(SimpleNamespace(index=0, value=value), session)


def unpack(packed: str) -> tuple[str, bytes]:
    content = json.loads(packed)
    return content["name"], base64.b64decode(content["content"])


def test_a_name_becomes_a_mask(app, session):
    assert 'data-state="waiting"' in app.restore(None)[-2]
    session, memory, problem, gallery, panel, plane, stopwatch, result, _ = act(app, session, ["key", 3, 2.0])
    assert session.names.given == {0: 3}
    assert memory["names"]["given"] == [[0, 3]]
    assert (problem, gallery) == ("", SKIP)  # the same cluster: not sent again
    assert 'data-named="1"' in panel
    assert "Cluster 1 of 24: lymphocytes." in panel
    assert "Cluster 1 is outlined: lymphocytes." in plane
    assert 'data-own="2.00"' in stopwatch
    assert "lymphocytes 100%" in result
    gallery = act(app, session, ["next", 1.0])[3]
    assert "cluster 2" in gallery


def test_another_name_changes_the_mask_at_once(app, session):
    session = act(app, session, ["key", 3, 1], ["name", 1, 0, 1], ["name", 2, 5, 1])[0]
    before = app.result(session)
    assert act(app, session, ["go", 2])[RESULT] == SKIP
    after = act(app, session, ["name", 2, 1, 1])[RESULT]
    assert "normal gland" in before.split("DQ, place by place")[1].split('"')[0]
    assert "normal gland" not in after.split("DQ, place by place")[1].split('"')[0]
    assert act(app, act(app, session, ["name", 2, 1, 1])[0], ["undo", 1])[RESULT] == before


def test_a_message_that_comes_twice_counts_once(app, session):
    message = SimpleNamespace(index=0, value=json.dumps({"serial": 1, "events": [["key", 0, 1]]}))
    session = app.act(message, session)[0]
    again = app.act(message, session)
    assert [output for output in again if output != SKIP] == [views.panel(session)]


def test_a_restarted_server_lets_the_page_load_again(app):
    outputs = act(app, Session(), ["next", 1])
    assert "data-reload" in outputs[PANEL]
    assert len(outputs) == len(act(app, app.restore(None)[4], ["next", 1]))
    for handler in (app.start_over, app.own_names):
        assert handler(Session()) == [SKIP] * len(outputs)
    assert app.save("dictionary", Session())[0] == ""


def test_a_refresh_brings_names_tile_and_groups_back(app, session):
    session = act(app, session, ["key", 3, 1], ["next", 1])[0]
    session = app.pick("phantom-2", session)[1]
    session, memory, result = app.regroup(9, session)
    dots, gamma, choice, _, again, kept, problem, *_ = app.restore(json.loads(json.dumps(memory)))
    assert (gamma, choice.value, problem) == (9, "phantom-2", "")
    assert (again.names, again.at, kept) == (session.names, 1, memory)
    assert 'id="dots-23"' in dots
    assert app.restore(memory)[-2] == result


@pytest.mark.parametrize("memory", [None, 5, {}, {"version": 1}, {"version": 1, "names": {"given": [[99, 1]]}}])
def test_another_memory_starts_afresh(app, memory):
    restored = app.restore(memory)
    assert restored[4].names.given == {}
    assert restored[4].tile is app.first


def test_groups_must_be_meant(app, session):
    assert app.regroup(session.gamma, session) == [SKIP] * 3
    assert app.regroup(0, session) == [SKIP] * 3
    assert app.regroup(10**9, session) == [SKIP] * 3


def bring(app, session, tmp_path, dictionary: PrototypeDictionary) -> list:
    path = tmp_path / "own.safetensors"
    path.write_bytes(to_bytes(dictionary))
    outputs = app.bring(str(path), session)
    assert not path.exists()
    return outputs


def test_a_saved_dictionary_brings_its_names_back(app, session, tmp_path):
    named = act(app, session, ["key", 3, 1], ["name", 4, 2, 1], ["name", 7, -1, 1])[0]
    name, content = unpack(app.save("dictionary", named)[0])
    assert name == "dictionary.safetensors"
    (tmp_path / name).write_bytes(content)
    other = act(app, session, ["key", 1, 1], ["name", 9, 1, 1])[0]
    outputs = app.bring(str(tmp_path / name), other)
    assert outputs[0].names.given == {0: 3, 4: 2}
    assert "names are back" in outputs[2]
    assert act(app, outputs[0], ["undo", 1])[0].names.given == {0: 1, 9: 1}


def test_any_other_dictionary_is_queried_as_it_is(app, session, tmp_path):
    session = act(app, session, ["key", 3, 1])[0]
    foreign = PrototypeDictionary(app.samples.clusters.centers[:2] * 3, torch.tensor([0, 1]), ("cells <b>", "glass"))
    session, _, problem, _, _, _, _, result, button = bring(app, session, tmp_path, foreign)
    assert (problem, button.visible) == ("", True)
    assert "the dictionary you loaded" in result
    assert "cells &lt;b&gt;" in result
    assert "mean Dice" not in result  # of other classes than the truth's
    assert unpack(app.save("mask", session)[0])[0] == "mask.png"
    assert "load it again" in app.restore(app.own_names(session)[1] | {"loaded": True, "tile": "phantom-1"})[6]
    session, *_, result, button = app.own_names(session)
    assert button.visible is False
    assert "your dictionary" in result


def test_a_dictionary_of_another_encoder_is_refused(app, session, tmp_path):
    outputs = bring(app, session, tmp_path, PrototypeDictionary(torch.eye(8), torch.zeros(8).long(), ("fat",)))
    assert "another encoder" in outputs[2]
    assert outputs[0] == SKIP
    assert app.bring(None, session) == [SKIP] * len(outputs)


def test_saving_says_what_is_missing(app, session):
    for kind in ("dictionary", "mask"):
        assert "at least one cluster" in app.save(kind, session)[1]
        assert app.save(kind, act(app, session, ["key", -1, 1])[0])[0] == ""
    name, content = unpack(app.save("mask", act(app, session, ["key", 2, 1])[0])[0])
    mask = np.asarray(Image.open(io.BytesIO(content)))
    assert name == "mask.png"
    assert mask.shape == app.first.size
    assert (mask == 2).all()


def picture(tmp_path, size: tuple[int, int] = (90, 70)) -> str:
    path = tmp_path / "own.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size[::-1], 3)).astype(np.uint8)).save(path)
    return str(path)


def test_an_own_tile_is_queried(app, session, tmp_path):
    session = act(app, session, ["key", 3, 1])[0]
    tile, problem = app.read(picture(tmp_path), " 1,0 ")
    assert problem == ""
    assert not (tmp_path / "own.png").exists()
    choice, session, memory, images, result = app.show(tile, session)
    assert choice.value == OWN
    assert ("Your tile", OWN) in choice.choices
    assert "truth-tile" not in images
    assert "lymphocytes 100%" in result
    assert "Truth" not in result
    assert app.pick("phantom-1", session)[1].tile.key == "phantom-1"
    assert app.pick(OWN, app.pick("phantom-1", session)[1])[1].tile is tile
    assert "upload it again" in app.restore(memory)[6]
    assert app.show(None, session) == [SKIP] * 5
    assert app.pick(OWN, app.restore(None)[4]) == [SKIP] * 5


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
    tile, problem = app.read(picture(tmp_path, size), mpp)
    assert tile is None
    assert said in problem
    assert str(tmp_path) not in problem


def test_visitors_share_nothing(app):
    one, other = app.restore(None)[4], app.restore(None)[4]
    act(app, one, ["key", 1, 1])
    assert other.names.given == {}
    assert act(app, other, ["next", 1])[0].names.given == {}
