"""A session belongs to the browser that opened it."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="the demos need gradio: pip install 'histolab-lite[demos]'")

from starlette.datastructures import Headers  # noqa: E402

from demos.doors.refusal import Refusal  # noqa: E402
from demos.doors.visitors import Visitors  # noqa: E402


def with_cookie(text: str) -> Headers:
    return Headers({"cookie": text})


def test_a_visitor_is_known_by_the_cookie_that_was_given():
    visitors = Visitors()
    cookie = visitors.greet()
    assert {"HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))
    sent = cookie.partition(";")[0]
    assert visitors.known(with_cookie(f"other=1; {sent}")) == sent.partition("=")[2]
    assert visitors.greet() != cookie


@pytest.mark.parametrize("text", ["", "visitor=", "visitor=a", "visitor=" + "a" * 44, "a;b;;=", "visitor=\xe4" * 43])
def test_any_other_cookie_is_no_visitor(text):
    visitors = Visitors()
    assert visitors.known(with_cookie(text)) is None
    with pytest.raises(Refusal, match="cookie") as refused:
        visitors.expect(with_cookie(text))
    assert refused.value.status == 403


def test_one_name_from_two_browsers_is_two_sessions():
    visitors = Visitors()
    names = {visitors.session(visitor, name) for visitor in ("anna", "ben") for name in ("x", "y")}
    assert len(names) == 4
    assert visitors.session("anna", "x") == visitors.session("anna", "x")
    assert Visitors().session("anna", "x") != visitors.session("anna", "x")


def test_within_another_site_the_cookie_says_so():
    assert {"SameSite=None", "Secure", "Partitioned"} <= set(Visitors(framed=True).greet().split("; "))
