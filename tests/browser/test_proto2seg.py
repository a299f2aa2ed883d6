"""A visitor's story in a real Chromium: name clusters by keys and by mouse, see masks, come back, take it away."""

import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from demos.proto2seg.dictionary import to_bytes
from demos.proto2seg.samples import load
from histolab_lite.methods.proto2seg import PrototypeDictionary
from tests.browser.browsing import LAPTOP, PATIENCE, PHONE, expect, serve
from tests.browser.browsing import Visitor as BaseVisitor


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with serve("demos.proto2seg", tmp_path_factory.mktemp("demo") / "log.txt") as url:
        yield url


class Visitor(BaseVisitor):
    ready = "#panel [data-serial]"

    def at(self, cluster: int, named: int, dropped: int = 0) -> None:
        """Cluster, from 1, and how many have a name or are dropped."""
        for where in ("#panel [data-at={}]", "#gallery [data-cluster={}]", "#plane svg[data-at={}]"):
            self.see(where.format(f'"{cluster - 1}"'), 1)
        self.see(f'#panel .progress[data-named="{named}"][data-dropped="{dropped}"]', 1)

    def called(self, cluster: int, name: str) -> None:
        self.see(f'#panel .places [aria-label="Cluster {cluster}, {name}"]', 1)

    def masks(self, holds: str, lacks: str = "nothing of the kind") -> None:
        """What CQ's mask holds, as it is read out."""
        self.see("#result image.mask", 2)
        found = self.see("#result figure svg", 4).nth(2)
        expect(found).to_have_attribute("aria-label", re.compile(holds), timeout=PATIENCE)
        expect(found).not_to_have_attribute("aria-label", re.compile(lacks))

    def click(self, name: str) -> None:
        self.page.get_by_role("button", name=name).first.click()

    def tile(self, name: str) -> None:
        self.page.locator("#tile").get_by_label(name).check()


def test_by_keys_alone(meet):
    visitor = meet()
    visitor.at(1, 0)
    visitor.see('#result [data-state="waiting"]', 1)
    visitor.press("4")
    visitor.masks("lymphocytes 100%")
    said = "Cluster 1 of 24: lymphocytes. 1 named, 0 dropped."
    expect(visitor.page.locator("p[aria-live]")).to_have_text(said, timeout=PATIENCE)
    visitor.press("Space", "1", "ArrowRight", "6", "Space", "m", "Space")  # faster than answers
    visitor.at(5, 3, dropped=1)
    visitor.called(4, "dropped")
    visitor.press("ArrowLeft", "3")
    visitor.at(4, 4)
    visitor.press("Backspace", "Backspace")
    visitor.called(4, "no name yet")
    visitor.press("9", "Control+1", "a")  # no class, a shortcut of the browser, a letter
    visitor.press("0")
    visitor.at(4, 3, dropped=1)
    visitor.page.locator("#keys input").uncheck()
    visitor.page.locator("h1").click()
    visitor.press("ArrowRight")  # no key counts
    visitor.page.locator("#keys input").check()

    visitor.tab_to('[data-id="name-2"]')
    expect(visitor.page.locator(":focus")).to_have_accessible_name(re.compile("tumour"))
    visitor.press("Space")  # presses the button, and does not go on
    visitor.at(4, 4)
    expect(visitor.page.locator('[data-id="name-2"]')).to_be_focused()
    visitor.press("Enter")  # the same name again takes it back
    visitor.at(4, 3)
    visitor.tab_to('[data-id="next"]')
    visitor.press("Enter")
    visitor.at(5, 3)
    visitor.tab_to("#tile")
    visitor.press("ArrowRight", "Tab", "Space")  # the tile's choice, not the next cluster
    visitor.see('#result [data-tile="phantom-2"]', 1)
    visitor.at(5, 3)


