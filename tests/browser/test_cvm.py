"""A visitor's story in a real Chromium: click, see the outline, undo, come back, take it to QuPath."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from histolab_lite.formats.masks import read_mask
from histolab_lite.formats.qupath import read_geojson
from tests.browser.browsing import LAPTOP, PATIENCE, PHONE, expect, serve
from tests.browser.browsing import Visitor as BaseVisitor

INSIDE, OUTSIDE = [(0.3, 0.25), (0.7, 0.2), (0.62, 0.75)], [(0.3, 0.7), (0.6, 0.55), (0.93, 0.5)]  # glands, stroma


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with serve("demos.cvm", tmp_path_factory.mktemp("demo") / "log.txt") as url:
        yield url


class Visitor(BaseVisitor):
    ready = "#numbers [data-state]:not([data-state=reading])"

    def points(self, count: int) -> None:
        self.see("#main [data-point]", count)

    def click(self, name: str, where: list[tuple[float, float]], view: str = "#main") -> None:
        """Points of a class, at shares of the view's width and height, one after another."""
        self.page.locator("#choice").get_by_label(name).check()
        shown = self.page.locator(f"{view} svg[data-image]")
        before = self.page.locator("#main [data-point]").count()
        for number, (x, y) in enumerate(where, before + 1):
            box = shown.bounding_box()
            shown.click(position={"x": box["width"] * x, "y": box["height"] * y})
            self.points(number)

    def fill(self, label: str, text: str) -> None:
        self.page.get_by_label(label).fill(text)
        self.page.get_by_label(label).press("Enter")

    def share(self, unlike: float | None = None) -> float:
        """Of the tissue, once it has changed."""
        row = self.see('#numbers tr[data-class="1"]')
        if unlike is not None:
            expect(row).not_to_have_attribute("data-share", f"{unlike:.6f}", timeout=PATIENCE)
        return float(row.get_attribute("data-share"))


def test_from_clicks_to_qupath(meet, tmp_path):
    visitor = meet()
    visitor.see("#numbers", text="inside")
    visitor.click("inside", INSIDE)
    visitor.see("#numbers", text="outside")
    visitor.click("outside", OUTSIDE[:2])
    first = visitor.share()
    visitor.click("outside", OUTSIDE[2:])
    second = visitor.share(unlike=first)
    assert 0.3 < second < 0.9
    visitor.see("#contrast image.heat")

    visitor.page.locator("#undo").click()
    visitor.points(5)
    assert visitor.share(unlike=second) == pytest.approx(first)
    visitor.open("coordinates")
    visitor.page.get_by_label("x, pixels from the left").fill(str(int(0.93 * 512)))
    visitor.fill("y, pixels from the top", "256")
    visitor.points(6)
    kept = visitor.share(unlike=first)

    outlines, mask, figure = (visitor.save(f"#save-{kind}", tmp_path) for kind in ("qupath", "mask", "figure"))
    drawn = read_geojson(json.loads(outlines.read_text()), (512, 512), ["outside", "inside"]) == 1
    inside = read_mask(mask) == 1
    assert (drawn & inside).sum() / (drawn | inside).sum() >= 0.98
    assert Image.open(figure).size == (512, 512)

    visitor.visit()
    visitor.points(6)
    visitor.see("#numbers [data-state=done]")
    assert visitor.share() == pytest.approx(kept)
    visitor.page.locator("#clear").click()
    visitor.points(0)
    visitor.page.locator("#undo").click()
    visitor.points(6)


def test_clicks_faster_than_answers_are_all_counted(meet):
    visitor = meet()
    visitor.click("inside", INSIDE)
    visitor.click("outside", OUTSIDE)
    visitor.see("#numbers [data-state=done]")  # from here on an answer takes longer than the 30 ms between these clicks
    visitor.page.locator("#main svg[data-image]").evaluate(
        """async (svg, places) => {
            const box = svg.getBoundingClientRect(), view = document.querySelector('#main');
            for (const [x, y] of places) {
                view.querySelector('svg[data-image]').dispatchEvent(new MouseEvent('click',
                    {bubbles: true, clientX: box.x + x * box.width, clientY: box.y + y * box.height}));
                await new Promise((done) => setTimeout(done, 30));
            }
        }""",
        [(0.94, 0.1 * row) for row in range(1, 7)],
    )
    visitor.points(12)


def test_own_images_and_two_tissues(meet, tmp_path):
    file, pixels = io.BytesIO(), np.full((96, 96, 3), (90, 60, 160), np.uint8)
    pixels[:, :48] = np.random.default_rng(0).integers(80, 250, (96, 48, 3))
    Image.fromarray(pixels).save(file, format="PNG")
    visitor = meet()
    visitor.click("inside", INSIDE[:1])
    visitor.upload("#upload", "tissue.png", file.getvalue()[:300])
    visitor.see("#problem [role=alert]", text="damaged or incomplete")
    visitor.points(1)
    visitor.upload("#upload", "tissue.png", file.getvalue())
    visitor.points(0)
    visitor.see("#problem [role=alert]", 0)
    visitor.see(visitor.ready)  # Gradio logs an error for a computation that a reload cuts off
    visitor.click("inside", [(0.2, 0.3), (0.2, 0.7)])  # two, since the first image has one
    visitor.visit()
    visitor.see("#problem [role=alert]", text="Upload the same file again")
    visitor.upload("#upload", "renamed.png", file.getvalue())
    visitor.points(2)
    visitor.see(visitor.ready)

    visitor.open("more")
    visitor.fill("µm per pixel", "0.5")
    visitor.see("#main .scale", 1)
    visitor.page.locator("#count").get_by_label("2").check()
    visitor.fill("Name of ■ tissue 2", "Stroma <b>")
    visitor.click("Stroma <b>", [(0.8, 0.8)], view="#segmentation")
    visitor.see('#numbers tr[data-class="2"]', text="Stroma <b>")
    features = json.loads(visitor.save("#save-qupath", tmp_path).read_text())["features"]
    assert [feature["properties"]["name"] for feature in features] == ["inside", "Stroma <b>"]


@pytest.mark.parametrize(("viewport", "scheme"), [(LAPTOP, "light"), (PHONE, "dark")])
def test_it_fits_the_screen(meet, viewport, scheme):
    visitor = meet(viewport=viewport, color_scheme=scheme)
    box = visitor.see("#main svg[data-image]").bounding_box()
    assert box["width"] >= 0.38 * viewport["width"]
    assert box["y"] + box["height"] <= viewport["height"]
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    for button in ("#undo", "#clear", "#upload"):
        assert visitor.see(button).bounding_box()["height"] >= 40


def test_without_a_mouse(meet):
    visitor = meet()
    expect(visitor.page.get_by_role("img", name=re.compile("512 by 512 pixels. No points yet"))).to_be_visible()
    visitor.tab_to("#coordinates")
    visitor.press("Enter")
    expect(visitor.page.get_by_label("x, pixels from the left")).to_be_visible(timeout=PATIENCE)
    visitor.press("Tab", "1", "0", "0", "Tab", "1", "2", "0", "Tab", "Enter")
    visitor.points(1)
    expect(visitor.page.get_by_role("img", name=re.compile("1 point inside"))).to_be_visible()
    visitor.fill("x, pixels from the left", "512")
    visitor.see("#problem [role=alert]", text="x goes from 0 to 511")
