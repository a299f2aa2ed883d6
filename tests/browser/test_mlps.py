"""A visitor's story in a real Chromium: tag by keys, tag by mouse, come back, take it away, see what it becomes."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from tests.browser.browsing import LAPTOP, PATIENCE, PHONE, expect, free_port, serve
from tests.browser.browsing import Visitor as BaseVisitor

TISSUES = ["stroma", "tumour", "lymphocytes", "necrosis", "normal gland"]
PATCHES = 24


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    """The demo as it is hosted: each browser keeps its tags."""
    with serve("demos.mlps", tmp_path_factory.mktemp("demo") / "log.txt") as url:
        yield url


class Visitor(BaseVisitor):
    ready = "#panel [data-serial]"

    def at(self, patch: int, done: int | None = None) -> None:
        """Patch, from 1, and how many are done."""
        self.see(f'#panel [data-patch="{patch - 1}"]', 1)
        self.see(f'#patch svg[data-patch="{patch - 1}"]', 1)
        if done is not None:
            self.see(f'#panel .progress[data-done="{done}"]', 1)

    def states(self, *names: str) -> None:
        """There, absent or open, class by class."""
        for tissue, state in zip(TISSUES, names, strict=True):
            self.see(f'.tag[data-class="{tissue}"][data-state="{state}"]', 1)

    def own_classes(self):
        """The field of class names, once the page has filled it: what is typed before is lost."""
        self.open("own")
        field = self.page.get_by_label("Classes, 2 to 9")
        expect(field).to_have_value("tumour, stroma, other", timeout=PATIENCE)
        self.page.wait_for_timeout(500)  # once, on a busy machine, what was typed at once was lost
        return field


def image(width: int = 240, height: int = 130) -> bytes:
    noise = np.random.default_rng(0).integers(-20, 20, (height, width, 1))
    file = io.BytesIO()
    Image.fromarray((np.array([190, 90, 160]) + noise).astype(np.uint8)).save(file, format="PNG")
    return file.getvalue()


def test_by_keys_alone(meet):
    visitor = meet()
    visitor.at(1, 0)
    visitor.press("2", "3", "3", "5", "5", "5")
    visitor.states("open", "there", "absent", "open", "there")
    expect(visitor.page.locator("p[aria-live]")).to_have_text(
        "Patch 1 of 24. There: tumour, normal gland. Not there: lymphocytes.", timeout=PATIENCE
    )
    visitor.press("Space")
    visitor.at(2, 1)
    visitor.press("1", "Space", "4", "Space")  # faster than answers
    visitor.at(4, 3)
    visitor.press("Backspace")
    visitor.at(3, 2)
    visitor.states("open", "open", "open", "there", "open")
    visitor.press("Backspace", "Backspace")
    visitor.at(2, 1)
    visitor.states("there", "open", "open", "open", "open")
    visitor.press("9", "Control+1", "a")  # no class, a shortcut of the browser, a letter
    visitor.press("Space")
    visitor.at(3, 2)
    assert float(re.search(r"median ([\d.]+) s", visitor.see(".progress").inner_text())[1]) > 0

    visitor.tab_to('[data-id="1-true"]')
    expect(visitor.page.locator(":focus")).to_have_accessible_name("tumour is there")
    visitor.press("Space")  # presses the button, and does not go on
    visitor.states("open", "there", "open", "open", "open")
    visitor.at(3, 2)
    expect(visitor.page.locator('[data-id="1-true"]')).to_be_focused()
    visitor.press("Tab")
    expect(visitor.page.locator(":focus")).to_have_accessible_name("tumour is not there")
    visitor.press("Enter")
    visitor.states("open", "absent", "open", "open", "open")
    visitor.tab_to('[data-id="next"]')
    visitor.press("Enter")
    visitor.at(4, 3)

    visitor.tab_to("#show-me")
    visitor.press("Enter")
    visitor.see("#result h2")
    expect(visitor.page.locator("#result h2")).to_be_focused(timeout=PATIENCE)
    visitor.see("#result article", 3)
    visitor.press("1")  # reading, not tagging
    visitor.states("open", "open", "open", "open", "open")
    assert visitor.elsewhere == []


def test_keys_type_in_a_text_field_and_can_be_switched_off(meet):
    visitor = meet()
    field = visitor.own_classes()
    field.fill("")
    expect(field).to_have_value("", timeout=PATIENCE)
    field.press_sequentially("type 1, type 2")
    field.press("Backspace")
    expect(field).to_have_value("type 1, type ")
    visitor.states("open", "open", "open", "open", "open")
    visitor.at(1, 0)
    visitor.tab_to("body")
    box = visitor.page.locator("#keys input")
    box.uncheck()
    visitor.page.locator("h1").click()
    visitor.press("1")
    box.check()
    visitor.page.locator("h1").click()
    visitor.press("2")
    visitor.states("open", "there", "open", "open", "open")


def test_by_mouse_until_the_masks(meet, tmp_path):
    visitor = meet()
    for number in range(3):
        visitor.at(number + 1, number)
        visitor.page.get_by_role("button", name="stroma is there").click()
        visitor.page.get_by_role("button", name="necrosis is not there").click()
        visitor.states("there", "open", "open", "absent", "open")
        if number == 1:
            visitor.page.get_by_role("button", name="stroma is there").click()
            visitor.states("open", "open", "open", "absent", "open")
        visitor.page.get_by_role("button", name="Next patch").click()
    visitor.at(4, 3)
    visitor.press("Space")  # a mouse's click left nothing to press
    visitor.at(5, 4)
    visitor.page.get_by_role("button", name="Undo").click()
    visitor.at(4, 3)
    visitor.page.get_by_role("button", name="Patch 2, done").click()
    visitor.at(2, 3)
    visitor.states("absent", "absent", "absent", "absent", "absent")
    visitor.page.get_by_role("button", name="tumour is there").click()
    visitor.states("absent", "there", "absent", "absent", "absent")

    visitor.page.get_by_role("button", name="Show me").click()
    cards = visitor.see("#result article", 3)
    expect(cards.nth(1).get_by_role("img")).to_have_count(4)
    pseudo = cards.nth(1).get_by_role("img", name=re.compile("Pseudo mask, your tags of patch 2"))
    assert "stroma" not in pseudo.get_attribute("aria-label")
    assert "tumour" in pseudo.get_attribute("aria-label")
    visitor.see("#result", text="of 5 as the truth has them")
    visitor.see("#result", text="3 pathologists, tags")
    assert float(visitor.page.locator("#result section").get_attribute("data-agree")) > 0

    rows = list(csv.DictReader(io.StringIO(visitor.save("#save-table", tmp_path).read_text("utf-8-sig"))))
    assert [(row["patch"], row["stroma"], row["tumour"]) for row in rows] == [
        ("1", "1", "0"),
        ("2", "0", "1"),
        ("3", "1", "0"),
    ]


def test_a_refresh_loses_nothing_and_visitors_do_not_meet(meet):
    one, other = meet(), meet()
    one.press("1", "Space", "2")
    one.at(2, 1)
    one.states("open", "there", "open", "open", "open")
    other.press("3", "3")
    other.states("open", "open", "absent", "open", "open")
    one.visit()
    one.at(2, 1)
    one.states("open", "there", "open", "open", "open")
    one.press("Backspace", "Backspace")
    one.at(1, 0)
    one.states("there", "open", "open", "open", "open")
    other.visit()
    other.at(1, 0)
    other.states("open", "open", "absent", "open", "open")
    meet().states("open", "open", "open", "open", "open")


def test_a_log_goes_away_and_comes_back(meet, tmp_path):
    visitor = meet()
    visitor.press("1", "Space", "2", "Space", "4")
    visitor.states("open", "open", "open", "there", "open")
    visitor.open("elsewhere")
    path = visitor.save("#save-log", tmp_path)
    first, *changes = [json.loads(line) for line in path.read_text().splitlines()]
    assert (first["classes"], first["patches"]) == (TISSUES, PATCHES)
    assert [(change["patch"], change.get("class")) for change in changes] == [
        (0, "stroma"),
        (0, None),
        (1, "tumour"),
        (1, None),
        (2, "necrosis"),
    ]

    visitor.page.locator("#start-over").click()
    visitor.at(1, 0)
    visitor.states("open", "open", "open", "open", "open")
    for content, said in (
        (b"\x89PNG\r\n\x1a\n\x00", "other than text"),
        (b'{"patch": 1}\n', "does not name patches and classes"),
        (path.read_bytes().replace(b"necrosis", b"bone", 2).replace(b"bone", b"necrosis", 1), "Line 6"),
    ):
        visitor.upload("#bring", "tags.jsonl", content)
        visitor.see("#problem [role=alert]", text=said)
        visitor.states("open", "open", "open", "open", "open")
    for text in ("Traceback", "/tmp", ".py"):
        assert text not in visitor.page.content()

    stranger = meet()
    stranger.open("elsewhere")
    stranger.upload("#bring", "tags.jsonl", path.read_bytes())
    stranger.at(3, 2)
    stranger.states("open", "open", "open", "there", "open")
    stranger.visit()
    stranger.at(3, 2)


def test_own_images_are_tagged_and_saved_only(meet, tmp_path):
    visitor = meet()
    visitor.own_classes().fill("fat")
    visitor.page.locator("#size").get_by_label("112").check()
    visitor.upload("#upload", "own.png", image())
    visitor.see("#problem [role=alert]", text="Name 2 to 9 classes")
    visitor.page.get_by_label("Classes, 2 to 9").fill("fat, <b>muscle")
    visitor.upload("#upload", "own.png", image())
    visitor.see("#problem [role=alert]", text="begins with a letter")
    visitor.page.get_by_label("Classes, 2 to 9").fill("fat, m<b>uscle")
    visitor.upload("#upload", "own.png", image())
    visitor.see("#panel .tag", 2)
    visitor.see("#result", text="not made for your image")
    expect(visitor.page.locator("#show-me")).to_be_disabled(timeout=PATIENCE)
    visitor.page.locator("h1").click()
    visitor.press("2", "Space")
    visitor.at(2, 1)
    (row,) = csv.DictReader(io.StringIO(visitor.save("#save-table", tmp_path).read_text("utf-8-sig")))
    assert (row["fat"], row["m<b>uscle"]) == ("0", "1")

    visitor.visit()
    visitor.see("#problem [role=alert]", text="Upload the same file again")
    visitor.see("#panel .tag", 5)
    visitor.open("own")
    expect(visitor.page.get_by_label("Classes, 2 to 9")).to_have_value("fat, m<b>uscle", timeout=PATIENCE)
    visitor.upload("#upload", "again.png", image())
    visitor.see("#panel .tag", 2)
    visitor.at(2, 1)
    visitor.page.locator("#back").click()
    visitor.see("#panel .tag", 5)
    expect(visitor.page.locator("#show-me")).to_be_enabled(timeout=PATIENCE)


def test_a_restart_of_the_server_loses_nothing(meet, tmp_path):
    labels, port = tmp_path / "tags.jsonl", free_port()
    arguments = ("demos.mlps", tmp_path / "log.txt", "--labels", str(labels))
    with serve(*arguments, port=port) as url:
        one, other = meet(url), meet(url)
        one.press("1", "Space", "2", "3")
        one.states("open", "there", "there", "open", "open")
        other.press("5")
        other.states("open", "open", "open", "open", "there")
        one.page.goto("about:blank")
    lines = [json.loads(line) for line in labels.read_text().splitlines()]
    assert len(lines) == 2 + 4 + 1
    assert len({line["session"] for line in lines}) == 2
    whole = labels.read_bytes()
    labels.write_bytes(whole + b'{"session": "')  # the power fails within a line
    with serve(*arguments, port=port) as url:
        assert "line 8 was cut off" in (tmp_path / "log.txt").read_text()
        one.visit()
        one.at(2, 1)
        one.states("open", "there", "there", "open", "open")
        one.see("#problem [role=alert]", text="Line 8")
        one.press("4", "Space")
        one.at(3, 2)
        other.press("1")  # on a page that the server knows no more: it loads again
        other.see("#panel [data-serial='0']", 1)
        other.states("open", "open", "open", "open", "there")
        other.press("Backspace")
        other.states("open", "open", "open", "open", "open")
        other.complaints.clear()  # of the connection that broke
        for visitor in (one, other):
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
    visitor.page.locator("#show-me").click()
    visitor.see("#result article", 1)
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
