"""The handlers of the page: tags kept or refused, errors in sentences, nothing shared between visitors."""

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from demos.mlps.handlers import Handlers
from demos.mlps.label_file import LabelFile
from demos.mlps.log import Log, to_lines
from demos.mlps.results import answer as all_answers
from demos.mlps.session import Session, new_key
from tests.demos.mlps.planted import HEADER, Networks, logged, patches
from tests.demos.saved import unpack

ANSWERS = all_answers(Networks(), patches())


def make(labels: Path | None = None) -> Handlers:
    """Handlers after a start of the server. labels: the file of tags."""
    app = Handlers(ANSWERS.patches, LabelFile(labels) if labels else None)
    app.networks, app.answers = Networks(), ANSWERS
    return app


@pytest.fixture
def app():
    return make()


@pytest.fixture
def labels(tmp_path):
    return tmp_path / "tags.jsonl"


@pytest.fixture
def saved(tmp_path):
    """Writes a log that a visitor loads; the path."""

    def write(log: Log | bytes) -> str:
        (tmp_path / "log.jsonl").write_bytes(log if isinstance(log, bytes) else to_lines(log))
        return str(tmp_path / "log.jsonl")

    return write


@pytest.fixture
def image(tmp_path):
    """Writes an image that a visitor uploads, of two patches of 112 pixels; the path."""

    def write() -> str:
        pixels = np.random.default_rng(0).integers(60, 200, (120, 240, 3)) // (1, 3, 1)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "own.png")
        return str(tmp_path / "own.png")

    return write


def start(app: Handlers) -> Session:
    return Session(new_key()).show(app.sample)


def message(value: object) -> SimpleNamespace:
    return SimpleNamespace(index=0, value=value)


def send(app: Handlers, session: Session, *events: list) -> dict:
    return app.act(message(json.dumps({"serial": session.serial + 1, "events": events})), session)


def tag(app: Handlers, session: Session, *events: list) -> Session:
    return send(app, session, *events)["session"]


def test_a_tag_is_shown_kept_and_back_after_a_reload(app):
    answer = send(app, start(app), ["toggle", 1, 1.0])
    assert answer["problem"] == ""
    assert "patch" not in answer  # the patch in view is not sent again
    for part in ('data-serial="1"', 'data-class="tumour" data-state="there"', "There: tumour."):
        assert part in answer["panel"]
    answer = send(app, answer["session"], ["next", 1.0], ["toggle", 2, 1.0])
    assert 'data-patch="1"' in answer["patch"]
    assert "1 done" in answer["panel"]
    again = app.restore(answer["memory"])
    session = again["session"]
    assert (session.log, session.at, session.key) == (answer["session"].log, 1, answer["session"].key)
    assert (session.log.tagged(0), session.log.tagged(1)) == (["tumour"], ["lymphocytes"])
    assert (again["problem"], again["memory"], again["patch"]) == ("", answer["memory"], answer["patch"])


def test_invalid_repeated_and_forgotten_messages_do_nothing(app):
    for value in (None, "", "[]", "{}", '{"serial": "1", "events": []}', '{"serial": 1}', "[" * 9999):
        assert list(app.act(message(value), start(app))) == ["panel"]
    first = message('{"serial": 1, "events": [["toggle", 0, 1.0]]}')
    session = app.act(first, start(app))["session"]
    assert list(app.act(first, session)) == ["panel"]
    assert tag(app, session, ["toggle", 0, 1.0]).log.value(0, "stroma") is False
    answer = send(app, Session(), ["next", 1])  # after a restart the server does not know the page
    assert list(answer) == ["panel"]
    assert "data-reload" in answer["panel"]
    assert app.start_over(Session()) == {}


def test_with_a_file_the_browser_keeps_only_the_session(labels, saved):
    memory = send(make(labels), start(make()), ["toggle", 1, 1], ["next", 1])["memory"]
    assert memory["logs"] == []
    app = make(labels)
    session = app.restore(memory)["session"]
    assert (session.log.tagged(0), session.log.done) == (["tumour"], [0])
    session = tag(app, session, ["toggle", 0, 1])
    assert make(labels).restore(memory)["session"].log.tagged(1) == ["stroma"]
    assert make(labels).restore(None)["session"].log.records == ()  # another visitor
    assert labels.read_text().count('"tags"') == 1  # one header
    session = app.bring(saved(logged((2, "stroma", True))), session)["session"]
    again = make(labels).restore(memory)["session"].log
    assert (again.tagged(0), again.tagged(2)) == ([], ["stroma"])
    app.start_over(session)
    assert make(labels).restore(memory)["session"].log.records == ()


def test_an_incomplete_line_is_reported_to_visitors_with_tags(labels):
    memory = send(make(labels), start(make()), ["toggle", 1, 1], ["next", 1])["memory"]
    labels.write_bytes(labels.read_bytes()[:-9])
    restored = make(labels).restore(memory)
    assert (restored["session"].log.tagged(0), restored["session"].log.done) == (["tumour"], [])
    assert "incomplete lines, which were skipped: 3." in restored["problem"]
    assert make(labels).restore(None)["problem"] == ""


