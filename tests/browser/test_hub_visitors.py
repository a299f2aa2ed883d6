"""Visitors without a browser: whatever they upload gets an image or a sentence, and nothing of the server; and a
lecture hall of them."""

import asyncio
import json
import re
import tempfile

import httpx  # comes with gradio
import psutil
import pytest

from benchmarks.demos import load as demo_load
from benchmarks.demos.visitors import Visitor
from tests.browser.browsing import ROOT, serve
from tests.hostile import NAMES, READ, REFUSED

pytestmark = pytest.mark.slow
#: Page -> the buttons that take files, and how a file's name must end.
BUTTONS = {
    "cvm": {"upload": ".png"},
    "proto2seg": {"upload": ".png", "bring": ".safetensors"},
    "mlps": {"upload": ".png", "bring": ".jsonl"},
    "sic": {"seed-upload": ".tif"},
}
SECRET = "value-of-the-environment"
TOLD = ("Traceback", "site-packages", SECRET, str(ROOT), tempfile.gettempdir() + "/", "/temporary/", "root:")
SENTENCE = re.compile(r'[A-Z][a-z]+ [^<>]+[.?]</div>$|Invalid file type\. Please upload|^{"detail":"[A-Z][^"]+\."}$')
FILES = {what: content for what, (content, _) in REFUSED.items()} | READ


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uploads")
    (folder / "temporary").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HISTOLAB_SECRET", SECRET)
        patch.setenv("GRADIO_TEMP_DIR", str(folder / "temporary"))
        with serve("demos", folder / "log.txt", errors_allowed=True) as url:
            yield url
        assert not [path for path in folder.glob("temporary/**/*") if path.is_file()], "left behind by the server"


class Stranger(Visitor):
    """Remembers all that the server said."""

    heard = ""

    async def answer(self, body):
        output = await super().answer(body)
        self.heard += json.dumps(output)
        return output

    async def give(self, button: str, name: str, content: bytes) -> str:
        """What the page says to a file, or the server where it takes none."""
        try:
            await self.upload(button, name, content)
        except httpx.HTTPStatusError as refused:
            said = refused.response.text
        except RuntimeError as refused:  # by its suffix, before a handler sees it
            said = str(refused)
        else:
            return self.value("seed-problem" if self.page == "sic" else "problem")
        self.heard += said
        return said


@pytest.mark.parametrize(
    ("page", "button"), [(page, button) for page, buttons in BUTTONS.items() for button in buttons]
)
def test_every_file_gets_an_image_or_a_sentence_whatever_it_is_called(address, page, button):
    suffix = BUTTONS[page][button]

    async def story():
        async with httpx.AsyncClient(base_url=address, timeout=120, trust_env=False) as client:
            stranger = Stranger(client, page, 1)
            await stranger.arrive()
            for what, content in FILES.items():
                said = await stranger.give(button, f"file{suffix}", content)
                read = what in READ and suffix == ".png"
                assert said == "" if read and not said else SENTENCE.search(said), f"{what}: {said}"
            for name in NAMES:
                said = await stranger.give(button, name, READ["L BMP"])
                assert said == "" or SENTENCE.search(said), f"{name}: {said}"
            assert not [word for word in TOLD if word in stranger.heard]

    asyncio.run(story())


def test_the_stories_of_the_lecture_hall_are_those_of_the_pages(address):
    assert list(demo_load.STORIES) == list(BUTTONS)
    figures = asyncio.run(demo_load.lecture(address, visitors=4, seconds=7, server=psutil.Process()))
    assert not figures["errors"]
    assert all(figures[page]["clicks"] for page in BUTTONS)
