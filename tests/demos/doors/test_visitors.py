"""A session belongs to the browser that opened it."""

import pytest
from starlette.datastructures import Headers

from demos.doors.visitors import Visitors
from tests.demos.doors.refusals import refusal


def test_a_visitor_is_known_by_the_cookie_and_has_sessions_of_their_own():
    visitors = Visitors()
    cookie = visitors.greet()
    assert {"HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))
    assert visitors.greet() != cookie
    sent = cookie.partition(";")[0]
    headers = Headers({"cookie": f"other=1; {sent}"})
    assert visitors.known(headers) == visitors.expect(headers) == sent.removeprefix("visitor=")
    assert {"SameSite=None", "Secure", "Partitioned"} <= set(Visitors(framed=True).greet().split("; "))
    names = {visitors.session(visitor, name) for visitor in ("anna", "ben") for name in ("x", "y")}
    assert len(names) == 4
    assert visitors.session("anna", "x") == visitors.session("anna", "x")
    assert Visitors().session("anna", "x") != visitors.session("anna", "x")


@pytest.mark.parametrize("text", ["", "visitor=", "visitor=a", "visitor=" + "a" * 44, "a;b;;=", "visitor=\xe4" * 43])
def test_any_other_cookie_is_no_visitor(text):
    with refusal(403, "cookie"):
        Visitors().expect(Headers({"cookie": text}))
