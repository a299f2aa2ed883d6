"""Tiles of slides: what is served, to whom, and for how long."""

from __future__ import annotations

import io
import shutil
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="the demos need gradio: pip install 'histolab-lite[demos]'")

import anyio  # noqa: E402
import openslide  # noqa: E402
from fastapi import FastAPI  # noqa: E402
from fastapi.testclient import TestClient  # noqa: E402
from openslide.deepzoom import DeepZoomGenerator  # noqa: E402
from PIL import Image  # noqa: E402

from demos.bundle import FOLDER  # noqa: E402
from demos.shared.uploads import UploadError  # noqa: E402
from demos.sic.decoding import Pyramid  # noqa: E402
from demos.sic.opening import open_slide  # noqa: E402
from demos.sic.samples import SIDE, SLIDE  # noqa: E402
from demos.sic.tiles import CUTTERS_EACH, OVERLAP, TILE, Tiles, router  # noqa: E402
from tests.demos.sic.hostile_slides import DEFLATE, deflated, slide  # noqa: E402

PATH = FOLDER / SLIDE


@pytest.fixture
def tiles() -> Tiles:
    return Tiles(lifetime=30, most=2)


@pytest.fixture
def client(tiles):
    app = FastAPI()
    app.include_router(router(tiles))
    return TestClient(app)


@pytest.fixture
def upload(tmp_path):
    def make():
        return shutil.copyfile(PATH, tmp_path / "upload.tif")

    return make


def test_the_whole_slide_and_its_finest_tile(tiles, client):
    token = tiles.add_sample(PATH)
    assert tiles.layout(token)["Image"]["Size"] == {"Width": SIDE, "Height": SIDE}
    finest = (SIDE - 1).bit_length()
    for level, size in ((0, (1, 1)), (finest, (255, 255))):
        answer = client.get(f"/slides/{token}/{level}/0_0.jpeg")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(answer.content)).size == size


def test_the_viewer_is_served_from_here(client):
    answer = client.get("/slides/openseadragon.js")
    assert answer.status_code == 200
    assert "javascript" in answer.headers["content-type"]
    assert "openseadragon 6" in answer.text[:100]


@pytest.mark.parametrize(
    "place",
    [
        "13/0_0",
        "12/12_0",
        "12/0_12",
        "99/0_0",
        "-1/0_0",
        "12/-1_0",
        "12/0_²",
        "12/0_1e1",
        "9999999/0_0",
        "1" * 5000 + "/0_0",
    ],
)
def test_a_place_that_is_not_there_is_refused_in_a_sentence(tiles, client, place):
    answer = client.get(f"/slides/{tiles.add_sample(PATH)}/{place}.jpeg")
    assert answer.status_code == 404
    assert answer.json()["detail"].endswith(".")


@pytest.mark.parametrize("token", ["phantom", "..", "%2e%2e", "a" * 32])
def test_an_unknown_slide_is_refused(client, token):
    answer = client.get(f"/slides/{token}/0/0_0.jpeg")
    assert answer.status_code == 404
    assert "Traceback" not in answer.text


def test_a_sample_has_one_token_and_stays(tiles):
    token = tiles.add_sample(PATH)
    assert tiles.add_sample(PATH) == token
    tiles.forget(token)
    assert tiles.tile(token, 0, 0, 0)


def test_the_same_upload_of_two_visitors_has_two_tokens_and_leaves_with_its_own(tiles, upload):
    one, other = tiles.add_upload(upload()), tiles.add_upload(upload())
    assert one != other
    assert len(one) >= 32
    tiles.forget(one)
    with pytest.raises(KeyError):
        tiles.tile(one, 0, 0, 0)
    assert tiles.tile(other, 0, 0, 0)


def test_an_upload_is_moved_and_deleted_with_its_entry(tiles, upload):
    file = upload()
    token = tiles.add_upload(file)
    assert not file.exists()
    assert len(_kept(tiles)) == 1
    tiles.forget(token)
    assert _kept(tiles) == []
    tiles.forget(token)  # twice does no harm


