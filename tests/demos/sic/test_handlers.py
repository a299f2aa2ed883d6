"""The handlers of the page: messages, uploads, a visitor who comes back, and another one."""

import html
import json
import os
import re
import shutil
from functools import cache

import gradio as gr
import pytest

from demos.bundle import FOLDER
from demos.sic import handlers, slides
from demos.sic.handlers import Arrived, Handlers
from demos.sic.samples import SLIDE, Sample, load_phantom
from demos.sic.session import Session
from demos.sic.tiles import Tiles
from demos.sic.turns import Turns
from histolab_lite.data.phantom.pyramid import write_pyramid
from histolab_lite.data.slides import Slide
from tests.demos.saved import unpack
from tests.demos.sic.planted import blobs

PHANTOM = cache(load_phantom)


@pytest.fixture
def app(monkeypatch, tmp_path, no_umap):
    monkeypatch.setenv("HISTOLAB_DATA", str(tmp_path))
    monkeypatch.setattr(handlers, "load_phantom", PHANTOM)
    return Handlers(public=True, tiles=Tiles())


@pytest.fixture
def session(app):
    return app.restore(None)["session"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    with Slide(FOLDER / SLIDE) as slide:
        return write_pyramid(slide.read(800, 1200, 512), 0.5, tmp_path_factory.mktemp("slide") / "small.tif", 80, 256)


@pytest.fixture
def upload(small, tmp_path):
    return lambda: str(shutil.copyfile(small, tmp_path / "upload.tif"))


ME, OTHER = (gr.Request(session_hash="mine", client={"host": f"192.0.2.{number}", "port": 1}) for number in (1, 2))


def send(app, session, value) -> dict:
    return app.act(gr.SelectData(None, {"index": 0, "value": value}), session)


def act(app, session, serial, *events) -> dict:
    return send(app, session, json.dumps({"serial": serial, "events": list(events)}))


def told(markup: str) -> dict:
    return json.loads(html.unescape(re.search('data-json="([^"]*)"', markup)[1]))


def last(work):
    """What a slow handler brought and said last, and all that it said."""
    said = list(work)
    return said[-1]["arrived"], said[-1]["problem"], [one["problem"] for one in said]


def test_a_new_visitor_sees_the_phantom(app):
    answer = app.restore(None)
    session, state, data = answer["session"], told(answer["state"]), told(answer["data"])
    assert answer["sample"] == session.slide.key == answer["memory"]["slide"] == "phantom"
    assert (answer["names"], answer["problem"]) == ("tumour, stroma, gland", "")
    assert "2,816 × 2,816 pixels, 1.4 × 1.4 mm" in answer["caption"]
    assert (data["layout"]["token"], data["mpp"], data["pitch"]) == (session.token, 0.5, 64)
    assert (state["seeds"], state["steps"]) == ([], [])
    assert state["next"] in range(len(session.slide))


def test_seeds_and_their_result_come_back_after_a_reload(app, session):
    answer = act(app, session, 1, ["seed", 100, 0], ["seed", 900, 1])
    state = told(answer["state"])
    assert (answer["problem"], state["seeds"], state["undo"]) == ("", [[100, 0], [900, 1]], True)
    assert [one["seeds"] for one in state["classes"]] == [1, 1, 0]
    assert len(state["steps"]) >= 1
    again = told(app.restore(json.loads(json.dumps(answer["memory"])))["state"])
    assert (again["seeds"], again["steps"]) == (state["seeds"], state["steps"])


def test_a_message_that_comes_twice_counts_once_and_visitors_never_mix(app, session):
    other = app.restore(None)["session"]
    for _ in range(2):
        answer = act(app, session, 1, ["seed", 100, 0])
        session = answer["session"]
        assert (told(answer["state"])["seeds"], told(answer["state"])["serial"]) == ([[100, 0]], 1)
    assert told(act(app, other, 1, ["seed", 5, 1])["state"])["seeds"] == [[5, 1]]


def test_an_invalid_message_or_name_changes_nothing(app, session):
    for value in (None, 3, "", "{", "[]", '{"serial": "1", "events": []}', '{"serial": 1}', "[" * 10**5):
        assert send(app, session, value)["session"].work == session.work
    for names in ("only one", None, "a, <b>b"):
        after = app.rename(names, session)
        assert 'role="alert"' in after["problem"]
        assert after["session"].work == session.work
    assert [one["name"] for one in told(app.rename("a, b", session)["state"])["classes"]] == ["a", "b"]


def test_a_page_that_a_restarted_server_does_not_know_is_reloaded(app):
    assert "data-reload" in act(app, Session(), 1, ["undo"])["state"]
    assert "data-reload" in app.rename("a, b", Session())["state"]
    assert app.save("h5ad", Session()) == {"packed": ""}


def test_an_upload_is_shown_and_deleted_with_its_session_or_by_another_slide(app, session, upload):
    phantom, _, _ = last(app.choose("phantom", ME))
    for leave in (lambda shown: app.show(phantom, shown), app.leave):
        arrived, problem, texts = last(app.read(upload(), None, ME))
        shown = app.show(arrived, session)
        assert (problem, shown["sample"], shown["session"].slide.title) == ("", None, "Your slide")
        assert app.tiles.layout(arrived.token)
        leave(shown["session"])
        assert "not kept any longer" in app.show(arrived, session)["problem"]
    assert texts == [""]  # the same file is not prepared twice
    assert "not kept any longer" in app.show(Arrived(blobs(), "unknown"), session)["problem"]


def test_the_same_file_has_a_token_per_visitor_and_is_prepared_again_with_another_scale(app, upload):
    one, other, finer = (last(app.read(upload(), mpp, ME))[0] for mpp in (None, None, "0,4"))
    assert one.slide is other.slide
    assert one.token != other.token
    assert (one.slide.table.slide_mpp, finer.slide.table.slide_mpp) == (0.5, 0.4)


def test_seeds_wait_for_the_same_slide(app, session, upload, small):
    app.samples["skin"] = Sample("skin", "Skin (slow)", small, "A caption.", None, ("a", "b"))
    assert app.choices == [("Phantom slide", "phantom"), ("Skin (slow)", "skin")]
    for work, title, problem in (
        (lambda: app.read(upload(), None, ME), "Your slide", "Upload the same file again"),
        (lambda: app.choose("skin", ME), "Skin", "Choose “Skin (slow)” again"),
    ):
        arrived, _, texts = last(work())
        assert any("Embedding" in text for text in texts)
        shown = app.show(arrived, session)["session"]
        assert shown.slide.title == title
        memory = act(app, shown, 1, ["seed", 7, 1])["memory"]
        app.cache = slides.SlideCache()
        back = app.restore(memory)
        assert problem in back["problem"]
        assert (back["session"].slide.key, back["memory"]["slide"]) == ("phantom", shown.slide.key)
        again = app.show(last(work())[0], back["session"])
        assert told(again["state"])["seeds"] == [[7, 1]]
    assert app.restore(memory)["session"].slide.key == "skin"  # a sample that is prepared already
    assert small.exists()
    assert list(app.choose("../etc", ME)) == [{"arrived": None, "problem": ""}]


@pytest.mark.parametrize("mpp", [None, 0, 0.25, 99, -1, "0.5"])
def test_a_bad_upload_is_explained_and_deleted(app, session, tmp_path, mpp):
    path = tmp_path / "secret.svs"
    path.write_bytes(b"II*\0 not a slide")
    arrived, problem, _ = last(app.read(str(path), mpp, ME))
    assert 'role="alert"' in problem
    assert ("scale is a number" in problem) == (mpp in (99, -1))
    assert not any(word in problem for word in (str(tmp_path), "secret"))
    assert not path.exists()
    assert "did not arrive" in last(app.read(str(path), None, ME))[1]
    assert app.show(arrived, session) == {}
    assert list(app.read(None, None, ME)) == [{"arrived": None, "problem": ""}]


def test_an_unexpected_error_is_a_sentence_too(app, upload, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(slides, "lay_grid", fail)
    work = app.read(upload(), None, ME)
    for said in ("Looking for tissue", "could not be prepared"):
        assert said in next(work)["problem"]
    with pytest.raises(MemoryError):
        next(work)
    assert len(app.turns) == 0


def test_a_full_disk_is_a_sentence_and_nothing_is_left(app, upload, monkeypatch):
    path, folders = upload(), []

    def half(source, target):
        folders.append(target.parent)
        target.write_bytes(b"half of it")
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(shutil, "move", half)
    arrived, problem, _ = last(app.read(path, None, ME))
    assert (arrived, list(folders[0].iterdir()), os.path.exists(path)) == (None, [], False)
    assert "no room for this slide now" in problem
    assert str(folders[0]) not in problem


def test_a_visitors_new_request_ends_the_old_one_but_not_another_visitors(app, upload):
    path = upload()
    mine = app.read(path, None, ME)
    assert "Looking" in next(mine)["problem"]
    last(app.choose("phantom", OTHER))
    assert "Embedding" in next(mine)["problem"]
    arrived, problem, _ = last(app.choose("phantom", ME))
    assert (arrived.slide.key, problem) == ("phantom", "")
    assert (list(mine), os.path.exists(path), len(app.turns)) == ([], False, 0)


def test_a_visitor_without_a_turn_or_a_place_is_told(app, upload):
    app.turns = Turns(places=1, patience=0.01)
    work = app.read(upload(), None, ME)
    next(work)
    app.turns._working = True
    assert "Looking for tissue, taking turns with 0 other slides" in next(work)["problem"]
    app.turns._working = False
    arrived, problem, _ = last(app.read(upload(), 0.51, OTHER))
    assert arrived is None
    assert "Try again in a few minutes" in problem
    work.close()
    assert len(app.turns) == 0


def test_a_slide_that_is_prepared_for_another_visitor_meanwhile_is_taken(app, upload, monkeypatch):
    asked = []
    monkeypatch.setattr(app.cache, "get", lambda key: asked.append(key) if len(asked) < 3 else blobs())
    arrived, _, texts = last(app.read(upload(), None, ME))
    assert arrived.slide is blobs()
    assert (len(texts), len(app.turns)) == (4, 0)


def test_files_are_saved_once_there_are_seeds_of_two_classes(app, session):
    assert "two classes" in app.save("h5ad", session)["problem"]
    session = act(app, session, 1, ["seed", 100, 0], ["seed", 900, 1])["session"]
    for kind, name in {"geojson": "seeds.geojson", "h5ad": "seeds.h5ad", "labels": "seeds.ome.tif"}.items():
        answer = app.save(kind, session)
        assert (answer["problem"], unpack(answer["packed"])[0]) == ("", name)
