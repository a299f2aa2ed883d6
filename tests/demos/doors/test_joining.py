"""Of a visitor's message, the fields that pages use are kept, and no file or address of the sender."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demos.doors.joining import FILE, clean
from demos.doors.refusal import Refusal
from tests.demos.doors.refusals import refusal

UPLOADED = Path("/server/uploads/token/a.png")
KEPT = {"path": str(UPLOADED), "orig_name": "a.png", "meta": FILE}


def own(name: str) -> Path:
    if name != "token/a.png":
        raise Refusal(400, "Not yours.")
    return UPLOADED


def cleaned(**message: object) -> dict:
    body = json.dumps({**message, "session_hash": "x"}).encode()
    return json.loads(clean(body, own, lambda name: f"bound {name}"))


def test_what_pages_use_of_a_message_is_kept():
    sent = {"data": [1, "a", None, {"b": [2.5, True]}], "event_data": {"index": [1, 2]}, "fn_index": 3, "trigger_id": 4}
    assert cleaned(**sent, request={}) == {**sent, "session_hash": "bound x"}
    file = {"path": "token/a.png", "url": "http://a/file=b", "orig_name": "../b", "is_stream": True, "meta": FILE}
    assert cleaned(data=[file])["data"] == [KEPT]


@pytest.mark.parametrize("path", ["/etc/passwd", str(UPLOADED), "", None, ["token/a.png"], {"path": "token/a.png"}])
def test_any_path_but_of_an_own_upload_is_refused(path):
    with refusal(400, "Not yours"):
        cleaned(data=[{"deep": [{"path": path, "meta": FILE}]}])


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff", b'{"data": []}', b'{"session_hash": 1}', 65, 10**5]
)
def test_what_is_no_message_is_refused(body):
    if isinstance(body, int):  # lists within each other
        body = b'{"session_hash": "x", "data": ' + b"[" * body + b"]" * body + b"}"
    with refusal(400, "cannot be understood"):
        clean(body, own, str)


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
        message = cleaned(data=[data], event_data=event, request=data)
    except Refusal:
        return
    assert message.keys() <= {"data", "event_data", "session_hash"}
    assert all(file == KEPT for file in files(message))
