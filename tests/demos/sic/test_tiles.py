"""Tiles of slides: which are served, to whom, and for how long."""

import io
import shutil
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import anyio
import openslide
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from openslide.deepzoom import DeepZoomGenerator
from PIL import Image

from demos.bundle import FOLDER
from demos.shared.uploads import UploadError
from demos.sic.decoding import Pyramid
from demos.sic.opening import open_slide
from demos.sic.samples import SIDE, SLIDE
from demos.sic.tiles import CUTTERS_EACH, OVERLAP, TILE, Tiles, router
from tests.demos.sic.hostile_slides import DEFLATE, slide
from tests.demos.sic.planted import wait_until

PATH = FOLDER / SLIDE


@pytest.fixture
def tiles() -> Tiles:
    return Tiles(most=2)


@pytest.fixture
def client(tiles):
    app = FastAPI()
    app.include_router(router(tiles))
    return TestClient(app)


@pytest.fixture
def upload(tmp_path):
    return lambda: shutil.copyfile(PATH, tmp_path / "upload.tif")


def files(tiles: Tiles) -> list[Path]:
    return list(Path(tiles._folder.name).iterdir())


def is_there(tiles: Tiles, token: str) -> bool:
    try:
        return len(tiles.tile(token, 0, 0, 0)) > 0
    except KeyError:
        return False


def test_tiles_and_the_viewer_are_served(tiles, client):
    token = tiles.add_sample(PATH)
    assert tiles.layout(token)["Image"] == {
        "Format": "jpeg", "Overlap": 1, "TileSize": 254, "Size": {"Width": SIDE, "Height": SIDE},
    }  # fmt: skip
    for level, size in ((0, (1, 1)), ((SIDE - 1).bit_length(), (255, 255))):
        answer = client.get(f"/slides/{token}/{level}/0_0.jpeg")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        assert Image.open(io.BytesIO(answer.content)).size == size
    viewer = client.get("/slides/openseadragon.js")
    assert "javascript" in viewer.headers["content-type"]
    assert "openseadragon 6" in viewer.text[:100]


@pytest.mark.parametrize(
    "place",
    ["13/0_0", "12/12_0", "12/0_12", "99/0_0", "-1/0_0", "12/-1_0", "12/0_²", "12/0_1e1", "9999999/0_0",
     "1" * 5000 + "/0_0"],
)  # fmt: skip
def test_a_place_that_does_not_exist_is_refused_in_a_sentence(tiles, client, place):
    answer = client.get(f"/slides/{tiles.add_sample(PATH)}/{place}.jpeg")
    assert answer.status_code == 404
    assert answer.json()["detail"].endswith(".")


def test_an_unknown_slide_and_a_damaged_tile_are_refused(tiles, client, monkeypatch):
    for token in ("phantom", "..", "%2e%2e", "a" * 32):
        answer = client.get(f"/slides/{token}/0/0_0.jpeg")
        assert answer.status_code == 404
        assert "Traceback" not in answer.text
    monkeypatch.setattr(DeepZoomGenerator, "get_tile", Mock(side_effect=openslide.OpenSlideError))
    answer = client.get(f"/slides/{tiles.add_sample(PATH)}/0/0_0.jpeg")
    assert (answer.status_code, answer.json()["detail"]) == (404, "This part of the slide is damaged.")


def test_a_sample_stays_and_an_upload_is_moved_and_deleted_with_its_token(tiles, upload):
    with ThreadPoolExecutor(8) as visitors:
        (sample,) = set(visitors.map(lambda _: tiles.add_sample(PATH), range(8)))  # one token for all
    path = upload()
    one = tiles.add_upload(path)
    assert not path.exists()
    other = tiles.add_upload(upload())
    assert (one != other, len(one) >= 32) == (True, True)
    for token in (sample, one, one):  # twice does no harm
        tiles.forget(token)
    assert [is_there(tiles, token) for token in (sample, one, other)] == [True, False, True]
    assert len(files(tiles)) == 1


