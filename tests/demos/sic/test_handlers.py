"""What the page of ``sic`` answers: messages, uploads, a visitor who comes back, and another one."""

from __future__ import annotations

import html
import json
import os
import re
import shutil

import numpy as np
import pytest

gr = pytest.importorskip("gradio", reason="the demos need gradio: pip install 'histolab-lite[demos]'")

from demos.bundle import FOLDER  # noqa: E402
from demos.sic import slides  # noqa: E402
from demos.sic.handlers import Arrived, Handlers  # noqa: E402
from demos.sic.samples import SLIDE  # noqa: E402
from demos.sic.session import Session  # noqa: E402
from demos.sic.tiles import Tiles  # noqa: E402
from demos.sic.turns import Turns  # noqa: E402
from histolab_lite.data.phantom.pyramid import write_pyramid  # noqa: E402
from histolab_lite.data.slides import Slide  # noqa: E402
from tests.demos.sic.planted import blobs  # noqa: E402


@pytest.fixture
def app(monkeypatch, tmp_path):
    def look(table):
        yield slides.Progress("Looking", 0.9)
        return np.zeros((len(table), 2), np.float32), np.zeros((len(table), 3), np.uint8)

    monkeypatch.setattr(slides, "look", look)
    monkeypatch.setenv("HISTOLAB_DATA", str(tmp_path))
    return Handlers(public=True, tiles=Tiles())


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    with Slide(FOLDER / SLIDE) as slide:
        return write_pyramid(slide.read(800, 1200, 768), 0.5, tmp_path_factory.mktemp("slide") / "small.tif", 80, 256)


@pytest.fixture
def upload(small, tmp_path):
    return lambda: str(shutil.copyfile(small, tmp_path / "upload.tif"))


ME = gr.Request(session_hash="mine", client={"host": "192.0.2.1", "port": 1})


def message(value) -> gr.SelectData:
    return gr.SelectData(None, {"index": 0, "value": value})


def act(app, session, serial, *events):
    return app.act(message(json.dumps({"serial": serial, "events": list(events)})), session)


def told(markup: str) -> dict:
    return json.loads(html.unescape(re.search('data-json="([^"]*)"', markup)[1]))


def last(work):
    """What a slow handler brought and said last, and the texts that it said on the way."""
    said = list(work)
    return said[-1]["arrived"], said[-1]["problem"], [bit["problem"] for bit in said]


def test_a_new_visitor_sees_the_phantom(app):
    answer = app.restore(None)
    session, state = answer["session"], told(answer["state"])
    assert answer["sample"] == session.slide.key == answer["memory"]["slide"] == "phantom"
    assert answer["names"] == "tumour, stroma, gland"
    assert "2,816 × 2,816 pixels, 1.4 × 1.4 mm" in answer["caption"]
    assert answer["problem"] == ""
    assert told(answer["data"])["layout"]["token"] == session.token
    assert state["seeds"] == []
    assert state["steps"] == []
    assert state["next"] in range(len(session.slide))


def test_seeds_and_their_result_come_back_after_a_refresh(app):
    session = app.restore(None)["session"]
    answer = act(app, session, 1, ["seed", 100, 0], ["seed", 900, 1])
    state = told(answer["state"])
    assert answer["problem"] == ""
    assert state["seeds"] == [[100, 0], [900, 1]]
    assert len(state["steps"]) >= 1
    again = told(app.restore(json.loads(json.dumps(answer["memory"])))["state"])
    assert again["seeds"] == [[100, 0], [900, 1]]
    assert again["steps"] == state["steps"]


def test_a_message_that_comes_twice_counts_once(app):
    session = app.restore(None)["session"]
    session = act(app, session, 1, ["seed", 100, 0])["session"]
    state = told(act(app, session, 1, ["seed", 100, 0])["state"])
    assert state["seeds"] == [[100, 0]]
    assert state["serial"] == 1


@pytest.mark.parametrize(
    "value", [None, 3, "", "{", "[]", '{"serial": "1", "events": []}', '{"serial": 1}', "[" * 10**5]
)
def test_a_message_that_cannot_be_meant_changes_nothing(app, value):
    session = app.restore(None)["session"]
    after = app.act(message(value), session)
    assert after["session"].work == session.work


def test_a_page_that_the_server_forgot_is_told_to_reload(app):
    assert "data-reload" in act(app, Session(), 1, ["undo"])["state"]
    assert "data-reload" in app.rename("a, b", Session())["state"]


def test_wrong_class_names_are_explained_and_the_old_ones_stay(app):
    session = app.restore(None)["session"]
    after = app.rename("only one", session)
    assert "Name 2 to" in after["problem"]
    assert after["session"].work == session.work
    assert [one["name"] for one in told(app.rename("a, <b>b", session)["state"])["classes"]] != ["a", "b"]


def test_an_upload_is_shown_and_leaves_with_its_visitor(app, upload):
    arrived, problem, texts = last(app.read(upload(), None, ME))
    assert problem == ""
    assert any("Embedding" in text for text in texts)
    session = app.show(arrived, app.restore(None)["session"])["session"]
    assert session.slide.title == "Your slide"
    assert app.tiles.tile(session.token, 0, 0, 0)
    app.leave(session)
    with pytest.raises(KeyError):
        app.tiles.layout(session.token)


def test_the_same_upload_is_not_prepared_twice_and_not_shared(app, upload):
    one, _, _ = last(app.read(upload(), None, ME))
    two, _, texts = last(app.read(upload(), None, ME))
    assert texts == [""]
    assert one.slide is two.slide
    assert one.token != two.token


