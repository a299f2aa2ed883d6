"""A visitor's story in a real Chromium: seeds by mouse, by keys, on the map; then files to take home."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import anndata
import pytest
import tifffile

from demos.bundle import FOLDER
from demos.sic.samples import SLIDE
from histolab_lite.data.phantom.pyramid import write_pyramid
from histolab_lite.data.slides import Slide
from histolab_lite.formats.ome_tiff import read_labels
from tests.browser.browsing import LAPTOP, PATIENCE, PHONE, expect, serve
from tests.browser.browsing import Visitor as BaseVisitor

TILE = re.compile(r"/slides/[\w-]{32}/(\d+)/\d+_\d+\.jpeg$")
TUMOUR, BESIDE_TUMOUR, STROMA, GLAND = (
    (0.33, 0.80),
    (0.36, 0.78),
    (0.30, 0.55),
    (0.80, 0.30),
)  # on the phantom, shares of its width and height


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    with serve("demos.sic", tmp_path_factory.mktemp("demo") / "log.txt") as url:
        yield url


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

    def seeds(self, *marks: str) -> None:
        found = self.page.locator("#seed-stage .seed")
        expect(found).to_have_text([re.compile(f"^{mark}!?$") for mark in marks], timeout=PATIENCE)

    def result(self, text: str) -> None:
        self.see("#seed-bench .result", text=text)

    def bring(self, path: Path) -> None:
        self.open("seed-own")
        self.upload("#seed-upload", path.name, path.read_bytes())

    def ink(self) -> int:
        """Pixels that are laid over the slide."""
        return self.page.evaluate(
            """() => { const sheet = document.querySelector('#seed-stage .sheet');
            const data = sheet.getContext('2d').getImageData(0, 0, sheet.width, sheet.height).data;
            let count = 0; for (let i = 3; i < data.length; i += 4) count += data[i] > 0; return count; }"""
        )

    def image(self) -> str:
        return self.page.evaluate("document.querySelector('#seed-stage .sheet').toDataURL()")

    def tiles(self) -> list[re.Match]:
        """The slide's tiles the page has asked for; waits for the first, and until half a second brings no more."""
        until, before, asked = time.monotonic() + PATIENCE / 1000, -1, []
        while not asked or len(asked) > before:
            assert time.monotonic() < until, "the page never stops asking" if asked else "the page asks for no tile"
            before = len(asked)
            self.page.wait_for_timeout(500)
            asked = [tile for url in self.asked if (tile := TILE.search(url))]
        return asked


def small_slide(folder: Path) -> Path:
    with Slide(FOLDER / SLIDE) as slide:
        return write_pyramid(slide.read(800, 1200, 768), 0.5, folder / "own.tif", 80, 256)


def test_by_mouse_from_seeds_to_files(meet, tmp_path):
    visitor = meet()
    assert visitor.tiles()
    visitor.result("Click on the slide")
    assert visitor.ink() == 0
    visitor.click_slide(*TUMOUR)
    visitor.seeds("1")
    visitor.result("All seeds are tumour so far")
    visitor.choose(2)
    visitor.click_slide(*STROMA)
    visitor.seeds("1", "2")
    visitor.result("Of 1,558 patches: tumour")
    assert visitor.ink() > 0
    visitor.choose(3)
    visitor.click_slide(*GLAND)
    visitor.seeds("1", "2", "3")
    visitor.see(".classes .count", 3)
    visitor.click_slide(*BESIDE_TUMOUR)  # a seed that the first iteration loses
    visitor.seeds("1", "2", "3", "3")
    steps = visitor.page.locator("#seed-step")
    expect(steps).to_have_attribute("aria-valuetext", re.compile("the answer"), timeout=PATIENCE)
    steps.press("Home")
    visitor.see(".steps-of p", text="Seeded k-means on all patches")
    first = visitor.image()
    steps.press("End")
    visitor.see(".steps-of p", text="Every cluster was divided again")
    assert visitor.image() != first
    visitor.page.get_by_role("button", name="Undo").click()
    visitor.seeds("1", "2", "3")
    visitor.page.get_by_label("Nothing").check()
    assert visitor.ink() == 0
    for view in ("Confidence", "Embedding colours", "Classes"):
        visitor.page.get_by_label(view, exact=True).check()
        assert visitor.ink() > 0

    outlines = json.loads(visitor.save("#seed-geojson", tmp_path).read_text())
    names = [feature["properties"]["classification"]["name"] for feature in outlines["features"]]
    assert names == ["tumour", "stroma", "gland"]
    table = anndata.read_h5ad(visitor.save("#seed-h5ad", tmp_path))
    assert sorted(table.obs["seed"].dropna()) == ["gland", "stroma", "tumour"]
    image = read_labels(visitor.save("#seed-labels", tmp_path))
    assert image.class_names == ("tumour", "stroma", "gland")
    assert tifffile.imread(tmp_path / "seeds.ome.tif").shape == image.ids.shape

    visitor.click_slide(*GLAND)  # the same class once more takes it away
    visitor.seeds("1", "2")
    visitor.page.get_by_role("button", name="Undo").click()
    visitor.seeds("1", "2", "3")
    visitor.page.get_by_role("button", name="Clear all").click()
    visitor.seeds()
    visitor.page.get_by_role("button", name="Undo").click()
    visitor.seeds("1", "2", "3")
    assert not visitor.elsewhere