def test_too_many_uploads_push_out_the_one_unused_longest(tiles, upload):
    one, two = tiles.add_upload(upload()), tiles.add_upload(upload())
    tiles.tile(one, 0, 0, 0)
    three = tiles.add_upload(upload())
    with pytest.raises(KeyError):
        tiles.layout(two)
    assert tiles.layout(one)
    assert tiles.layout(three)
    assert len(_kept(tiles)) == 2


def test_who_uploads_most_pushes_out_an_upload_of_their_own(upload):
    tiles = Tiles(lifetime=30, most=3)
    mine = tiles.add_upload(upload(), "192.0.2.1")
    theirs = [tiles.add_upload(upload(), "192.0.2.2") for _ in range(9)]
    assert tiles.layout(mine)
    assert tiles.layout(theirs[-1])
    assert len(_kept(tiles)) == 3


def test_an_upload_that_has_gone_is_said(tiles, tmp_path):
    with pytest.raises(UploadError, match="did not arrive"):
        tiles.add_upload(tmp_path / "gone.svs")


def test_no_more_tiles_are_cut_at_a_time_than_there_are_cutters(tiles, upload, monkeypatch):
    token, other = tiles.add_sample(PATH), tiles.add_upload(upload())
    inside, most, lock = Counter(), Counter(), threading.Lock()

    def slow(name, *_):
        with lock:
            inside[name] += 1
            most[name] = max(most[name], inside[name])
            most["all"] = max(most["all"], inside.total())
        time.sleep(0.01)
        with lock:
            inside[name] -= 1

    async def ask():
        async with anyio.create_task_group() as group:
            for name in [token] * 20 + [other] * 20:
                group.start_soon(tiles.cut, name, 0, 0, 0)

    monkeypatch.setattr(tiles, "tile", slow)
    monkeypatch.setattr(tiles, "cutters", anyio.CapacityLimiter(3))
    anyio.run(ask)
    assert most == {token: CUTTERS_EACH, other: CUTTERS_EACH, "all": 3}


@pytest.mark.parametrize(
    ("side", "tile", "smaller"),
    [(4608, 512, ()), (63_488, 1024, (3968,)), (60_000, 256, (15_000, 3750)), (65_536, 1024, (4096, 256))],
)
def test_a_tile_is_made_of_a_bounded_number_of_pixels(tmp_path, side, tile, smaller):
    (tmp_path / "slide.svs").write_bytes(slide(side, tile, DEFLATE, deflated(tile), *smaller))
    with open_slide(tmp_path / "slide.svs", 0.07):
        pyramid = Pyramid.of(tmp_path / "slide.svs")
    generator = DeepZoomGenerator(openslide.OpenSlide(tmp_path / "slide.svs"), TILE, OVERLAP)
    most = 0
    for level, (columns, rows) in enumerate(generator.level_tiles):
        for place in {(0, 0), (columns // 2, rows // 2), (columns - 1, rows - 1)}:
            (corner, from_level, size), _ = generator._get_tile_info(level, place)
            corner = [int(at / pyramid.downsamples[from_level]) for at in corner]
            touched = [(at + length - 1) // tile - at // tile + 1 for at, length in zip(corner, size, strict=True)]
            most = max(most, touched[0] * touched[1] * tile**2)
    assert most <= 40 * 10**6


def test_an_upload_that_nobody_looks_at_expires_by_itself(upload):
    tiles = Tiles(lifetime=0.05)
    sample, token = tiles.add_sample(PATH), tiles.add_upload(upload())
    until = time.monotonic() + 10
    while len(tiles) > 1 and time.monotonic() < until:
        time.sleep(0.05)
    assert _kept(tiles) == []
    assert tiles.layout(sample)
    with pytest.raises(KeyError):
        tiles.layout(token)


def test_what_is_no_slide_leaves_no_file(tiles, tmp_path):
    (tmp_path / "bad.tif").write_bytes(b"II*\0 no slide")
    with pytest.raises(Exception, match=r"."):
        tiles.add_upload(tmp_path / "bad.tif")
    assert _kept(tiles) == []


def _kept(tiles: Tiles) -> list:
    return list(Path(tiles._folder.name).iterdir())
