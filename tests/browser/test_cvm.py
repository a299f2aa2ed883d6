"""A visitor's story in a real Chromium: click, see the outline, undo, come back, take it to QuPath."""

from __future__ import annotations

import io
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest
import shapely
from PIL import Image

from histolab_lite.formats.masks import read_mask
from histolab_lite.formats.qupath import read_geojson
from tests.browser.browsing import LAPTOP, PATIENCE, PHONE, ROOT, expect, serve
from tests.browser.browsing import Visitor as BaseVisitor

INSIDE, OUTSIDE = [(0.3, 0.25), (0.7, 0.2), (0.62, 0.75)], [(0.3, 0.7), (0.6, 0.55), (0.93, 0.5)]  # glands, stroma


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    with serve("demos.cvm", tmp_path_factory.mktemp("demo") / "log.txt") as url:
        yield url


class Visitor(BaseVisitor):
    ready = "#numbers [data-state]:not([data-state=reading])"

    def points(self, count: int) -> None:
        self.see("#main [data-point]", count)

    def choose(self, name: str) -> None:
        self.page.locator("#choice").get_by_label(name).check()

    def click(self, where: list[tuple[float, float]], view: str = "#main") -> None:
        """Positions as shares of the view's width and height, one after another."""
        shown = self.page.locator(f"{view} svg[data-image]")
        before = self.page.locator("#main [data-point]").count()
        for number, (x, y) in enumerate(where, before + 1):
            box = shown.bounding_box()
            shown.click(position={"x": box["width"] * x, "y": box["height"] * y})
            self.points(number)

    def outline(self) -> None:
        self.choose("inside")
        self.click(INSIDE)
        self.choose("outside")
        self.click(OUTSIDE)
        self.see("#numbers [data-state=done]")

    def share(self) -> float:
        return float(self.see('#numbers tr[data-class="1"]').get_attribute("data-share"))

    def unlike(self, share: float) -> float:
        """The share, once it has changed."""
        expect(self.page.locator('#numbers tr[data-class="1"]')).not_to_have_attribute(
            "data-share", f"{share:.6f}", timeout=PATIENCE
        )
        return self.share()


