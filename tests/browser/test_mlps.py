"""A visitor's story in a real Chromium: tag by keys, tag by mouse, see the masks, save, come back."""

import csv
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from tests.browser.browsing import LAPTOP, PATIENCE, PHONE, expect, free_port, serve
from tests.browser.browsing import Visitor as BaseVisitor

TISSUES = ["stroma", "tumour", "lymphocytes", "necrosis", "normal gland"]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The demo as it is hosted: each browser keeps its tags."""
    with serve("demos.mlps", tmp_path_factory.mktemp("demo") / "log.txt") as url:
        yield url


class Visitor(BaseVisitor):
    ready = "#panel [data-serial]"

    def at(self, patch: int, done: int) -> None:
        """The patch in view, from 1, and how many are done."""
        for part in (f'#panel [data-patch="{patch - 1}"]', f'#patch svg[data-patch="{patch - 1}"]'):
            self.see(part, 1)
        self.see(f'#panel .progress[data-done="{done}"]', 1)

    def tags(self, there: str = "", absent: str = "", rest: str = "open") -> None:
        """The states of all classes: those that are there, those that are not, and the rest."""
        for tissue in TISSUES:
            state = "there" if tissue in there else "absent" if tissue in absent else rest
            self.see(f'.tag[data-class="{tissue}"][data-state="{state}"]', 1)

    def click(self, name: str) -> None:
        self.page.get_by_role("button", name=name).click()

    def table(self, folder) -> list[dict]:
        return list(csv.DictReader(io.StringIO(self.save("#save-table", folder).read_text("utf-8-sig"))))


def test_by_keys_alone(meet):
    visitor = meet()
    visitor.at(1, 0)
    visitor.press("2", "3", "3", "5", "5", "5")
    visitor.tags("tumour, normal gland", "lymphocytes")
    said = "Patch 1 of 24. There: tumour, normal gland. Not there: lymphocytes."
    expect(visitor.page.locator("p[aria-live]")).to_have_text(said, timeout=PATIENCE)
    visitor.press("Space", "1", "Space", "4", "Space")  # faster than answers
    visitor.at(4, 3)
    visitor.press("Backspace", "Backspace", "Backspace")
    visitor.at(2, 1)
    visitor.tags("stroma")
    visitor.press("9", "Control+1", "a", "Space")  # no class, a shortcut of the browser, a letter
    visitor.at(3, 2)
    assert float(re.search(r"median ([\d.]+) s", visitor.see(".progress").inner_text())[1]) > 0
    visitor.tab_to('[data-id="1-true"]')
    expect(visitor.page.locator(":focus")).to_have_accessible_name("tumour is there")
    visitor.press("Space")  # presses the button, and does not go to the next patch
    visitor.tags("tumour")
    visitor.at(3, 2)
    expect(visitor.page.locator('[data-id="1-true"]')).to_be_focused()
    visitor.press("Tab", "Enter")
    visitor.tags("", "tumour")
    visitor.tab_to("#show-me")
    visitor.press("Enter")
    visitor.see("#result article", 2)
    expect(visitor.page.locator("#result h2")).to_be_focused(timeout=PATIENCE)
    visitor.press("1")  # reading, not tagging
    keys = visitor.page.locator("#keys input")
    for key, on in (("2", False), ("3", True)):
        keys.set_checked(on)
        visitor.page.locator("h1").click()
        visitor.press(key)
    visitor.tags("lymphocytes", "tumour")


def test_by_mouse_until_the_masks(meet, tmp_path):
    visitor = meet()
    for done, tissue in enumerate(("stroma", "tumour")):
        visitor.at(done + 1, done)
        visitor.click(f"{tissue} is there")
        visitor.click("necrosis is not there")
        visitor.tags(tissue, "necrosis")
        visitor.click("Next patch")
    visitor.press("Space")  # the click left no button with the focus
    visitor.at(4, 3)
    visitor.click("Undo")
    visitor.at(3, 2)
    visitor.click("Patch 1, done")
    visitor.tags("stroma", rest="absent")
    visitor.click("stroma is there")  # a second press releases it
    visitor.tags(rest="absent")
    visitor.click("Show me")
    card = visitor.see("#result article", 2).nth(1)
    expect(card.get_by_role("img")).to_have_count(4)
    pseudo = card.get_by_role("img", name=re.compile("Pseudo mask, your tags of patch 2")).get_attribute("aria-label")
    assert ("tumour" in pseudo, "stroma" in pseudo) == (True, False)
    assert float(visitor.page.locator("#result section").get_attribute("data-agree")) > 0
    rows = [(row["patch"], row["stroma"], row["tumour"]) for row in visitor.table(tmp_path)]
    assert rows == [("1", "0", "0"), ("2", "0", "1")]


def test_a_log_is_saved_and_loaded_by_a_stranger(meet, tmp_path):
    visitor, stranger = meet(), meet()
    visitor.press("1", "Space", "4")
    visitor.tags("necrosis")
    visitor.open("elsewhere")
    path = visitor.save("#save-log", tmp_path)
    first, *changes = [json.loads(line) for line in path.read_text().splitlines()]
    assert (first["classes"], first["patches"]) == (TISSUES, 24)
    assert [change.get("class") for change in changes] == ["stroma", None, "necrosis"]
    visitor.page.locator("#start-over").click()
    visitor.at(1, 0)
    visitor.tags()
    visitor.upload("#bring", "tags.jsonl", b"\x89PNG\r\n\x1a\n\x00")
    visitor.see("#problem [role=alert]", text="other than text")

    stranger.tags()
    stranger.open("elsewhere")
    stranger.upload("#bring", "tags.jsonl", path.read_bytes())
    stranger.at(2, 1)
    stranger.visit()
    stranger.tags("necrosis")
    stranger.press("Backspace", "Backspace")
    stranger.at(1, 0)


def test_an_own_image_is_tagged_and_comes_back(meet):
    visitor, file = meet(), io.BytesIO()
    noise = np.random.default_rng(0).integers(-20, 20, (130, 240, 1))
    Image.fromarray((np.array([190, 90, 160]) + noise).astype(np.uint8)).save(file, format="PNG")
    visitor.open("own")
    field = visitor.page.get_by_label("Classes, 2 to 9")
    expect(field).to_have_value("tumour, stroma, other", timeout=PATIENCE)
    visitor.page.wait_for_timeout(500)  # once, on a busy machine, what was typed at once was lost
    field.fill("")
    field.press_sequentially("fat, muscle 12")
    field.press("Backspace")
    expect(field).to_have_value("fat, muscle 1")
    visitor.tags()  # keys in a field type, and tag nothing
    field.fill("fat, m<b>uscle")
    visitor.page.locator("#size").get_by_label("112").check()
    visitor.upload("#upload", "own.png", file.getvalue())
    visitor.see("#panel .tag", 2)
    expect(visitor.page.locator("#show-me")).to_be_disabled(timeout=PATIENCE)
    visitor.page.locator("h1").click()
    visitor.press("2", "Space")
    visitor.at(2, 1)
    visitor.visit()
    visitor.see("#problem [role=alert]", text="Upload the same file again")
    visitor.open("own")
    expect(field).to_have_value("fat, m<b>uscle", timeout=PATIENCE)
    visitor.upload("#upload", "again.png", file.getvalue())
    visitor.see("#panel .tag", 2)
    visitor.at(2, 1)
    visitor.page.locator("#back").click()
    visitor.see("#panel .tag", 5)
    expect(visitor.page.locator("#show-me")).to_be_enabled(timeout=PATIENCE)


def test_a_restart_of_the_server_loses_nothing(meet, tmp_path):
    labels, port = tmp_path / "tags.jsonl", free_port()
    arguments = ("demos.mlps", tmp_path / "log.txt", "--labels", str(labels))
    with serve(*arguments, port=port) as url:
        visitor = meet(url)
        visitor.press("1", "Space", "2", "3")
        visitor.tags("tumour, lymphocytes")
    whole = labels.read_bytes()
    labels.write_bytes(whole + b'{"session": "')  # the power fails within line 6
    with serve(*arguments, port=port):
        assert "line 6 is incomplete" in (tmp_path / "log.txt").read_text()
        visitor.press("1")  # the server does not know this page any more: it loads again
        visitor.see("#panel [data-serial='0']", 1)
        visitor.at(2, 1)
        visitor.tags("tumour, lymphocytes")
        visitor.see("#problem [role=alert]", text="skipped: 6.")
        visitor.press("Backspace")
        visitor.tags("tumour")
        visitor.complaints.clear()  # of the connection that broke
        visitor.page.goto("about:blank")
    assert labels.read_bytes().startswith(whole)
    assert json.loads(labels.read_text().splitlines()[-1])["undo"] is True


@pytest.mark.parametrize(("viewport", "scheme"), [(LAPTOP, "light"), (PHONE, "dark")])
def test_it_fits_the_screen(meet, viewport, scheme):
    visitor = meet(viewport=viewport, color_scheme=scheme)
    assert visitor.see("#patch svg").bounding_box()["width"] >= 0.38 * viewport["width"]
    following = visitor.see('[data-id="next"]').bounding_box()
    assert following["y"] + following["height"] <= viewport["height"]
    for button in visitor.page.locator(".tag button").all():
        assert button.bounding_box()["height"] >= 40
    visitor.press("2", "Space")
    visitor.at(2, 1)
    visitor.click("Show me")
    visitor.see("#result article", 1)
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
