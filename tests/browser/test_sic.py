"""A visitor's story in a real Chromium: seeds by mouse, by keys, on the map; files to save; an own slide."""

import json
import re

import anndata
import pytest

from demos.bundle import FOLDER
from demos.sic.samples import SLIDE
from histolab_lite.data.phantom.pyramid import write_pyramid
from histolab_lite.data.slides import Slide
from histolab_lite.formats.ome_tiff import read_labels
from tests.browser.browsing import LAPTOP, PATIENCE, PHONE, expect, serve
from tests.browser.browsing import Visitor as BaseVisitor

TILE = re.compile(r"/slides/[\w-]{32}/(\d+)/\d+_\d+\.jpeg$")
# On the phantom, shares of its width and height.
TUMOUR, BESIDE_TUMOUR, STROMA, GLAND = (0.33, 0.80), (0.36, 0.78), (0.30, 0.55), (0.80, 0.30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def address(folder):
    """The demo, whose temporary files must not outlive it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        with serve("demos.sic", folder / "log.txt") as url:
            yield url
    assert not list(folder.glob("histolab-*"))


class Visitor(BaseVisitor):
    ready = "#seed-stage[data-ready]"

    def click_slide(self, x: float, y: float) -> None:
        """At shares of the slide's width and height; the slide is a square and wholly in view."""
        self.page.locator("#seed-stage").scroll_into_view_if_needed()
        box = self.page.locator("#seed-stage .canvas").bounding_box()
        side = min(box["width"], box["height"])
        left, top = box["x"] + (box["width"] - side) / 2, box["y"] + (box["height"] - side) / 2
        self.page.mouse.click(left + x * side, top + y * side)

    def choose(self, name: int) -> None:
        self.page.locator(".classes label").nth(name - 1).click()

    def click(self, name: str) -> None:
        self.page.get_by_role("button", name=name).click()

    def seeds(self, *marks: str) -> None:
        found = self.page.locator("#seed-stage .seed")
        expect(found).to_have_text([re.compile(f"^{mark}!?$") for mark in marks], timeout=PATIENCE)

    def result(self, text: str) -> None:
        self.see("#seed-bench .result", text=text)

    def ink(self) -> int:
        """The number of pixels drawn over the slide."""
        return self.page.evaluate(
            """() => { const sheet = document.querySelector('#seed-stage .sheet');
            const data = sheet.getContext('2d').getImageData(0, 0, sheet.width, sheet.height).data;
            let count = 0; for (let i = 3; i < data.length; i += 4) count += data[i] > 0; return count; }"""
        )

    def sheet(self) -> str:
        return self.page.evaluate("document.querySelector('#seed-stage .sheet').toDataURL()")

    def finest(self) -> int:
        """The finest level of tiles that the page has asked for, once half a second brings no more."""
        before, asked = -1, []
        while not asked or len(asked) > before:
            before = len(asked)
            self.page.wait_for_timeout(500)
            asked = [int(tile[1]) for url in self.asked if (tile := TILE.search(url))]
        return max(asked)


def test_by_mouse_from_seeds_to_files(meet, tmp_path):
    visitor = meet()
    visitor.result("Click a patch")
    assert visitor.ink() == 0
    for name, place, result in ((1, TUMOUR, "All seeds are tumour so far"), (2, STROMA, "Of 1,558 patches: tumour")):
        visitor.choose(name)
        visitor.click_slide(*place)
        visitor.result(result)
    assert visitor.ink() > 0
    visitor.choose(3)
    visitor.click_slide(*GLAND)
    visitor.seeds("1", "2", "3")
    visitor.see(".classes .count", 3)
    visitor.click_slide(*BESIDE_TUMOUR)  # a seed that the first iteration loses
    visitor.seeds("1", "2", "3", "3")
    steps = visitor.page.locator("#seed-step")
    expect(steps).to_have_attribute("aria-valuetext", re.compile("the answer"), timeout=PATIENCE)
    sheets = set()
    for key, text in (("Home", "Seeded k-means on all patches"), ("End", "Every cluster was divided again")):
        steps.press(key)
        visitor.see(".steps-of p", text=text)
        sheets.add(visitor.sheet())
    visitor.click("Undo")
    visitor.seeds("1", "2", "3")
    for view in ("Nothing", "Confidence", "Embedding colours"):
        visitor.page.get_by_label(view, exact=True).check()
        sheets.add(visitor.sheet())
        assert (visitor.ink() == 0) == (view == "Nothing")
    assert len(sheets) == 5

    outlines = json.loads(visitor.save("#seed-geojson", tmp_path).read_text())
    names = [feature["properties"]["classification"]["name"] for feature in outlines["features"]]
    assert names == ["tumour", "stroma", "gland"]
    table = anndata.read_h5ad(visitor.save("#seed-h5ad", tmp_path))
    assert sorted(table.obs["seed"].dropna()) == ["gland", "stroma", "tumour"]
    assert read_labels(visitor.save("#seed-labels", tmp_path)).class_names == ("tumour", "stroma", "gland")

    visitor.click_slide(*GLAND)  # the same class once more removes it
    visitor.seeds("1", "2")
    visitor.click("Undo")
    visitor.seeds("1", "2", "3")
    visitor.click("Clear all")
    visitor.seeds()
    visitor.click("Undo")
    visitor.seeds("1", "2", "3")


def test_by_keys_alone_and_back_after_a_reload(meet):
    visitor = meet()
    visitor.tab_to("#seed-stage")
    said = visitor.page.locator("p[aria-live]")
    expect(said).to_contain_text("Row", timeout=PATIENCE)
    visitor.press("1", "ArrowRight", "ArrowRight", "ArrowDown", "1")
    visitor.seeds("1", "1")
    visitor.press("n")
    expect(said).to_contain_text("A seed helps most here", timeout=PATIENCE)
    visitor.press("2", "n", "3")  # faster than answers
    visitor.seeds("1", "1", "2", "3")
    visitor.result("Of 1,558 patches")
    visitor.press("9", "+", "-", "0", "Control+1", "Backspace")
    visitor.seeds("1", "1", "2")
    visitor.page.get_by_label("Hold clusters at their seeds").focus()
    visitor.press("Space")
    visitor.see("#seed-stage[aria-busy=false]")
    visitor.visit()
    visitor.seeds("1", "1", "2")
    expect(visitor.page.get_by_label("Hold clusters at their seeds")).to_be_checked(timeout=PATIENCE)
    visitor.page.locator("#seed-stage").focus()
    visitor.press("Backspace")
    visitor.seeds("1", "1")
    meet().seeds()  # another visitor


def test_on_a_laptop_all_is_in_view_and_a_click_on_the_map_drops_a_seed(meet):
    visitor = meet(viewport=LAPTOP)
    for part in ("#seed-stage", ".classes", "#seed-map"):
        box = visitor.page.locator(part).bounding_box()
        assert box["y"] + box["height"] <= LAPTOP["height"], part
    visitor.choose(2)
    for down in range(20, int(box["height"]), 8):  # the first dot along the middle of the map
        visitor.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + down)
        if visitor.page.locator("#seed-stage .hover:not([hidden])").count():
            break
    visitor.page.mouse.down()
    visitor.page.mouse.up()
    visitor.seeds("2")
    visitor.page.mouse.move(2, 2)
    visitor.see("#seed-stage .hover:not([hidden])", 0)
    finer = visitor.finest() + 1
    with visitor.page.expect_response(lambda answer: f"/{finer}/" in answer.url):
        for _ in range(4):
            visitor.click("Zoom in")
    visitor.click("Whole slide")