def png(seed: int = 0, side: int = 96) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (side // 8, side // 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((side, side)).save(file, format="PNG")
    return file.getvalue()


def test_from_clicks_to_qupath(meet, tmp_path):
    visitor = meet()
    visitor.see("#numbers", text="inside")
    visitor.choose("inside")
    visitor.click(INSIDE)
    visitor.see("#numbers", text="outside")
    visitor.choose("outside")
    visitor.click(OUTSIDE[:2])
    first = visitor.share()
    visitor.click(OUTSIDE[2:])
    second = visitor.unlike(first)
    assert 0.3 < second < 0.9
    visitor.see("#contrast image.heat")

    visitor.page.locator("#undo").click()
    visitor.points(5)
    assert visitor.unlike(second) == pytest.approx(first)
    visitor.page.locator("#coordinates button").first.click()
    visitor.page.get_by_label("x, pixels from the left").fill(str(int(0.93 * 512)))
    visitor.page.get_by_label("y, pixels from the top").fill(str(256))
    visitor.page.get_by_label("y, pixels from the top").press("Enter")
    visitor.points(6)
    visitor.unlike(first)

    path, mask = visitor.save("#save-qupath", tmp_path), read_mask(visitor.save("#save-mask", tmp_path))
    collection = json.loads(path.read_text())
    (feature,) = collection["features"]
    assert feature["properties"]["classification"] == {"name": "inside", "color": [240, 228, 66]}
    assert shapely.geometry.shape(feature["geometry"]).is_valid
    assert mask.shape == (512, 512)
    drawn = read_geojson(collection, mask.shape, ["outside", "inside"]) == 1
    assert (drawn & (mask == 1)).sum() / (drawn | (mask == 1)).sum() >= 0.98
    figure = Image.open(visitor.save("#save-figure", tmp_path))
    assert figure.size == (512, 512)

    kept = visitor.share()
    visitor.page.reload()
    visitor.points(6)
    visitor.see("#numbers [data-state=done]")
    assert visitor.share() == pytest.approx(kept)
    visitor.page.locator("#clear").click()
    visitor.points(0)
    visitor.page.locator("#undo").click()
    visitor.points(6)
    assert visitor.elsewhere == []


def test_two_visitors_do_not_see_each_others_points(meet):
    one, other = meet(), meet()
    one.click(INSIDE[:2])
    other.click(INSIDE[:1])
    one.choose("outside")
    one.click(OUTSIDE[:1])
    one.see("#numbers [data-state=done]")
    other.points(1)
    other.see("#numbers [data-state=waiting]")
    other.visit()
    other.points(1)
    third = meet()
    third.points(0)


def test_clicks_faster_than_answers_are_all_counted(meet):
    visitor = meet()
    visitor.outline()  # from here on an answer takes longer than the 30 ms between these clicks
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


def test_own_images(meet):
    visitor = meet()
    visitor.outline()
    visitor.upload("#upload", "tissue.png", png()[:300])
    visitor.see("#problem [role=alert]", text="damaged or incomplete")
    visitor.points(6)
    visitor.upload("#upload", "tissue.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    visitor.see("#problem [role=alert]", text="not an image that can be read here")
    visitor.points(6)
    for text in ("Traceback", "/tmp", ".py"):
        assert text not in visitor.page.content()

    visitor.upload("#upload", "tissue.png", png())
    visitor.points(0)
    visitor.see("#numbers [data-state=waiting]")
    visitor.see("#problem [role=alert]", 0)
    visitor.click([(0.2, 0.3), (0.6, 0.7)])
    visitor.visit()
    visitor.see("#problem [role=alert]", text="Upload the same file again")
    visitor.upload("#upload", "renamed.png", png())
    visitor.points(2)
    visitor.page.locator("#more button").first.click()
    visitor.page.get_by_label("µm per pixel").fill("0.5")
    visitor.page.get_by_label("µm per pixel").press("Enter")
    visitor.see("#main .scale", 1)


def test_two_tissues(meet, tmp_path):
    visitor = meet()
    visitor.page.locator("#more button").first.click()
    visitor.page.locator("#count").get_by_label("2").check()
    visitor.page.get_by_label("Name of ■ tissue 2").fill("Stroma <b>")
    visitor.page.get_by_label("Name of ■ tissue 2").press("Enter")
    visitor.choose("inside")
    visitor.click(INSIDE)
    visitor.choose("Stroma <b>")
    visitor.click(OUTSIDE, view="#segmentation")
    visitor.see("#numbers [data-state=done]")
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
    for _ in range(30):
        visitor.page.keyboard.press("Tab")
        if visitor.page.evaluate("document.activeElement.closest('#coordinates') !== null"):
            break
    visitor.page.keyboard.press("Enter")
    expect(visitor.page.get_by_label("x, pixels from the left")).to_be_visible(timeout=PATIENCE)
    for value in ("100", "120"):
        visitor.page.keyboard.press("Tab")
        visitor.page.keyboard.type(value)
    visitor.page.keyboard.press("Tab")
    visitor.page.keyboard.press("Enter")
    visitor.points(1)
    expect(visitor.page.get_by_role("img", name=re.compile("1 point inside"))).to_be_visible()
    visitor.page.get_by_label("x, pixels from the left").fill("512")
    visitor.page.get_by_label("x, pixels from the left").press("Enter")
    visitor.see("#problem [role=alert]", text="x goes from 0 to 511")


@pytest.mark.parametrize("path", ["pyproject.toml", "demos/../pyproject.toml", "/etc/passwd"])
def test_nothing_of_the_disk_is_served(address, path):
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{address}/gradio_api/file={path}", timeout=60)
    assert refused.value.code in (403, 404)
    assert str(ROOT) not in refused.value.read().decode()