def test_too_many_uploads_push_out_the_one_unused_longest_of_the_owner_of_most(tiles, upload):
    one, two = (tiles.add_upload(upload()) for _ in range(2))
    assert is_there(tiles, one)  # it is the newer one now
    three = tiles.add_upload(upload())
    assert [is_there(tiles, token) for token in (one, two, three)] == [True, False, True]
    tiles = Tiles(most=3)
    mine = tiles.add_upload(upload(), "192.0.2.1")
    theirs = [tiles.add_upload(upload(), "192.0.2.2") for _ in range(9)]
    assert [is_there(tiles, token) for token in (mine, *theirs)] == [True, *[False] * 7, True, True]
    assert len(files(tiles)) == 3


def test_an_upload_that_is_gone_or_no_slide_leaves_no_file(tiles, tmp_path):
    with pytest.raises(UploadError, match="did not arrive"):
        tiles.add_upload(tmp_path / "gone.svs")
    (tmp_path / "bad.tif").write_bytes(b"II*\0 no slide")
    with pytest.raises(openslide.OpenSlideError):
        tiles.add_upload(tmp_path / "bad.tif")
    assert files(tiles) == []


def test_an_upload_that_nobody_looks_at_expires_by_itself(upload):
    tiles = Tiles(lifetime=0.05)
    sample, token = tiles.add_sample(PATH), tiles.add_upload(upload())
    wait_until(lambda: files(tiles) == [])
    assert (is_there(tiles, sample), is_there(tiles, token)) == (True, False)


def test_only_so_many_tiles_are_cut_at_a_time_and_per_slide(tiles, upload, monkeypatch):
    token, other = tiles.add_sample(PATH), tiles.add_upload(upload())
    inside, most, changed = Counter(), Counter(), threading.Condition()

    def slow(name, *_):
        with changed:
            inside[name] += 1
            for key, number in ((name, inside[name]), ("all", inside.total())):
                most[key] = max(most[key], number)
            changed.notify_all()
            changed.wait_for(lambda: most["all"] >= 3, 30)
            changed.wait_for(lambda: most["all"] > 3, 0.1)  # a fourth one would come in now
            inside[name] -= 1

    async def ask():
        async with anyio.create_task_group() as group:
            for name in [token] * 4 + [other] * 4:
                group.start_soon(tiles.cut, name, 0, 0, 0)

    monkeypatch.setattr(tiles, "tile", slow)
    monkeypatch.setattr(tiles, "cutters", anyio.CapacityLimiter(3))
    anyio.run(ask)
    assert most["all"] == 3
    assert max(most[token], most[other]) == CUTTERS_EACH


@pytest.mark.parametrize(
    ("side", "tile", "smaller"),
    [(4608, 512, ()), (63_488, 1024, (3968,)), (60_000, 256, (15_000, 3750)), (65_536, 1024, (4096, 256))],
)
def test_a_tile_is_made_of_a_limited_number_of_pixels(tmp_path, side, tile, smaller):
    path = tmp_path / "slide.svs"
    path.write_bytes(slide(side, tile, DEFLATE, *smaller))
    with open_slide(path, 0.07):
        pyramid = Pyramid.of(path)
    generator = DeepZoomGenerator(openslide.OpenSlide(path), TILE, OVERLAP)
    for level, (columns, rows) in enumerate(generator.level_tiles):
        for place in {(0, 0), (columns // 2, rows // 2), (columns - 1, rows - 1)}:
            (corner, from_level, size), _ = generator._get_tile_info(level, place)
            corner = [int(at / pyramid.downsamples[from_level]) for at in corner]
            touched = [(at + length - 1) // tile - at // tile + 1 for at, length in zip(corner, size, strict=True)]
            assert touched[0] * touched[1] * tile**2 <= 40 * 10**6
