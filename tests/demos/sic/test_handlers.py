"""The handlers of the page: messages, uploads, a visitor who comes back, and another one."""

import html
import json
import os
import re
import shutil

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

PHANTOM = load_phantom()


@pytest.fixture
def app(monkeypatch, tmp_path, no_umap):
    monkeypatch.setenv("HISTOLAB_DATA", str(tmp_path))
    monkeypatch.setattr(handlers, "load_phantom", lambda: PHANTOM)
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


def visitor(number: int = 1) -> gr.Request:
    return gr.Request(session_hash="mine", client={"host": f"192.0.2.{number}", "port": 1})


ME = visitor()


def act(app, session, serial, *events):
    value = json.dumps({"serial": serial, "events": list(events)})
    return app.act(gr.SelectData(None, {"index": 0, "value": value}), session)


def told(markup: str) -> dict:
    return json.loads(html.unescape(re.search('data-json="([^"]*)"', markup)[1]))


def last(work):
    """What a slow handler brought and said last, and all that it said."""
    said = list(work)
    return said[-1]["arrived"], said[-1]["problem"], [one["problem"] for one in said]


def is_kept(app, token: str) -> bool:
    try:
        return bool(app.tiles.layout(token))
    except KeyError:
        return False


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


@pytest.mark.parametrize(
    "value", [None, 3, "", "{", "[]", '{"serial": "1", "events": []}', '{"serial": 1}', "[" * 10**5]
)
def test_an_invalid_message_changes_nothing(app, session, value):
    after = app.act(gr.SelectData(None, {"index": 0, "value": value}), session)
    assert after["session"].work == session.work


def test_a_page_that_a_restarted_server_does_not_know_is_reloaded(app):
    assert "data-reload" in act(app, Session(), 1, ["undo"])["state"]
    assert "data-reload" in app.rename("a, b", Session())["state"]
    assert app.save("h5ad", Session()) == {"packed": ""}


def test_bad_class_names_are_explained_and_the_old_ones_stay(app, session):
    for names in ("only one", None, "a, <b>b"):
        after = app.rename(names, session)
        assert 'role="alert"' in after["problem"]
        assert after["session"].work == session.work
    assert [one["name"] for one in told(app.rename("a, b", session)["state"])["classes"]] == ["a", "b"]


def test_an_upload_is_shown_and_leaves_with_its_visitor(app, session, upload):
    arrived, problem, texts = last(app.read(upload(), None, ME))
    assert problem == ""
    assert any("Embedding" in text for text in texts)
    shown = app.show(arrived, session)
    assert (shown["sample"], shown["session"].slide.title) == (None, "Your slide")
    phantom, _, _ = last(app.choose("phantom", ME))
    assert is_kept(app, arrived.token)
    assert app.show(phantom, shown["session"])["session"].slide.key == "phantom"
    assert not is_kept(app, arrived.token)  # another slide is shown now
    arrived, _, _ = last(app.read(upload(), None, ME))
    app.leave(app.show(arrived, session)["session"])
    assert not is_kept(app, arrived.token)
    assert "not kept any longer" in app.show(arrived, session)["problem"]
    assert "not kept any longer" in app.show(Arrived(blobs(), "unknown"), session)["problem"]


def test_the_same_upload_is_not_prepared_twice_unless_with_another_scale(app, upload):
    one, _, _ = last(app.read(upload(), None, ME))
    two, _, texts = last(app.read(upload(), None, ME))
    other, _, _ = last(app.read(upload(), "0,51", ME))
    assert texts == [""]
    assert one.slide is two.slide
    assert one.token != two.token
    assert other.slide.table.slide_mpp == 0.51


def test_own_seeds_wait_for_the_same_file(app, session, upload):
    arrived, _, _ = last(app.read(upload(), None, ME))
    session = app.show(arrived, session)["session"]
    back = app.restore(act(app, session, 1, ["seed", 7, 1])["memory"])
    assert "Upload the same file again" in back["problem"]
    assert (back["session"].slide.key, back["memory"]["slide"]) == ("phantom", session.slide.key)
    arrived, _, _ = last(app.read(upload(), None, ME))
    assert told(app.show(arrived, back["session"])["state"])["seeds"] == [[7, 1]]


