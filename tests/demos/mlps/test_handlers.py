"""What handlers make of a visitor's session: tags kept or refused, errors in sentences, nothing shared."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

gr = pytest.importorskip("gradio", reason="the demos need gradio: pip install 'histolab-lite[demos]'")

from demos.mlps.handlers import Handlers  # noqa: E402
from demos.mlps.label_file import LabelFile  # noqa: E402
from demos.mlps.log import Header, Log, to_lines  # noqa: E402
from demos.mlps.patch_sets import PatchSet  # noqa: E402
from demos.mlps.results import answer as all_answers  # noqa: E402
from demos.mlps.session import Session, new_key  # noqa: E402
from histolab_lite.methods.mlps.pretrained import TISSUES  # noqa: E402


class Networks:
    def pseudo_masks(self, patches, tags, layers):
        return {layer: np.zeros(patches.shape[:3], np.uint8) for layer in layers}

    def segment(self, patches):
        return np.zeros(patches.shape[:3], np.uint8)


def sample(number: int = 3) -> PatchSet:
    header = Header("phantom", "Phantom patches", TISSUES, number, 32)
    pixels, truth = np.zeros((number, 16, 16, 3), np.uint8), np.zeros((number, 16, 16), np.uint8)
    return PatchSet(header, (b"jpeg",) * number, ((0, 0), (0, 32), (32, 0))[:number], 0.5, "", pixels, truth)


def make(labels: LabelFile | None = None) -> Handlers:
    app = Handlers(sample(), labels)
    app.networks = Networks()
    app.answers = all_answers(app.networks, app.sample)
    return app


@pytest.fixture
def app():
    return make()


def start(app: Handlers) -> Session:
    return Session(new_key()).show(app.sample)


def message(serial: int, *events: list) -> SimpleNamespace:
    return SimpleNamespace(index=0, value=json.dumps({"serial": serial, "events": events}))


def tag(app: Handlers, session: Session, *events: list) -> Session:
    return app.act(message(session.serial + 1, *events), session)["session"]


def unpack(packed: str) -> tuple[str, bytes]:
    content = json.loads(packed)
    return content["name"], base64.b64decode(content["content"])


def test_a_tag_is_shown_and_kept(app):
    answer = app.act(message(1, ["toggle", 1, 1.0]), start(app))
    assert answer["session"].log.tagged(0) == ["tumour"]
    assert answer["memory"]["logs"][0][1]["class"] == "tumour"
    assert answer["problem"] == ""
    assert "patch" not in answer  # the same patch: not sent again
    assert 'data-serial="1"' in answer["panel"]
    assert 'data-class="tumour" data-state="there"' in answer["panel"]
    assert "There: tumour." in answer["panel"]
    answer = app.act(message(2, ["next", 1.0]), answer["session"])
    assert 'data-patch="1"' in answer["patch"]
    assert "1 done" in answer["panel"]


def test_a_message_that_comes_twice_counts_once(app):
    first = message(1, ["toggle", 0, 1.0])
    session = app.act(first, start(app))["session"]
    assert list(app.act(first, session)) == ["panel"]
    assert app.act(message(2, ["toggle", 0, 1.0]), session)["session"].log.value(0, "stroma") is False


@pytest.mark.parametrize("value", [None, "", "[]", "{}", '{"serial": "1", "events": []}', '{"serial": 1}', "[" * 9999])
def test_nonsense_from_the_page_does_nothing(app, value):
    session = start(app)
    assert list(app.act(SimpleNamespace(index=0, value=value), session)) == ["panel"]


def test_a_restarted_server_lets_the_page_load_again(app):
    answer = app.act(message(9, ["next", 1]), Session())
    assert list(answer) == ["panel"]
    assert "data-reload" in answer["panel"]


def test_a_refresh_brings_tags_back(app):
    session = tag(app, start(app), ["toggle", 1, 1], ["next", 1])
    memory = app.act(message(2, ["toggle", 2, 1]), session)["memory"]
    answer = app.restore(memory)
    again = answer["session"]
    assert again.log.tagged(0) == ["tumour"]
    assert again.log.tagged(1) == ["lymphocytes"]
    assert (again.at, again.key, answer["problem"]) == (1, session.key, "")
    assert answer["memory"] == memory
    assert 'data-patch="1"' in answer["patch"]


def test_with_a_file_the_browser_keeps_the_session_alone(tmp_path):
    path = tmp_path / "tags.jsonl"
    app = make(LabelFile(path))
    memory = app.act(message(1, ["toggle", 1, 1], ["next", 1]), start(app))["memory"]
    assert memory["logs"] == []
    restarted = make(LabelFile(path))
    again = restarted.restore(memory)["session"]
    assert again.log.tagged(0) == ["tumour"]
    assert again.log.done == [0]
    again = restarted.act(message(1, ["toggle", 0, 1]), again)["session"]
    assert make(LabelFile(path)).restore(memory)["session"].log.tagged(1) == ["stroma"]
    assert restarted.restore(None)["session"].log.records == ()  # another visitor
    assert path.read_text().count('"tags"') == 1
    restarted.start_over(again)
    assert make(LabelFile(path)).restore(memory)["session"].log.records == ()


def test_a_cut_line_is_reported_to_those_whom_it_may_concern(tmp_path):
    path = tmp_path / "tags.jsonl"
    memory = make(LabelFile(path)).act(message(1, ["toggle", 1, 1], ["next", 1]), start(make()))["memory"]
    path.write_bytes(path.read_bytes()[:-9])
    app = make(LabelFile(path))
    restored = app.restore(memory)
    assert restored["session"].log.tagged(0) == ["tumour"]
    assert restored["session"].log.done == []
    assert "Line 3" in restored["problem"]
    assert app.restore(None)["problem"] == ""


def test_a_tag_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    app = make(LabelFile(tmp_path / "tags.jsonl"))
    session = tag(app, start(app), ["toggle", 0, 1])

    def full(line: bytes) -> None:
        raise OSError(28, "No space left on device", str(tmp_path))

    monkeypatch.setattr(app.labels, "_write", full)
    answer = app.act(message(2, ["toggle", 1, 1]), session)
    assert answer["session"].log == session.log
    assert "could not be written" in answer["problem"]
    assert str(tmp_path) not in answer["problem"]
    assert 'data-serial="2"' in answer["panel"]


def image(tmp_path, name: str = "own.png", size: tuple[int, int] = (240, 120)) -> str:
    path = tmp_path / name
    pixels = np.random.default_rng(0).integers(60, 200, (size[1], size[0], 3)).astype(np.uint8) // (1, 3, 1)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return str(path)


def test_own_images_are_cut_or_refused(app, tmp_path):
    read = app.read(image(tmp_path), "fat, muscle", 112)
    assert (len(read["arrived"]), read["problem"]) == (2, "")
    assert not (tmp_path / "own.png").exists()
    shown = app.show(read["arrived"], start(app))
    session = shown["session"]
    assert shown["show_me"].interactive is False
    assert "not made for your image" in shown["result"]
    assert "scale not known" in shown["caption"]
    assert "muscle" in shown["panel"]
    assert "not made for" in app.show_me(session)["problem"]
    for names, size, message_ in [("one", 112, "2 to 9"), (None, 112, "2 to 9"), ("a, b", 224, "does not fit")]:
        read = app.read(image(tmp_path), names, size)
        assert read["arrived"] is None
        assert message_ in read["problem"]
        assert str(tmp_path) not in read["problem"]
    assert app.show(None, session) == {}
    assert app.back(session)["session"].patches is app.sample


def test_an_own_image_is_asked_for_again_after_a_refresh(app, tmp_path):
    patches = app.read(image(tmp_path), "fat, muscle", 112)["arrived"]
    session = app.show(patches, start(app))["session"]
    memory = app.act(message(1, ["toggle", 1, 1]), session)["memory"]
    answer = app.restore(memory)
    assert (answer["names"], answer["size"]) == ("fat, muscle", 112)
    assert "Upload the same file again" in answer["problem"]
    assert answer["memory"] == memory
    assert answer["session"].patches is app.sample
    assert app.show(patches, answer["session"])["session"].log.tagged(0) == ["muscle"]


def test_a_saved_log_comes_back(app, tmp_path):
    session = tag(app, start(app), ["toggle", 1, 1], ["next", 1])
    name, content = unpack(app.save("log", session)["packed"])
    assert name == "tags.jsonl"
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    done = app.bring(str(path), start(app))
    assert done["session"].log == session.log
    assert (done["session"].at, done["problem"]) == (1, "")
    assert "names" not in done  # those of the page stay
    assert not path.exists()
    path.write_bytes(content[:-5])
    done = app.bring(str(path), start(app))
    assert done["session"].log.done == []
    assert "cut off" in done["problem"]
    assert app.bring(None, session) == {}


def test_a_log_comes_back_under_whatever_title_its_patches_had(app, tmp_path):
    patches = app.read(image(tmp_path), "fat, muscle", 112)["arrived"]
    log = Log(replace(patches.header, title="Your picture")).set(1, "fat", True, 1)
    path = tmp_path / "log.jsonl"
    path.write_bytes(to_lines(log))
    session = app.show(patches, start(app))["session"]
    assert app.bring(str(path), session)["session"].log.tagged(1) == ["fat"]
    memory = {"version": 1, "session": "0" * 32, "set": patches.header.key, "logs": [log.to_json()]}
    assert app.show(patches, app.restore(memory)["session"])["session"].log.tagged(1) == ["fat"]


def test_a_saved_log_goes_into_the_file(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_bytes(to_lines(Log(sample().header).set(2, "stroma", True, 1)))
    app = make(LabelFile(tmp_path / "tags.jsonl"))
    session = tag(app, start(app), ["toggle", 1, 1])
    memory = app.bring(str(log), session)["memory"]
    again = make(LabelFile(tmp_path / "tags.jsonl")).restore(memory)["session"].log
    assert (again.tagged(0), again.tagged(2)) == ([], ["stroma"])


def test_a_log_of_another_image_waits_for_it(app, tmp_path):
    path = tmp_path / "log.jsonl"
    patches = app.read(image(tmp_path), "fat, muscle", 112)["arrived"]
    log = Log(patches.header).set(1, "fat", True, 1)
    path.write_bytes(to_lines(log))
    done = app.bring(str(path), start(app))
    assert (done["names"], done["size"]) == ("fat, muscle", 112)
    assert "Upload that image now" in done["problem"]
    assert done["session"].patches is app.sample
    again = app.restore(done["memory"])
    assert (again["names"], again["size"]) == ("fat, muscle", 112)
    assert app.show(patches, done["session"])["session"].log == log


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\x00\xff\x00", "other than text"),
        (b"hello\n", "Line 1"),
        (to_lines(Log(Header("phantom", "t", TISSUES[:3], 3, 32))), "other patches"),
        (b" " * 2_000_001, "more than 2 MB"),
    ],
)
def test_a_bad_log_is_explained_and_changes_nothing(app, tmp_path, content, said):
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    done = app.bring(str(path), start(app))
    assert list(done) == ["problem"]
    assert said in done["problem"]
    assert str(tmp_path) not in done["problem"]
    assert "did not arrive" in app.bring(str(path), start(app))["problem"]


def test_show_me_and_saving_say_what_is_missing(app):
    session = start(app)
    assert "Finish a patch" in app.show_me(session)["problem"]
    assert "nothing to save" in app.save("log", session)["problem"]
    session = tag(app, session, ["toggle", 0, 1])
    assert app.save("log", session)["problem"] == ""
    assert "press Next" in app.save("table", session)["problem"]
    session = tag(app, session, ["next", 1])
    shown = app.show_me(session)
    assert shown["problem"] == ""
    assert '<article data-patch="0" data-agree="5">' in shown["result"]
    name, content = unpack(app.save("table", session)["packed"])
    assert name == "tags.csv"
    assert content.decode("utf-8-sig").splitlines()[1] == "1,0,0,1,0,0,0,0,2.0"


def test_names_are_shown_as_text(app, tmp_path):
    patches = app.read(image(tmp_path), "a<b>, c & d", 112)["arrived"]
    panel = app.show(patches, start(app))["panel"]
    assert "a&lt;b&gt;" in panel
    assert "<b>," not in panel
