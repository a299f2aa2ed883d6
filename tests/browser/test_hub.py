"""All demos under one roof, in a real Chromium: from page to page by the bar, by a shared address, and back."""

import psutil
import pytest

from tests.browser.browsing import LAPTOP, PHONE, expect, free_port, serve
from tests.browser.browsing import Visitor as BaseVisitor

#: Title, what is there once the page can be used, the key or the place to click for a label, and what that leaves.
PAGES = {
    "cvm": ("Click points, get an outline", "#main svg", "#main svg", "#main [data-point]"),
    "proto2seg": ("Name clusters, get masks", "#panel [data-serial]", "2", "#panel [data-do=name][aria-pressed=true]"),
    "mlps": ("Tag patches, get masks", "#panel [data-serial]", "1", '#panel .tag[data-state="there"]'),
    "sic": ("Drop seeds, sort a slide", "#seed-stage[data-ready]", "#seed-stage", "#seed-stage .seed"),
}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with serve("demos", tmp_path_factory.mktemp("hub") / "log.txt") as url:
        yield url


class Visitor(BaseVisitor):
    ready = "nav.pages"

    def go(self, name: str) -> None:
        self.page.goto(f"{self.address.rstrip('/')}/{name}/")
        self.at(name)

    def at(self, name: str) -> None:
        expect(self.page).to_have_url(f"{self.address.rstrip('/')}/{name}/", timeout=60_000)
        title, ready, _, _ = PAGES[name]
        self.see("h1", text=title)
        self.see(ready, 1)
        self.see("nav.pages > a", len(PAGES))
        self.see("nav.pages .about a", 2)
        self.see("nav.pages a[aria-current=page]", 1)

    def label(self, name: str) -> None:
        what = PAGES[name][2]
        self.page.locator(what).click() if what.startswith("#") else self.press(what)
        self.labels(name, 1)

    def labels(self, name: str, count: int) -> None:
        self.see(PAGES[name][3], count)


def test_from_page_to_page_labels_stay_and_two_visitors_never_mix(meet):
    visitor = meet()
    visitor.at("cvm")
    for name, title in (("mlps", "Tag patches"), ("cvm", "Click points")):
        visitor.page.locator("nav.pages a", has_text=title).click()
        visitor.at(name)
        visitor.label(name)
    visitor.page.go_back()
    visitor.at("mlps")
    visitor.labels("mlps", 1)
    other = meet()
    for name in PAGES:
        other.go(name)
        other.labels(name, 0)


def test_a_shared_address_by_keyboard_on_a_phone_and_in_the_dark(meet, address):
    visitor = meet(viewport=PHONE, color_scheme="dark")
    visitor.page.goto(f"{address}/tag-patches")  # as the page was once called
    visitor.at("mlps")
    visitor.press("Tab")
    assert visitor.page.evaluate("document.activeElement.textContent") == "Click points · CVM"
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    visitor.press("Enter")
    visitor.at("cvm")


@pytest.mark.parametrize("viewport", [LAPTOP, PHONE], ids=["laptop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_no_barrier(meet, name, scheme, viewport):
    visitor = meet(viewport=viewport, color_scheme=scheme)
    visitor.go(name)
    assert not visitor.barriers()
    visitor.label(name)
    assert not visitor.barriers()
    visitor.complaints.clear()  # axe's own


def test_axe_would_find_one(meet):
    visitor = meet()
    visitor.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=\"data:,\">')")
    assert any("image-alt" in barrier for barrier in visitor.barriers())
    visitor.complaints.clear()


def test_a_crash_of_the_server_loses_no_label(browser, tmp_path):
    """Killed, not stopped, then started again at the same address."""
    port = free_port()
    with serve("demos", tmp_path / "before.txt", port=port) as url:
        visitor = Visitor(browser, url)
        for name in PAGES:
            visitor.go(name)
            visitor.label(name)
        visitor.page.wait_for_timeout(1000)  # until the browser has written
        (server,) = (child for child in psutil.Process().children() if str(port) in child.cmdline())
        server.kill()
    with serve("demos", tmp_path / "after.txt", port=port):
        for name in PAGES:
            visitor.go(name)
            visitor.labels(name, 1)
    visitor.context.close()
