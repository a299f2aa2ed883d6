"""A visitor's message: what pages use of it is kept, and no file or address of the sender's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("starlette", reason="the demos need gradio: pip install 'histolab-lite[demos]'")

from demos.doors.joining import FILE, clean  # noqa: E402
from demos.doors.refusal import Refusal  # noqa: E402

UPLOADED = Path("/server/uploads/token/a.png")


def own(name: str) -> Path:
    if name != "token/a.png":
        raise Refusal(400, "Not yours.")
    return UPLOADED


def cleaned(message: object) -> dict:
    return json.loads(clean(json.dumps(message).encode(), own, lambda name: f"bound {name}"))


def test_a_message_of_a_page_is_kept():
    message = {"data": [1, "a", None, {"b": [2.5, True]}], "event_data": {"index": [1, 2]}, "fn_index": 3}
    assert cleaned({**message, "trigger_id": 4, "session_hash": "x"}) == {
        **message,
        "trigger_id": 4,
        "session_hash": "bound x",
    }


def test_an_upload_of_this_visitor_becomes_the_servers_file():
    sent = {"path": "token/a.png", "url": "http://a/file=b", "orig_name": "../b", "is_stream": True, "meta": FILE}
    assert cleaned({"data": [sent], "session_hash": "x"})["data"] == [
        {"path": str(UPLOADED), "orig_name": "a.png", "meta": FILE}
    ]


@pytest.mark.parametrize("path", ["/etc/passwd", str(UPLOADED), "", None, ["token/a.png"], {"path": "token/a.png"}])
def test_any_other_path_is_refused(path):
    with pytest.raises(Refusal, match="Not yours"):
        cleaned({"data": [{"deep": [{"path": path, "meta": FILE}]}], "session_hash": "x"})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"data": []}',
        b'{"data": [], "session_hash": 1}',
        b'{"session_hash": "x", "data": ' + b"[" * 65 + b"]" * 65 + b"}",
        b'{"session_hash": "x", "data": ' + b"[" * 10**5 + b"]" * 10**5 + b"}",
    ],
)
def test_what_is_no_message_is_refused(body):
    with pytest.raises(Refusal, match="cannot be understood") as refused:
        clean(body, own, str)
    assert refused.value.status == 400


def files(value: object) -> list[dict]:
    """Wherever Gradio would look for a file."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    here = [value] if isinstance(value, dict) and {"path", "url", "meta"} & value.keys() else []
    return here + [file for part in inner for file in files(part)]


KEYS = st.sampled_from(["path", "url", "meta", "value", "a"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(FILE) | st.just("token/a.png"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(JSON, JSON)
def test_no_path_but_of_the_visitors_uploads_is_left(data, event):
    try:
        message = cleaned({"data": [data], "event_data": event, "session_hash": "x", "request": data})
    except Refusal:
        return
    assert message.keys() <= {"data", "event_data", "session_hash"}
    for file in files(message):
        assert file == {"path": str(UPLOADED), "orig_name": "a.png", "meta": FILE}