def test_classes_are_renamed(meet):
    visitor = meet()
    field = visitor.page.get_by_label("Classes, 2 to 6")
    expect(field).to_have_value("tumour, stroma, gland", timeout=PATIENCE)
    for text in ("a<b, c", "one"):
        field.fill(text)
        field.press("Enter")
        expect(visitor.page.locator(".classes .name")).to_have_text(["a<b", "c"], timeout=PATIENCE)
    visitor.see("#seed-problem [role=alert]", text="Name 2 to")


def test_an_own_slide_is_prepared_and_comes_back(meet, folder, tmp_path):
    visitor, path = meet(), tmp_path / "own.tif"
    with Slide(FOLDER / SLIDE) as slide:
        write_pyramid(slide.read(800, 1200, 768), 0.5, path, 80, 256)

    def bring(content: bytes = path.read_bytes()) -> None:
        visitor.upload("#seed-upload", "own.tif", content)

    visitor.open("seed-own")
    bring(b"no slide")
    visitor.see("#seed-problem [role=alert]", text="not a slide that can be read here")
    bring()
    visitor.see("#seed-problem [role=status] progress", 1)
    visitor.see("#seed-caption", text="Your slide: 768 × 768 pixels")
    visitor.see("#seed-stage:not([data-ready=phantom])")
    assert len(list(folder.glob("histolab-demos-*/histolab-seed-*/*"))) == 1
    visitor.click_slide(0.3, 0.3)
    visitor.choose(2)
    visitor.click_slide(0.8, 0.8)
    visitor.seeds("1", "2")
    visitor.visit()
    visitor.see("#seed-problem [role=alert]", text="Upload the same file again")
    visitor.open("seed-own")
    bring()
    visitor.see("#seed-caption", text="Your slide: 768 × 768 pixels")
    visitor.seeds("1", "2")
    visitor.page.get_by_label("Slide", exact=True).click()
    visitor.page.get_by_role("option", name="Phantom slide").click()
    visitor.see("#seed-stage[data-ready=phantom]")
    visitor.seeds()
    bring()  # it is still there when the server ends
    visitor.see("#seed-stage:not([data-ready=phantom])")


def test_a_phone_in_the_dark_needs_no_sideways_scrolling(meet):
    visitor = meet(viewport=PHONE, color_scheme="dark", has_touch=True)
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    box = visitor.page.locator("#seed-stage .canvas").bounding_box()
    visitor.page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    visitor.seeds("1")
