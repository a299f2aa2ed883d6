"""Handlers change a visitor's session: errors become sentences, old clicks are dropped, nothing is shared."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from demos.cvm.handlers import Handlers, choices, class_names
from demos.cvm.images import Prepared, PreparedCache, make_image
from demos.cvm.session import Session, to_memory

SETTINGS = (0.6, 10, 0.1, 1, "inside", "tissue 2", "tissue 3")
CHOOSING_OUTSIDE = (*SETTINGS[:3], 0, *SETTINGS[4:])
SAMPLE = make_image(np.full((64, 64, 3), 90, np.uint8), "sample", "Sample", mpp=0.5)
SECOND = make_image(np.full((64, 64, 3), 90, np.uint8), "second", "Second", caption="<i>Source</i>")


def fake(image):
    """Left and right halves are two tissues."""
    features = torch.zeros(2, 16, 16)
    features[0, :, :8] = features[1, :, 8:] = 1
    return Prepared(features, np.ones(image.view.shape[:2], bool))


@pytest.fixture
def app():
    app = Handlers({"sample": SAMPLE, "second": SECOND})
    app.prepared = PreparedCache(10**9, fake)
    app.prepared(SAMPLE)
    return app


def event(x, y, image="sample"):
    return SimpleNamespace(index=[x, y], value=image)


def test_two_clicks_make_an_outline(app):
    answer = app.click(event(10, 20), Session().show(SAMPLE), *SETTINGS)
    assert answer["session"].points == [(1, 20, 10)]
    assert answer["memory"] == to_memory(answer["session"])
    assert (answer["problem"], answer["awaited"]) == ("", "")
    assert "data-point" in answer["main"]
    answer = app.click(event(50, 20), answer["session"], *CHOOSING_OUTSIDE)
    assert answer["session"].points == [(1, 20, 10), (0, 20, 50)]
    assert 'class="heat"' in answer["contrast"]
    share = re.search(r'data-class="1" data-share="([^"]*)"', answer["numbers"])[1]
    assert 0.4 <= float(share) < 0.6
    for session in (Session().show(SECOND), Session()):  # a click on the image that was shown before
        assert app.click(event(10, 20, "sample"), session, *SETTINGS)["session"] == session


def test_what_cannot_be_done_is_explained_and_changes_nothing(app):
    session, settings = Session().show(SAMPLE), SETTINGS
    one_sided = session.add(1, 1, 1)
    for before, answer, message in (
        (session, app.add(session, 64, 0, *settings), "lies off the image"),
        (session, app.add(session, None, 3, *settings), "both numbers"),
        (session, app.add(session, 3, None, *settings), "both numbers"),
        (Session(), app.add(Session(), 3, 4, *settings), "Choose an image"),
        (session, app.scale(session, 3000, *settings), "0.01 and 100"),
        (session, app.scale(session, -1, *settings), "0.01 and 100"),
        (one_sided, app.export("mask", one_sided, 0.5, *settings), "no outline yet"),
    ):
        assert message in answer["problem"]
        assert answer.get("session", before) == before
        assert answer.get("packed", "") == ""


def test_files_are_saved_of_an_outline(app):
    session = app.add(Session().show(SAMPLE), 10, 20, *SETTINGS)["session"].add(0, 20, 50)
    assert session.points == [(1, 20, 10), (0, 20, 50)]
    for kind, name in (("qupath", "outlines.geojson"), ("mask", "mask.png"), ("figure", "outline.png")):
        answer = app.export(kind, session, 0.5, *SETTINGS)
        assert name in answer["packed"]
        assert answer["problem"] == ""


def test_clicks_come_before_the_features(app):
    answer = app.click(event(1, 1, "second"), Session().show(SECOND), *SETTINGS)
    awaited, session = answer["awaited"], answer["session"]
    assert awaited
    assert "data-point" in answer["main"]
    assert "You can click already" in answer["numbers"]
    app.look(awaited, session)
    after = app.refresh(awaited, session, *SETTINGS)
    assert after["awaited"] == ""
    assert "You can click already" not in after["numbers"]
    assert app.refresh("", session, *SETTINGS) == {}


def test_a_refresh_brings_a_sample_back_and_asks_for_an_own_image_again(app):
    answer = app.restore(to_memory(Session().show(SECOND).add(3, 5, 6)), *SETTINGS)
    assert (answer["sample"], answer["count"]) == ("second", 3)
    assert answer["session"].points == [(3, 5, 6)]
    assert "&lt;i&gt;Source" in answer["caption"]
    own = make_image(np.zeros((40, 40, 3), np.uint8), "digest", "<b>Your image")
    memory = to_memory(Session().show(own).add(1, 5, 6))
    answer = app.restore(memory, *SETTINGS)
    assert (answer["sample"], answer["memory"]) == ("sample", memory)
    assert "&lt;b&gt;Your image is not kept here. Upload the same file again" in answer["problem"]
    assert app.show(own, answer["session"], *SETTINGS)["session"].points == [(1, 5, 6)]
    for memory in (None, 3, {}, {"version": 1, "image": "gone", "title": 5, "actions": {"gone": [1]}}):
        answer = app.restore(memory, *SETTINGS)
        assert (answer["sample"], answer["count"], answer["problem"]) == ("sample", 1, "")


def test_uploads_are_read_or_explained(app, tmp_path):
    path = tmp_path / "own.png"
    Image.new("RGB", (50, 40)).save(path)
    answer = app.read(str(path))
    assert (answer["arrived"].size, answer["problem"]) == ((40, 50), "")
    assert not path.exists()  # nothing of a visitor stays on the disk
    path.write_text("no image")
    answer = app.read(str(path))
    assert answer["arrived"] is None
    assert 'role="alert"' in answer["problem"]
    assert app.show(None, Session(), *SETTINGS) == {}


def test_names_choices_and_scale(app):
    session = app.scale(Session().show(SECOND), 0.4, *SETTINGS)["session"]
    assert (session.image.mpp, SECOND.mpp) == (0.4, None), "changed for one visitor"
    assert app.scale(session, None, *SETTINGS)["session"].image.mpp is None
    assert class_names(["  Tumour ", "", None]) == ["outside", "Tumour", "tissue 2", "tissue 3"]
    assert len(class_names(["x" * 500, "", ""])[1]) == 40
    assert choices(2, "a", "b", "c") == [("● a", 1), ("■ b", 2), ("✕ outside", 0)]