def test_showing_another_slide_deletes_the_upload(app, upload):
    arrived, _, _ = last(app.read(upload(), None, ME))
    session = app.show(arrived, app.restore(None)["session"])["session"]
    phantom, _, _ = last(app.choose("phantom", ME))
    assert app.show(phantom, session)["session"].slide.key == "phantom"
    with pytest.raises(KeyError):
        app.tiles.layout(session.token)


def test_own_seeds_wait_for_the_same_file(app, upload):
    arrived, _, _ = last(app.read(upload(), None, ME))
    session = app.show(arrived, app.restore(None)["session"])["session"]
    back = app.restore(act(app, session, 1, ["seed", 7, 1])["memory"])
    assert "Upload the same file again" in back["problem"]
    assert back["session"].slide.key == "phantom"
    assert back["memory"]["slide"] == session.slide.key
    arrived, _, _ = last(app.read(upload(), None, ME))
    assert told(app.show(arrived, back["session"])["state"])["seeds"] == [[7, 1]]


@pytest.mark.parametrize("mpp", [None, 0, 0.25, 99, -1, "0.5"])
def test_a_bad_upload_is_explained_and_deleted(app, tmp_path, mpp):
    path = tmp_path / "secret.svs"
    path.write_bytes(b"II*\0 not a slide")
    arrived, problem, _ = last(app.read(str(path), mpp, ME))
    assert arrived is None
    assert 'role="alert"' in problem
    assert str(tmp_path) not in problem
    assert "secret" not in problem
    assert not path.exists()
    session = app.restore(None)["session"]
    assert app.show(arrived, session) == {}


def test_what_nobody_foresaw_is_a_sentence_too(app, upload, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(slides, "lay_grid", fail)
    work = app.read(upload(), None, ME)
    assert "Looking for tissue" in next(work)["problem"]
    assert "could not be prepared" in next(work)["problem"]
    with pytest.raises(MemoryError):
        next(work)


def test_an_upload_that_has_gone_is_explained(app):
    session = app.restore(None)["session"]
    assert "not kept any longer" in app.show(Arrived(blobs(), "gone"), session)["problem"]


def test_a_full_disk_is_a_sentence_and_nothing_is_left(app, upload, monkeypatch):
    path, copied = upload(), []

    def half(source, target):
        copied.append(target)
        target.write_bytes(b"half of it")
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(shutil, "move", half)
    arrived, problem, _ = last(app.read(path, None, ME))
    assert arrived is None
    assert "no room for this slide just now" in problem
    assert str(copied[0].parent) not in problem
    assert list(copied[0].parent.iterdir()) == []
    assert not os.path.exists(path)


def test_what_a_visitor_asks_for_last_is_what_comes(app, upload):
    path = upload()
    first = app.read(path, None, ME)
    assert "Looking" in next(first)["problem"]
    arrived, problem, _ = last(app.choose("phantom", ME))
    assert (arrived.slide.key, problem) == ("phantom", "")
    assert list(first) == []
    assert not os.path.exists(path)
    assert len(app.turns) == 0


def test_another_visitor_ends_nothing(app, upload):
    first = app.read(upload(), None, ME)
    next(first)
    last(app.choose("phantom", gr.Request(session_hash="mine", client={"host": "192.0.2.2", "port": 1})))
    assert last(first)[0].slide.title == "Your slide"


def test_where_many_slides_are_prepared_one_more_waits_outside(app, upload):
    app.turns = Turns(places=1)
    first = app.read(upload(), None, ME)
    next(first)
    other = gr.Request(session_hash="other", client={"host": "192.0.2.2", "port": 1})
    arrived, problem, _ = last(app.read(upload(), 0.51, other))
    assert arrived is None
    assert "Come back in some minutes" in problem
    first.close()
    assert len(app.turns) == 0


def test_who_waits_for_a_turn_is_told(app, upload):
    app.turns = Turns(patience=0.01)
    work = app.read(upload(), None, ME)
    next(work)
    app.turns._working = True
    assert "Looking for tissue, in turns with 0 other slides" in next(work)["problem"]
    app.turns._working = False
    assert last(work)[0].slide.title == "Your slide"


def test_a_slide_that_another_visitor_had_prepared_meanwhile_is_taken(app, upload, monkeypatch):
    key = []
    monkeypatch.setattr(app.cache, "get", lambda asked: key.append(asked) if len(key) < 3 else blobs())
    arrived, _, texts = last(app.read(upload(), None, ME))
    assert arrived.slide is blobs()
    assert len(texts) == 4
    assert len(app.turns) == 0


def test_an_unknown_sample_changes_nothing(app):
    assert list(app.choose("../etc", ME)) == [{"arrived": None, "problem": ""}]


def test_nothing_to_save_is_said(app):
    session = app.restore(None)["session"]
    assert "two classes" in app.save("h5ad", session)["problem"]
    session = act(app, session, 1, ["seed", 100, 0], ["seed", 900, 1])["session"]
    answer = app.save("geojson", session)
    assert answer["problem"] == ""
    assert json.loads(answer["packed"])["name"] == "seeds.geojson"


def test_two_visitors_never_mix(app):
    one, other = (app.restore(None)["session"] for _ in range(2))
    one = act(app, one, 1, ["seed", 100, 0])["session"]
    assert one.work.seeds == {100: 0}
    assert other.work.seeds == {}
    assert told(act(app, other, 1, ["seed", 5, 1])["state"])["seeds"] == [[5, 1]]
