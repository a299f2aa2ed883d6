"""What handlers make of a visitor's session: ticks kept or refused, errors in sentences, nothing shared."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

gr = pytest.importorskip("gradio", reason="the demos need gradio: pip install 'histolab-lite[demos]'")

from demos.mlps.handlers import Handlers  # noqa: E402
from demos.mlps.label_file import LabelFile  # noqa: E402
from demos.mlps.log import Header, Log, to_lines  # noqa: E402
from demos.mlps.patch_sets import PatchSet  # noqa: E402
from demos.mlps.results import answer  # noqa: E402
from demos.mlps.session import Session, new_key  # noqa: E402
from histolab_lite.methods.default_mlps import TISSUES  # noqa: E402

SKIP = gr.skip()


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
    app.answers = answer(app.networks, app.sample)
    return app


@pytest.fixture
def app():
    return make()


def start(app: Handlers) -> Session:
    return Session(new_key()).show(app.sample)


def message(serial: int, *events: list) -> SimpleNamespace:
    return SimpleNamespace(index=0, value=json.dumps({"serial": serial, "events": events}))


def tick(app: Handlers, session: Session, *events: list) -> Session:
    return app.act(message(session.serial + 1, *events), session)[0]


def unpack(packed: str) -> tuple[str, bytes]:
    content = json.loads(packed)
    return content["name"], base64.b64decode(content["content"])


def test_a_tick_is_shown_and_kept(app):
    session, memory, problem, patch, panel = app.act(message(1, ["toggle", 1, 1.0]), start(app))
    assert session.log.ticked(0) == ["tumour"]
    assert memory["logs"][0][1]["class"] == "tumour"
    assert problem == ""
    assert patch == SKIP  # the same patch: not sent again
    assert 'data-serial="1"' in panel
    assert 'data-class="tumour" data-state="there"' in panel
    assert "There: tumour." in panel
    session, _, _, patch, panel = app.act(message(2, ["next", 1.0]), session)
    assert 'data-patch="1"' in patch
    assert "1 done" in panel


def test_a_message_that_comes_twice_counts_once(app):
    first = message(1, ["toggle", 0, 1.0])
    session = app.act(first, start(app))[0]
    assert app.act(first, session)[0] == SKIP
    assert app.act(message(2, ["toggle", 0, 1.0]), session)[0].log.value(0, "stroma") is False


@pytest.mark.parametrize("value", [None, "", "[]", "{}", '{"serial": "1", "events": []}', '{"serial": 1}', "[" * 9999])
def test_nonsense_from_the_page_does_nothing(app, value):
    session = start(app)
    assert app.act(SimpleNamespace(index=0, value=value), session)[0] == SKIP


def test_a_restarted_server_lets_the_page_load_again(app):
    *unchanged, panel = app.act(message(9, ["next", 1]), Session())
    assert unchanged == [SKIP] * 4
    assert "data-reload" in panel


def test_a_refresh_brings_ticks_back(app):
    session = tick(app, start(app), ["toggle", 1, 1], ["next", 1])
    memory = app.act(message(2, ["toggle", 2, 1]), session)[1]
    names, size, show, _, _, again, kept, problem, patch, panel = app.restore(memory)
    assert again.log.ticked(0) == ["tumour"]
    assert again.log.ticked(1) == ["lymphocytes"]
    assert (again.at, again.key, problem) == (1, session.key, "")
    assert kept == memory
    assert 'data-patch="1"' in patch


def test_with_a_file_the_browser_keeps_the_session_alone(tmp_path):
    path = tmp_path / "ticks.jsonl"
    app = make(LabelFile(path))
    session, memory, *_ = app.act(message(1, ["toggle", 1, 1], ["next", 1]), start(app))
    assert memory["logs"] == []
    restarted = make(LabelFile(path))
    again = restarted.restore(memory)[5]
    assert again.log.ticked(0) == ["tumour"]
    assert again.log.done == [0]
    again = restarted.act(message(1, ["toggle", 0, 1]), again)[0]
    assert make(LabelFile(path)).restore(memory)[5].log.ticked(1) == ["stroma"]
    assert restarted.restore(None)[5].log.records == ()  # another visitor
    assert path.read_text().count('"tags"') == 1
    restarted.start_over(again)
    assert make(LabelFile(path)).restore(memory)[5].log.records == ()


def test_a_cut_line_is_reported_to_those_whom_it_may_concern(tmp_path):
    path = tmp_path / "ticks.jsonl"
    memory = make(LabelFile(path)).act(message(1, ["toggle", 1, 1], ["next", 1]), start(make()))[1]
    path.write_bytes(path.read_bytes()[:-9])
    app = make(LabelFile(path))
    restored = app.restore(memory)
    assert restored[5].log.ticked(0) == ["tumour"]
    assert restored[5].log.done == []
    assert "Line 3" in restored[7]
    assert app.restore(None)[7] == ""


def test_a_tick_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    app = make(LabelFile(tmp_path / "ticks.jsonl"))
    session = tick(app, start(app), ["toggle", 0, 1])

    def full(line: bytes) -> None:
        raise OSError(28, "No space left on device", str(tmp_path))

    monkeypatch.setattr(app.labels, "_write", full)
    after, _, problem, _, panel = app.act(message(2, ["toggle", 1, 1]), session)
    assert after.log == session.log
    assert "could not be written" in problem
    assert str(tmp_path) not in problem
    assert 'data-serial="2"' in panel


def picture(tmp_path, name: str = "own.png", size: tuple[int, int] = (240, 120)) -> str:
    path = tmp_path / name
    pixels = np.random.default_rng(0).integers(60, 200, (size[1], size[0], 3)).astype(np.uint8) // (1, 3, 1)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return str(path)


def test_own_pictures_are_cut_or_refused(app, tmp_path):
    patches, problem = app.read(picture(tmp_path), "fat, muscle", 112)
    assert (len(patches), problem) == (2, "")
    assert not (tmp_path / "own.png").exists()
    show, result, caption, session, *_, panel = app.show(patches, start(app))
    assert show.interactive is False
    assert "not made for your picture" in result
    assert "scale not known" in caption
    assert "muscle" in panel
    assert "not made for" in app.show_me(session)[1]
    for names, size, message_ in [("one", 112, "2 to 9"), (None, 112, "2 to 9"), ("a, b", 224, "does not fit")]:
        none, problem = app.read(picture(tmp_path), names, size)
        assert none is None
        assert message_ in problem
        assert str(tmp_path) not in problem
    assert app.show(None, session) == [SKIP] * len(app.show(patches, session))
    assert app.back(session)[3].patches is app.sample


def test_an_own_picture_is_asked_for_again_after_a_refresh(app, tmp_path):
    patches, _ = app.read(picture(tmp_path), "fat, muscle", 112)
    session = app.show(patches, start(app))[3]
    memory = app.act(message(1, ["toggle", 1, 1]), session)[1]
    names, size, _, _, _, session, kept, problem, *_ = app.restore(memory)
    assert (names, size) == ("fat, muscle", 112)
    assert "Upload the same file again" in problem
    assert kept == memory
    assert session.patches is app.sample
    assert app.show(patches, session)[3].log.ticked(0) == ["muscle"]


def test_a_saved_log_comes_back(app, tmp_path):
    session = tick(app, start(app), ["toggle", 1, 1], ["next", 1])
    name, content = unpack(app.save("log", session)[0])
    assert name == "ticks.jsonl"
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    done = app.bring(str(path), start(app))
    assert done[5].log == session.log
    assert (done[5].at, done[7]) == (1, "")
    assert not path.exists()
    path.write_bytes(content[:-5])
    done = app.bring(str(path), start(app))
    assert done[5].log.done == []
    assert "cut off" in done[7]
    assert len(done) == len(app.bring(None, session)) == len(app.restore(None))


def test_a_saved_log_goes_into_the_file(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_bytes(to_lines(Log(sample().header).set(2, "stroma", True, 1)))
    app = make(LabelFile(tmp_path / "ticks.jsonl"))
    session = tick(app, start(app), ["toggle", 1, 1])
    memory = app.bring(str(log), session)[6]
    again = make(LabelFile(tmp_path / "ticks.jsonl")).restore(memory)[5].log
    assert (again.ticked(0), again.ticked(2)) == ([], ["stroma"])


def test_a_log_of_another_picture_waits_for_it(app, tmp_path):
    path = tmp_path / "log.jsonl"
    patches, _ = app.read(picture(tmp_path), "fat, muscle", 112)
    log = Log(patches.header).set(1, "fat", True, 1)
    path.write_bytes(to_lines(log))
    done = app.bring(str(path), start(app))
    assert done[:2] == ["fat, muscle", 112]
    assert "Upload that picture now" in done[7]
    assert done[5].patches is app.sample
    assert app.restore(done[6])[:2] == ["fat, muscle", 112]
    assert app.show(patches, done[5])[3].log == log


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
    assert said in done[7]
    assert done[5] == SKIP
    assert str(tmp_path) not in done[7]
    assert "did not arrive" in app.bring(str(path), start(app))[7]


def test_show_me_and_saving_say_what_is_missing(app):
    session = start(app)
    assert "Finish a patch" in app.show_me(session)[1]
    assert "nothing to save" in app.save("log", session)[1]
    session = tick(app, session, ["toggle", 0, 1])
    assert "no" not in app.save("log", session)[1]
    assert "press Next" in app.save("table", session)[1]
    session = tick(app, session, ["next", 1])
    page, problem = app.show_me(session)
    assert problem == ""
    assert '<article data-patch="0" data-agree="5">' in page
    name, content = unpack(app.save("table", session)[0])
    assert name == "ticks.csv"
    assert content.decode("utf-8-sig").splitlines()[1] == "1,0,0,1,0,0,0,0,2.0"


def test_names_are_shown_as_text(app, tmp_path):
    patches, _ = app.read(picture(tmp_path), "a<b>, c & d", 112)
    panel = app.show(patches, start(app))[-1]
    assert "a&lt;b&gt;" in panel
    assert "<b>," not in panel