def test_by_keys_alone_and_back_after_a_refresh(meet):
    visitor = meet()
    for _ in range(30):
        visitor.press("Tab")
        if visitor.page.evaluate("document.activeElement.id === 'seed-stage'"):
            break
    said = visitor.page.locator("p[aria-live]")
    expect(said).to_contain_text("Row", timeout=PATIENCE)
    visitor.press("1", "ArrowRight", "ArrowRight", "ArrowDown", "1")
    visitor.seeds("1", "1")
    before = said.text_content()
    visitor.press("n")
    expect(said).to_contain_text("Where a seed would tell most", timeout=PATIENCE)
    assert said.text_content() != before
    visitor.press("2", "n", "3")  # faster than answers
    visitor.seeds("1", "1", "2", "3")
    visitor.result("Of 1,558 patches")
    visitor.press("9", "+", "-", "0", "Control+1")
    visitor.press("Backspace")
    visitor.seeds("1", "1", "2")
    visitor.page.get_by_label("Hold clusters at their seeds").focus()
    visitor.press("Space")
    visitor.see("#seed-stage[aria-busy=false]")
    visitor.page.reload()
    visitor.see(visitor.ready)
    visitor.seeds("1", "1", "2")
    expect(visitor.page.get_by_label("Hold clusters at their seeds")).to_be_checked(timeout=PATIENCE)
    visitor.page.locator("#seed-stage").focus()
    visitor.press("Backspace")
    visitor.seeds("1", "1")


def test_a_click_on_the_map_drops_a_seed_on_the_slide(meet):
    visitor = meet()
    visitor.choose(2)
    box = visitor.page.locator("#seed-map").bounding_box()
    for down in range(20, int(box["height"]), 8):  # the first dot that is met along the middle
        visitor.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + down)
        if visitor.page.locator("#seed-stage .hover:not([hidden])").count():
            break
    visitor.page.mouse.down()
    visitor.page.mouse.up()
    visitor.seeds("2")
    visitor.page.mouse.move(2, 2)
    visitor.see("#seed-stage .hover:not([hidden])", 0)


def test_zoom_asks_for_finer_tiles(meet):
    visitor = meet()
    finest = max(int(tile[1]) for tile in visitor.tiles())
    zoom = visitor.page.get_by_role("button", name="Zoom in")
    with visitor.page.expect_response(lambda answer: f"/{finest + 1}/" in answer.url):
        for _ in range(4):
            zoom.click()
    visitor.page.get_by_role("button", name="Whole slide").click()


def test_other_classes_by_name(meet):
    visitor = meet()
    field = visitor.page.get_by_label("Classes, 2 to 6")
    expect(field).to_have_value("tumour, stroma, gland", timeout=PATIENCE)
    field.fill("a<b, c")
    field.press("Enter")
    visitor.see(".classes .name", 2)
    expect(visitor.page.locator(".classes .name")).to_have_text(["a<b", "c"], timeout=PATIENCE)
    field.fill("one")
    field.press("Enter")
    visitor.see("#seed-problem [role=alert]", text="Name 2 to")
    visitor.see(".classes .name", 2)


def test_an_own_slide_and_one_that_is_none(meet, address, tmp_path):
    visitor = meet()
    (tmp_path / "bad.svs").write_bytes(b"no slide")
    visitor.bring(tmp_path / "bad.svs")
    visitor.see("#seed-problem [role=alert]", text="not a slide that can be read here")
    path = small_slide(tmp_path)
    with visitor.page.expect_file_chooser() as chooser:
        visitor.page.locator("#seed-upload").click()
    chooser.value.set_files(path)
    visitor.see("#seed-problem [role=status] progress", 1)
    visitor.see("#seed-caption", text="Your slide: 768 × 768 pixels")
    visitor.see("#seed-stage:not([data-ready=phantom])")
    visitor.click_slide(0.3, 0.3)
    visitor.choose(2)
    visitor.click_slide(0.8, 0.8)
    visitor.seeds("1", "2")
    tile = visitor.tiles()[-1].string
    visitor.page.reload()
    visitor.see("#seed-problem [role=alert]", text="Upload the same file again")
    visitor.bring(path)
    visitor.see("#seed-caption", text="Your slide: 768 × 768 pixels")
    visitor.seeds("1", "2")
    visitor.page.get_by_label("Slide", exact=True).click()
    visitor.page.get_by_role("option", name="Phantom slide").click()
    visitor.see("#seed-stage[data-ready=phantom]")
    visitor.seeds()
    assert visitor.tiles()[-1].string != tile


def test_two_visitors_never_mix(meet):
    one, other = meet(), meet()
    one.click_slide(*TUMOUR)
    one.seeds("1")
    other.page.reload()
    other.see(other.ready)
    other.seeds()


def test_a_phone_in_the_dark_needs_no_sideways_scrolling(meet):
    visitor = meet(viewport=PHONE, color_scheme="dark", has_touch=True)
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    box = visitor.page.locator("#seed-stage .canvas").bounding_box()
    visitor.page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    visitor.seeds("1")


def test_on_a_laptop_slide_classes_and_map_are_in_view(meet):
    visitor = meet(viewport=LAPTOP)
    for part in ("#seed-stage", ".classes", "#seed-map"):
        box = visitor.page.locator(part).bounding_box()
        assert box["y"] + box["height"] <= LAPTOP["height"], part


def test_an_upload_does_not_outlive_the_server(browser, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with serve("demos.sic", tmp_path / "log.txt") as url:
        visitor = Visitor(browser, url)
        visitor.bring(small_slide(tmp_path))
        visitor.see("#seed-caption", text="Your slide: 768 × 768 pixels")
        assert len(list(tmp_path.glob("histolab-demos-*/histolab-seed-*/*"))) == 1
        visitor.context.close()
    assert not list(tmp_path.glob("histolab-*"))


def test_a_tile_of_nobody_is_refused(address):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{address}/slides/{'a' * 32}/0/0_0.jpeg", timeout=30)
