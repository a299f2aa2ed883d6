"""Uploads are kept apart, belong to their visitor, and take no more room than there is."""

import asyncio
import errno
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from demos.doors import receiving
from demos.doors.receiving import LONGEST_NAME, Uploads
from tests.demos.doors.refusals import refusal

FORM = "multipart/form-data; boundary=b"


@pytest.fixture
def uploads(tmp_path):
    return Uploads(tmp_path, room=1000)


def send(uploads: Uploads, parts, size: int, visitor: str = "anna", address: str = "1.1.1.1", kind: str = FORM) -> str:
    """The upload's name. parts: of the body, bytes or what is done before the next one comes."""

    async def body():
        for part in parts:
            yield part if isinstance(part, bytes) else await part(uploads)

    response = asyncio.run(uploads.receive(Headers({"content-type": kind}), body(), size, visitor, address))
    (name,) = json.loads(response.body)
    return name


def give(uploads: Uploads, content: bytes, visitor: str = "anna", address: str = "1.1.1.1") -> str:
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="../a.png"\r\n\r\n'
    return send(uploads, [head, content, b"\r\n--b--\r\n"], len(content), visitor, address)


def test_its_visitor_gets_it_back_and_nobody_else(uploads):
    one, other = give(uploads, b"same"), give(uploads, b"same", visitor="ben")
    assert one.endswith("/a.png")
    assert uploads.own("anna", one).read_bytes() == b"same"
    with refusal(400, "Upload it again"):
        uploads.own("ben", one)
    uploads.own("anna", one).unlink()
    for name in (one, "", "/", ".", "..", "../../etc/passwd", "/etc/passwd", "token/a.png"):
        with refusal(400):
            uploads.own("anna", name)
    assert uploads.own("ben", other).read_bytes() == b"same"


def test_a_visitor_takes_a_fifth_an_address_half_and_all_no_more_than_all(uploads):
    first = give(uploads, b"x" * 200)
    with refusal(507, "no room"):
        give(uploads, b"x")
    give(uploads, b"x" * 200, visitor="ben")
    with refusal(507):
        give(uploads, b"x" * 101, visitor="cleo")
    give(uploads, b"x" * 100, visitor="cleo")
    for visitor, address in (("dora", "2"), ("emil", "2"), ("finn", "3")):
        give(uploads, b"x" * 150, visitor, address)
    with refusal(507):
        give(uploads, b"x" * 51, "gina", "4")
    give(uploads, b"x" * 50, "gina", "4")
    uploads.own("anna", first).unlink()  # a page has read it, and its room is free again
    give(uploads, b"x" * 200)


def test_a_file_still_coming_takes_its_room(uploads):
    async def meanwhile(uploads: Uploads) -> bytes:
        with refusal(507):
            await uploads.receive(Headers({"content-type": FORM}), None, 1, "anna", "1.1.1.1")
        return b"no form"

    with refusal(400):
        send(uploads, [meanwhile], 200)
    give(uploads, b"x" * 200)


def test_a_full_disk_is_a_sentence_and_leaves_nothing(uploads, monkeypatch):
    def full(source, target, length):
        target.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, refusal(507, "no room"):
        patch.setattr(receiving.shutil, "copyfileobj", full)
        give(uploads, b"mine")
    assert not list(uploads.folder.iterdir())
    monkeypatch.setattr(receiving, "SPARE", 10**18)
    with refusal(507):
        give(uploads, b"mine")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain", b"abc"),
        ("multipart/form-data", b"abc"),
        (FORM, b"abc"),
        (FORM, b"--b--\r\n"),
        (FORM, b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--b--\r\n'),
    ],
)
def test_another_form_is_refused_and_leaves_nothing(uploads, kind, body):
    with refusal(400):
        send(uploads, [body], 100, kind=kind)
    assert not list(uploads.folder.iterdir())


@given(st.text(max_size=300))
def test_every_name_becomes_a_plain_one_and_keeps_its_ending(name):
    plain = receiving._plain(name)
    assert 1 <= len(plain) <= LONGEST_NAME
    assert Path(plain).name == plain
    assert plain not in (".", "..")
    assert not set(plain) & set('/\\\0:*?"<>|%\n')
    assert receiving._plain(f"{name}x.svs").endswith("x.svs")
    assert receiving._plain("C:\\slides\\café 1.svs") == "café 1.svs"
