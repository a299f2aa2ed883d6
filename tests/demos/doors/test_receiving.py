"""Uploads lie apart, belong to their visitor, and take no more room than there is."""

from __future__ import annotations

import asyncio
import errno
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("starlette", reason="the demos need gradio: pip install 'histolab-lite[demos]'")

from starlette.datastructures import Headers  # noqa: E402

from demos.doors import receiving  # noqa: E402
from demos.doors.receiving import LONGEST_NAME, Uploads  # noqa: E402
from demos.doors.refusal import Refusal  # noqa: E402

FORM = Headers({"content-type": "multipart/form-data; boundary=b"})


@pytest.fixture
def uploads(tmp_path):
    return Uploads(tmp_path, room=1000)


def give(uploads: Uploads, content: bytes, name: str = "a.png", visitor="anna", address="1.1.1.1", size=None) -> str:
    head = f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()

    async def body():
        for part in (head, content, b"\r\n--b--\r\n"):
            yield part

    size = len(content) if size is None else size
    response = asyncio.run(uploads.receive(FORM, body(), size, visitor, address))
    (name,) = json.loads(response.body)
    return name


def refused(give_it, status: int) -> str:
    with pytest.raises(Refusal) as refusal:
        give_it()
    assert refusal.value.status == status
    return refusal.value.sentence


def test_its_visitor_gets_it_back_and_nobody_else(uploads):
    name = give(uploads, b"mine")
    assert uploads.own("anna", name).read_bytes() == b"mine"
    assert "Upload it again" in refused(lambda: uploads.own("ben", name), 400)


@pytest.mark.parametrize("name", ["", "/", "..", "../../etc/passwd", "/etc/passwd", "token/a.png", "."])
def test_a_name_that_was_never_given_is_refused(uploads, name):
    give(uploads, b"mine")
    refused(lambda: uploads.own("anna", name), 400)


def test_equal_files_are_kept_apart(uploads):
    one, other = give(uploads, b"same"), give(uploads, b"same", visitor="ben")
    uploads.own("anna", one).unlink()
    refused(lambda: uploads.own("anna", one), 400)
    assert uploads.own("ben", other).read_bytes() == b"same"


def test_a_visitor_takes_a_fifth_an_address_half_and_all_no_more_than_all(uploads):
    give(uploads, b"x" * 200)
    assert "no room" in refused(lambda: give(uploads, b"x"), 507)
    give(uploads, b"x" * 200, visitor="ben")
    refused(lambda: give(uploads, b"x" * 101, visitor="cleo"), 507)
    give(uploads, b"x" * 100, visitor="cleo")
    for visitor, address in (("dora", "2"), ("emil", "2"), ("finn", "3")):
        give(uploads, b"x" * 150, visitor=visitor, address=address)
    refused(lambda: give(uploads, b"x" * 51, visitor="gina", address="4"), 507)
    give(uploads, b"x" * 50, visitor="gina", address="4")


def test_room_is_free_again_once_a_page_has_taken_the_file(uploads):
    name = give(uploads, b"x" * 200)
    uploads.own("anna", name).unlink()
    give(uploads, b"x" * 200)


def test_a_file_still_coming_takes_its_room(uploads):
    async def endless():
        refused_now.append(True)
        with pytest.raises(Refusal):
            await uploads.receive(FORM, None, 1, "anna", "1.1.1.1")
        yield b"no form"

    refused_now: list[bool] = []
    refused(lambda: asyncio.run(uploads.receive(FORM, endless(), 200, "anna", "1.1.1.1")), 400)
    assert refused_now
    give(uploads, b"x" * 200)


def test_a_full_disk_is_a_sentence_and_leaves_nothing(uploads, monkeypatch):
    def full(source, target, length):
        target.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(receiving.shutil, "copyfileobj", full)
    assert "no room" in refused(lambda: give(uploads, b"mine"), 507)
    assert not list(uploads.folder.iterdir())
    monkeypatch.undo()
    monkeypatch.setattr(receiving, "SPARE", 10**18)
    refused(lambda: give(uploads, b"mine"), 507)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain", b"abc"),
        ("multipart/form-data", b"abc"),
        ("multipart/form-data; boundary=b", b"abc"),
        ("multipart/form-data; boundary=b", b"--b--\r\n"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--b--\r\n'),
    ],
)
def test_another_form_is_refused_and_leaves_nothing(uploads, kind, body):
    async def sent():
        yield body

    headers = Headers({"content-type": kind})
    refused(lambda: asyncio.run(uploads.receive(headers, sent(), 100, "anna", "1")), 400)
    assert not list(uploads.folder.iterdir())


@given(st.text(max_size=300))
def test_every_name_becomes_a_plain_one_in_its_folder(name):
    plain = receiving._plain(name)
    assert 1 <= len(plain) <= LONGEST_NAME
    assert Path(plain).name == plain
    assert plain not in (".", "..")
    assert not set(plain) & set('/\\\0:*?"<>|%\n')


def test_the_ending_of_a_long_name_stays():
    assert receiving._plain("x" * 500 + ".svs").endswith("x.svs")
    assert receiving._plain("C:\\slides\\café 1.svs") == "café 1.svs"
