"""The site without a network: every link leads somewhere, formulas are drawn, and axe finds no barrier."""

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlparse

import pytest

pytest.importorskip("sphinx", reason="the site needs Sphinx: pip install 'histolab-lite[docs]'")

from bs4 import BeautifulSoup  # noqa: E402  # comes with nbconvert

from tests.browser.browsing import LAPTOP, PHONE  # noqa: E402
from tests.browser.browsing import Visitor as BaseVisitor  # noqa: E402
from tools.lessons.site import build  # noqa: E402

LESSON = "lessons/01_simclr.html"


class Visitor(BaseVisitor):
    ready = "main"


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site's folder, of the committed lessons."""
    return build(tmp_path_factory.mktemp("site")).parent


@pytest.fixture(scope="module")
def address(site):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(site))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_every_link_leads_to_a_file_of_the_site(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    lost = []
    for page in pages:
        content = BeautifulSoup(page.read_bytes(), "html.parser")
        targets = {tag["href"] for tag in content("a", href=True)} | {tag["src"] for tag in content("img", src=True)}
        for target in map(urlparse, targets):
            if not target.scheme and target.path and not (page.parent / unquote(target.path)).exists():
                lost.append((page.name, target.path))
    assert lost == []


@pytest.mark.parametrize("viewport", [LAPTOP, PHONE], ids=["laptop", "phone"])
@pytest.mark.parametrize("name", ["", LESSON, "claims.html", "glossary.html", "api/histolab_lite.kernels.kmeans.html"])
def test_a_page_is_whole_without_a_network(meet, address, name, viewport):
    visitor = meet(viewport=viewport)  # who is refused any other server
    visitor.page.goto(address + name)
    visitor.see("main")
    if name == LESSON:
        visitor.see("mjx-container", count=9)
        assert visitor.page.locator("mjx-container svg, mjx-container mjx-math").count() >= 9
        visitor.see("a.right-next")
    assert visitor.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert visitor.complaints == []
    assert visitor.barriers() == []
    visitor.complaints.clear()  # axe itself asks for style sheets, some of which are not there