def test_by_mouse_until_the_masks_and_back_after_a_refresh(meet, tmp_path):
    visitor = meet()
    for number, name in enumerate(["background", "normal gland", "lymphocytes", "tumour"]):
        visitor.at(number + 1, number)
        visitor.click(name)
        visitor.called(number + 1, name)
        visitor.click("Next cluster")
    visitor.press("Space")  # a mouse's click left nothing to press
    visitor.at(6, 4)
    visitor.page.locator("#plane text", has_text="B").click()
    visitor.at(1, 4)
    visitor.page.locator("#panel .places button").nth(2).click()
    visitor.at(3, 4)
    visitor.click("stroma")
    visitor.masks("stroma", "lymphocytes")
    visitor.click("Undo")
    visitor.masks("lymphocytes", "stroma")
    visitor.page.locator("#gallery summary").click()
    visitor.see("#gallery details", text="lymphocytes 100%")
    assert float(visitor.page.locator("#stopwatch [data-own]").get_attribute("data-own")) > 0

    before = visitor.page.locator("#result section").get_attribute("data-dice")
    gamma = visitor.page.locator("#gamma input[type=number]")
    gamma.fill("12")
    gamma.blur()
    visitor.tile("Tile 3")
    visitor.see('#result [data-tile="phantom-3"]', 1)  # answered after γ
    assert 0 < float(before) != float(visitor.page.locator("#result section").get_attribute("data-dice"))
    mask = np.asarray(Image.open(visitor.save("#save-mask", tmp_path)))
    assert mask.shape == (512, 512)
    assert set(np.unique(mask)) <= {0, 2, 3, 5}
    visitor.page.wait_for_timeout(1000)  # until the browser has written
    visitor.visit()
    visitor.at(3, 4)
    visitor.see('#result [data-tile="phantom-3"]', 1)
    expect(gamma).to_have_value("12", timeout=PATIENCE)
    visitor.open("again")
    visitor.page.locator("#start-over").click()
    visitor.at(1, 0)
    visitor.page.locator("h1").click()
    visitor.press("Backspace")
    visitor.called(3, "lymphocytes")


def test_a_dictionary_and_an_own_tile(meet, tmp_path):
    visitor = meet()
    visitor.page.locator("#save-dictionary").click()
    visitor.see("#problem [role=alert]", text="at least one cluster")
    visitor.press("4", "Space", "1", "Space", "6", "Space", "0")
    visitor.at(4, 3, dropped=1)
    path = visitor.save("#save-dictionary", tmp_path)
    assert PrototypeDictionary.load(path).labels.tolist() == [3, 0, 5]
    visitor.upload("#bring", "bad.safetensors", b"\x89PNG\r\n\x1a\n\x00")
    visitor.see("#problem [role=alert]", text="not a dictionary")
    foreign = PrototypeDictionary(load().clusters.centers[:2] * 2, torch.tensor([0, 1]), ("round <b>cells", "glass"))
    visitor.upload("#bring", "foreign.safetensors", to_bytes(foreign))
    visitor.masks("round <b>cells")
    visitor.page.locator("#own-names").click()
    visitor.masks("lymphocytes")
    expect(visitor.page.locator("#own-names")).to_be_hidden(timeout=PATIENCE)

    stranger = meet()
    stranger.upload("#bring", "own.safetensors", path.read_bytes())
    stranger.see("#problem [role=alert]", text="names are back")
    stranger.at(1, 3)
    file = io.BytesIO()
    Image.open(io.BytesIO(load().tiles["phantom-2"].jpeg)).crop((0, 0, 200, 150)).save(file, format="PNG")
    stranger.open("own")
    stranger.page.get_by_label("µm per pixel").fill("1")
    stranger.upload("#upload", "own.png", file.getvalue())
    stranger.see("#result", text="Your tile, 200 µm wide")
    stranger.tile("Tile 1")
    stranger.see("#result figure", 4)
    stranger.tile("Your tile")
    stranger.see("#result figure", 3)  # no truth is known
    stranger.visit()
    stranger.see("#problem [role=alert]", text="upload it again")
    stranger.at(1, 3)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_it_fits_and_can_be_read(meet, viewport, scheme):
    visitor = meet(viewport=viewport, color_scheme=scheme)
    visitor.click("tumour")
    visitor.called(1, "tumour")
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    boxes = [button.bounding_box() for button in visitor.page.locator("#panel button").all()]
    assert min(side for box in boxes for side in (box["width"], box["height"])) >= 24  # WCAG 2.2, target size
    if viewport == LAPTOP:
        masks = visitor.page.locator("#result figure svg").first.bounding_box()
        assert masks["y"] + masks["height"] <= viewport["height"], "the masks change out of sight"
