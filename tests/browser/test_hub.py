"""All demos under one roof, in a real Chromium: from page to page by the bar, by a shared address, and back."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator

import psutil
import pytest

from tests.browser.browsing import LAPTOP, PHONE, Visitor, expect, free_port, serve

READY = {
    "cvm": "#main svg",
    "proto2seg": "#panel [data-serial]",
    "mlps": "#panel [data-serial]",
    "sic": "#seed-stage[data-ready]",
}
TITLES = {
    "cvm": "Click points, get an outline",
    "proto2seg": "Name clusters, get masks",
    "mlps": "Tag patches, get masks",
    "sic": "Drop seeds, sort a slide",
}

#: What a visitor does on a page, and what shows that it was kept.
LABELS = {
    "cvm": lambda page: page.locator("#main svg").click(position={"x": 100, "y": 100}),
    "proto2seg": lambda page: page.keyboard.press("2"),
    "mlps": lambda page: page.keyboard.press("1"),
    "sic": lambda page: page.locator("#seed-stage").click(),
}
LABELLED = {
    "cvm": "#main [data-point]",
    "proto2seg": "#panel [data-do=name][aria-pressed=true]",
    "mlps": '#panel .tag[data-state="there"]',
    "sic": "#seed-stage .seed",
}


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    with serve("demos", tmp_path_factory.mktemp("hub") / "log.txt") as url:
        yield url


class Guest(Visitor):
    ready = "nav.pages"

    def at(self, name: str) -> None:
        expect(self.page).to_have_url(f"{self.address.rstrip('/')}/{name}/", timeout=60_000)
        self.see("h1", text=TITLES[name])
        self.see(READY[name], 1)
        self.see("nav.pages > a", len(TITLES))
        self.see("nav.pages .about a", 2)
        self.see("nav.pages a[aria-current=page]", 1)


def test_from_page_to_page_and_labels_stay(browser, address):
    guest = Guest(browser, address)
    guest.at("cvm")
    guest.page.locator("nav.pages a", has_text="Tag patches").click()
    guest.at("mlps")
    guest.see('#panel [data-patch="0"]', 1)
    guest.page.keyboard.press("1")
    guest.see('#panel .tag[data-state="there"]', 1)
    guest.page.locator("nav.pages a", has_text="Click points").click()
    guest.at("cvm")
    guest.see("#main svg", 1)
    guest.page.go_back()
    guest.at("mlps")
    guest.see('#panel .tag[data-state="there"]', 1)
    assert not guest.complaints
    assert not guest.elsewhere
    guest.context.close()


def test_a_shared_address_by_keyboard_on_a_phone_and_in_the_dark(browser, address):
    guest = Guest(browser, address, PHONE, color_scheme="dark")
    guest.page.goto(f"{address}/tag-patches")  # as the page was once called
    guest.at("mlps")
    guest.page.keyboard.press("Tab")
    assert guest.page.evaluate("document.activeElement.textContent") == "Click points · CVM"
    width = guest.page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"], f"the page is {width} pixels wide"
    guest.page.keyboard.press("Enter")
    guest.at("cvm")
    assert not guest.complaints
    guest.context.close()


def test_two_visitors_never_mix(browser, address):
    one, other = (Guest(browser, address, LAPTOP) for _ in range(2))
    for guest in (one, other):
        guest.page.goto(f"{address}/mlps/")
        guest.see('#panel [data-patch="0"]', 1)
    one.page.keyboard.press("2")
    one.see('#panel .tag[data-state="there"]', 1)
    other.page.reload()
    other.see('#panel [data-patch="0"]', 1)
    other.see('#panel .tag[data-state="there"]', 0)
    for guest in (one, other):
        guest.context.close()


def test_health(address):
    with urllib.request.urlopen(f"{address}/health", timeout=30) as answer:
        assert json.load(answer) == {"status": "ok", "pages": list(TITLES)}


@pytest.mark.parametrize("viewport", [LAPTOP, PHONE], ids=["laptop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", TITLES)
def test_axe_finds_no_barrier(browser, address, name, scheme, viewport):
    guest = Guest(browser, address, viewport, color_scheme=scheme)
    guest.page.goto(f"{address}/{name}/")
    guest.at(name)
    assert not guest.barriers()
    LABELS[name](guest.page)
    guest.see(LABELLED[name], 1)
    assert not guest.barriers()
    guest.context.close()


def test_axe_would_find_one(browser, address):
    guest = Guest(browser, address)
    guest.at("cvm")
    guest.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=\"data:,\">')")
    assert any("image-alt" in barrier for barrier in guest.barriers())
    guest.context.close()


def test_the_lesson_opens_from_the_bar(browser, address):
    guest = Guest(browser, address)
    guest.at("cvm")
    guest.page.context.route("**/*.js*", lambda route: route.abort())  # MathJax
    with guest.page.context.expect_page() as opened:
        guest.page.locator("nav.pages .about a", has_text="Lesson 07").click()
    expect(opened.value.locator("h1").first).to_be_visible(timeout=60_000)
    guest.context.close()


def test_a_crash_of_the_server_loses_no_label(browser, tmp_path):
    """Killed, not stopped, then started again at the same address."""
    port = free_port()
    with serve("demos", tmp_path / "before.txt", port=port) as url:
        guest = Guest(browser, url)
        for name, label in LABELS.items():
            guest.page.goto(f"{url}/{name}/")
            guest.at(name)
            label(guest.page)
            guest.see(LABELLED[name], 1)
        guest.page.wait_for_timeout(1000)  # until the browser has written
        (server,) = (child for child in psutil.Process().children() if str(port) in child.cmdline())
        server.kill()
    with serve("demos", tmp_path / "after.txt", port=port):
        for name in LABELS:
            guest.page.goto(f"{url}/{name}/")
            guest.at(name)
            guest.see(LABELLED[name], 1)
    guest.context.close()
