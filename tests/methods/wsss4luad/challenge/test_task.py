"""A task holds the folder's patches, tags and images at one scale; tiles with masks make one, too."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histolab_lite.data import IGNORE
from histolab_lite.data.tiles import Tile, TileSet
from histolab_lite.formats.masks import write_mask
from histolab_lite.methods.wsss4luad.challenge.files import PALETTE
from histolab_lite.methods.wsss4luad.challenge.task import challenge_task, resized_masks, tiles_task
from tests.methods.refused import refused

BLACK_WHITE = ((0, 0, 0), (255, 255, 255))


def save(path: Path, colour: tuple[int, int, int], height: int, width: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), colour).save(path)


@pytest.fixture
def root(tmp_path):
    save(tmp_path / "1.training" / "A-0-0-[1, 0, 0].png", (200, 0, 0), 40, 60)
    save(tmp_path / "1.training" / "B-0-0-[0, 1, 1].png", (0, 200, 0), 80, 60)
    testing = tmp_path / "3.testing"
    save(testing / "img" / "00.png", (0, 0, 200), 30, 50)
    mask, white = np.zeros((30, 50), np.uint8), np.zeros((30, 50), np.uint8)
    mask[:10], white[:, :5] = 3, 1
    for kind, values, palette in (("mask", mask, PALETTE), ("background-mask", white, BLACK_WHITE)):
        (testing / kind).mkdir()
        write_mask(testing / kind / "00.png", values, palette)
    return tmp_path


def test_patches_are_stretched_to_one_size_and_images_keep_theirs(root):
    truth = [np.zeros((40, 60), np.uint8), np.ones((80, 60), np.uint8)]
    task = challenge_task(root, 20, truth=truth)
    assert task.patches.shape == (2, 20, 20, 3)
    assert task.tags.tolist() == [[1, 0, 0], [0, 1, 1]]
    np.testing.assert_array_equal(task.patches[:, 0, 0], [[200, 0, 0], [0, 200, 0]])
    np.testing.assert_array_equal(task.truth[:, 0, 0], [0, 1])
    assert task.factor == pytest.approx(20 / np.mean([40, 60, 80, 60]))
    assert task.images[0].shape == (30, 50, 3)
    assert (task.masks[0] == IGNORE).sum() == 10 * 50 + 20 * 5
    assert (task.masks[0][10:, 5:] == 0).all()
    assert challenge_task(root, 20).truth is None
    refused("differ in number or size", lambda: challenge_task(root, 20, truth=truth[::-1]))


def test_tiles_with_masks_are_split_by_patient_and_tagged(tmp_path):
    random = np.random.default_rng(0)
    mask = np.indices((64, 64))[1] // 32
    tiles = []
    for name in ("a0", "a1", "b0", "b1", "c0", "c1"):
        save(tmp_path / f"{name}.png", tuple(random.integers(0, 255, 3).tolist()), 64, 64)
        write_mask(tmp_path / f"{name}_mask.png", mask.astype(np.uint8), BLACK_WHITE)
        tiles.append(Tile(name, tmp_path / f"{name}.png", tmp_path / f"{name}_mask.png", name[0], 2))
    made = TileSet("squares", tuple(tiles), ("left", "right"), np.array(BLACK_WHITE, np.uint8), 1.0)
    task = tiles_task(made, 16, side=32, mpp=1.0, n=99)
    assert len(task.images) == 2  # one patient of three
    assert not {tuple(image[0, 0]) for image in task.images} & {tuple(patch[0, 0]) for patch in task.patches}
    assert task.factor == 0.5
    assert {tuple(tags) for tags in task.tags.tolist()} == {(1, 0), (0, 1), (1, 1)}
    for tags, patch_mask in zip(task.tags, task.truth, strict=True):
        assert tags.tolist() == [int((patch_mask == k).any()) for k in range(2)]


def test_masks_are_stretched_without_new_ids():
    mask = np.array([[0, 2], [255, 1]], np.uint8)
    np.testing.assert_array_equal(resized_masks([mask], 4)[0], mask.repeat(2, 0).repeat(2, 1))
    assert set(np.unique(resized_masks([mask.repeat(3, 0)], 5))) <= {0, 1, 2, 255}