def test_a_tag_that_cannot_be_written_is_refused(labels, monkeypatch):
    app = make(labels)
    session = tag(app, start(app), ["toggle", 0, 1])
    monkeypatch.setattr(app.labels, "_write", Mock(side_effect=OSError(28, "No space left on device", str(labels))))
    answer = send(app, session, ["toggle", 1, 1])
    assert answer["session"].log == session.log
    assert "could not be written" in answer["problem"]
    assert str(labels) not in answer["problem"]
    assert 'data-serial="2"' in answer["panel"]


def test_an_own_image_can_be_tagged_but_has_no_masks(app, image):
    path = image()
    arrived = app.read(path, 'a<b>, c & d"', 112)["arrived"]
    assert (len(arrived), os.path.exists(path)) == (2, False)
    shown = app.show(arrived, start(app))
    assert shown["show_me"].interactive is False
    assert "scale not known" in shown["caption"]
    assert "a&lt;b&gt;" in shown["panel"]
    assert "c &amp; d&quot;" in shown["panel"]
    assert "a<b>" not in shown["panel"]
    for said in (shown["result"], app.show_me(shown["session"])["problem"]):
        assert "phantom patches only" in said
    back = app.back(shown["session"])
    assert (back["session"].patches, back["show_me"].interactive, back["result"]) == (app.sample, True, "")
    for names, size, said in (("one", 112, "2 to 9"), (None, 112, "2 to 9"), ("a, b", 224, "does not fit")):
        read = app.read(image(), names, size)
        assert read["arrived"] is None
        assert said in read["problem"]
        assert path not in read["problem"]
    assert app.show(None, start(app)) == {}


def test_after_a_reload_or_with_a_log_an_own_image_is_asked_for(app, saved, image):
    arrived = app.read(image(), "fat, muscle", 112)["arrived"]
    log = Log(arrived.header).set(1, "muscle", True, 1)
    memory = send(app, app.show(arrived, start(app))["session"], ["toggle", 1, 1])["memory"]
    brought = app.bring(saved(log), start(app))
    assert "Upload that image now" in brought["problem"]
    reloaded = app.restore(memory)
    assert "Upload the same file again" in reloaded["problem"]
    assert reloaded["memory"] == memory
    assert app.show(arrived, reloaded["session"])["session"].log.tagged(0) == ["muscle"]
    assert app.show(arrived, brought["session"])["session"].log == log
    for answer in (brought, reloaded, app.restore(brought["memory"])):
        assert (answer["names"], answer["size"]) == ("fat, muscle", 112)
        assert answer["session"].patches is app.sample


def test_a_saved_log_comes_back(app, saved):
    session = tag(app, start(app), ["toggle", 1, 1], ["next", 1])
    name, content = unpack(app.save("log", session)["packed"])
    path = saved(content)
    done = app.bring(path, start(app))
    assert (name, done["session"].log, done["session"].at, done["problem"]) == ("tags.jsonl", session.log, 1, "")
    assert "names" not in done  # the page keeps its own
    assert "did not arrive" in app.bring(path, start(app))["problem"]  # it was deleted
    done = app.bring(saved(content[:-5]), start(app))
    assert done["session"].log.done == []
    assert "incomplete" in done["problem"]
    older = Log(replace(HEADER, title="An older title"), session.log.records)
    assert app.bring(saved(older), start(app))["session"].log.tagged(0) == ["tumour"]
    assert app.bring(None, session) == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"hello\n", "Line 1"),
        (to_lines(Log(replace(HEADER, classes=HEADER.classes[:3]))), "other patches"),
        (to_lines(Log(replace(HEADER, key="other", size=100))), "other patches"),
        (b" " * 2_000_001, "more than 2 MB"),
    ],
)
def test_a_bad_log_is_explained_and_changes_nothing(app, saved, tmp_path, content, said):
    done = app.bring(saved(content), start(app))
    assert list(done) == ["problem"]
    assert said in done["problem"]
    assert str(tmp_path) not in done["problem"]


def test_show_me_and_saving_say_what_is_missing(app):
    session = start(app)
    assert "Finish a patch" in app.show_me(session)["problem"]
    assert "nothing to save" in app.save("log", session)["problem"]
    session = tag(app, session, ["toggle", 0, 1], ["toggle", 1, 1])
    assert app.save("log", session)["problem"] == ""
    assert "press “Next patch”" in app.save("table", session)["problem"]
    session = tag(app, session, ["next", 1])
    shown = app.show_me(session)
    assert shown["problem"] == ""
    assert '<article data-patch="0" data-agree="5">' in shown["result"]
    name, content = unpack(app.save("table", session)["packed"])
    assert (name, content.decode("utf-8-sig").splitlines()[1]) == ("tags.csv", "1,0,0,1,1,0,0,0,3.0")