def test_a_sample_is_prepared_once_and_its_seeds_wait_for_it(app, session, small):
    app.samples["skin"] = Sample("skin", "Skin (slow)", small, "A caption.", None, ("a", "b"))
    assert app.choices == [("Phantom slide", "phantom"), ("Skin (slow)", "skin")]
    arrived, _, _ = last(app.choose("skin", ME))
    session = app.show(arrived, session)["session"]
    assert (session.slide.title, session.work.classes) == ("Skin", ("a", "b"))
    memory = act(app, session, 1, ["seed", 7, 1])["memory"]
    assert app.restore(memory)["session"].slide is arrived.slide
    app.cache = slides.SlideCache()
    back = app.restore(memory)
    assert "Choose “Skin (slow)” again" in back["problem"]
    assert (back["session"].slide.key, back["memory"]["slide"]) == ("phantom", "skin")
    assert os.path.exists(small)
    assert list(app.choose("../etc", ME)) == [{"arrived": None, "problem": ""}]


@pytest.mark.parametrize("mpp", [None, 0, 0.25, 99, -1, "0.5"])
def test_a_bad_upload_is_explained_and_deleted(app, session, tmp_path, mpp):
    path = tmp_path / "secret.svs"
    path.write_bytes(b"II*\0 not a slide")
    arrived, problem, _ = last(app.read(str(path), mpp, ME))
    assert arrived is None
    assert 'role="alert"' in problem
    assert ("scale is a number" in problem) == (mpp in (99, -1))
    assert str(tmp_path) not in problem
    assert "secret" not in problem
    assert not path.exists()
    assert "did not arrive" in last(app.read(str(path), None, ME))[1]
    assert app.show(arrived, session) == {}
    assert list(app.read(None, None, ME)) == [{"arrived": None, "problem": ""}]


def test_an_unexpected_error_is_a_sentence_too(app, upload, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(slides, "lay_grid", fail)
    work = app.read(upload(), None, ME)
    assert "Looking for tissue" in next(work)["problem"]
    assert "could not be prepared" in next(work)["problem"]
    with pytest.raises(MemoryError):
        next(work)
    assert len(app.turns) == 0


def test_a_full_disk_is_a_sentence_and_nothing_is_left(app, upload, monkeypatch):
    path, copied = upload(), []

    def half(source, target):
        copied.append(target)
        target.write_bytes(b"half of it")
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(shutil, "move", half)
    arrived, problem, _ = last(app.read(path, None, ME))
    folder = copied[0].parent
    assert arrived is None
    assert "no room for this slide now" in problem
    assert str(folder) not in problem
    assert list(folder.iterdir()) == []
    assert not os.path.exists(path)


def test_a_visitors_new_request_ends_the_old_one_but_not_another_visitors(app, upload):
    path = upload()
    mine = app.read(path, None, ME)
    assert "Looking" in next(mine)["problem"]
    last(app.choose("phantom", visitor(2)))
    assert "Embedding" in next(mine)["problem"]
    arrived, problem, _ = last(app.choose("phantom", ME))
    assert (arrived.slide.key, problem) == ("phantom", "")
    assert list(mine) == []
    assert not os.path.exists(path)
    assert len(app.turns) == 0


def test_one_slide_too_many_is_refused_and_closing_gives_up_the_place(app, upload):
    app.turns = Turns(places=1)
    first = app.read(upload(), None, ME)
    next(first)
    arrived, problem, _ = last(app.read(upload(), 0.51, visitor(2)))
    assert arrived is None
    assert "Try again in a few minutes" in problem
    first.close()
    assert len(app.turns) == 0


def test_a_visitor_who_waits_for_a_turn_is_told(app, upload):
    app.turns = Turns(patience=0.01)
    work = app.read(upload(), None, ME)
    next(work)
    app.turns._working = True
    assert "Looking for tissue, taking turns with 0 other slides" in next(work)["problem"]
    app.turns._working = False
    assert last(work)[0].slide.title == "Your slide"


def test_a_slide_that_is_prepared_for_another_visitor_meanwhile_is_taken(app, upload, monkeypatch):
    asked = []
    monkeypatch.setattr(app.cache, "get", lambda key: asked.append(key) if len(asked) < 3 else blobs())
    arrived, _, texts = last(app.read(upload(), None, ME))
    assert arrived.slide is blobs()
    assert len(texts) == 4
    assert len(app.turns) == 0


def test_files_are_saved_once_there_are_seeds_of_two_classes(app, session):
    assert "two classes" in app.save("h5ad", session)["problem"]
    session = act(app, session, 1, ["seed", 100, 0], ["seed", 900, 1])["session"]
    for kind, name in {"geojson": "seeds.geojson", "h5ad": "seeds.h5ad", "labels": "seeds.ome.tif"}.items():
        answer = app.save(kind, session)
        assert (answer["problem"], unpack(answer["packed"])[0]) == ("", name)
