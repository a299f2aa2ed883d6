"""Tiles carry the right mask and the right group, and bad masks are named."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from histolab_lite.data.manifests import TileFolder
from histolab_lite.data.tiles import Tile, TileError, TileSet, group_folds, load_tiles
from tests.data.support import toy_manifest

TOY = toy_manifest(
    access="manual",
    obtain="Nowhere.",
    classes=("other", "gland"),
    palette=((0, 0, 0), (255, 0, 0)),
    mpp=0.5,
    mask_values={0: 0, 9: 1, 7: 255},
    tiles={
        "train": TileFolder(images="toy/images/*.png", masks="toy/masks/{stem}.png", group="(p[0-9]+)_"),
        "test": TileFolder(images="toy/test/*.png"),
    },
)


def toy_set(folder, patients: int = 3, split: str | None = "train", **changes) -> TileSet:
    """Two tiles per patient, of value = tile number; their masks are 0 | 9 | 7 from left to right."""
    mask = np.repeat(np.array([0, 9, 7], np.uint8), (10, 8, 2))[None].repeat(10, 0)
    images = {"test/alone": np.zeros((5, 5, 3), np.uint8)}
    for number in range(2 * patients):
        name = f"p{number // 2}_{10 if number % 2 else 2}"
        images |= {f"images/{name}": np.full((10, 20, 3), number, np.uint8), f"masks/{name}": mask}
    for name, image in images.items():
        path = folder / f"toy/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return load_tiles(dataclasses.replace(TOY, **changes), folder, split)


def test_tiles_of_a_manifest(tmp_path):
    tiles = toy_set(tmp_path, patients=2, split=None)
    assert [tile.name for tile in tiles] == ["p0_2", "p0_10", "p1_2", "p1_10", "alone"]
    assert tiles.groups.tolist() == ["p0", "p0", "p1", "p1", "alone"]
    assert (tiles.class_names, tiles.mpp) == (("other", "gland"), 0.5)
    assert tiles.palette.tolist() == [[0, 0, 0], [255, 0, 0]]
    assert [tile.name for tile in load_tiles(TOY, tmp_path, split="test")] == ["alone"]
    assert [tile.name for tile in tiles.subset([2, 0])] == ["p1_2", "p0_2"]


@pytest.mark.parametrize(("mpp", "shape"), [(None, (10, 20)), (0.5, (10, 20)), (1.0, (5, 10)), (0.25, (20, 40))])
def test_reading_at_any_scale(tmp_path, mpp, shape):
    images, masks = toy_set(tmp_path).read(mpp)
    x = (np.arange(shape[1]) + 0.5) * 20 / shape[1]
    for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
        assert image.shape == (*shape, 3)
        assert (image == number).all()
        assert image.dtype == mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, np.select([x < 10, x < 18], [0, 1], 255)[None].repeat(shape[0], 0))


def test_an_unknown_scale_is_refused(tmp_path):
    tiles = toy_set(tmp_path, mpp=None)
    assert len(tiles.read()[0]) == 6
    with pytest.raises(TileError, match="µm per pixel"):
        tiles.read(1.0)


def test_group_from_a_table(tmp_path):
    table = tmp_path / "toy/table.csv"
    folder = TileFolder(images="toy/images/*.png", group_csv="toy/table.csv", group_column="patient")
    table.parent.mkdir()
    table.write_text("name,patient\np0_2,a\np0_10,b\n")
    assert toy_set(tmp_path, 1, tiles={"train": folder}).groups.tolist() == ["a", "b"]
    table.write_text("name,patient\np0_2,a\n")
    with pytest.raises(TileError, match=r"p0_10\.png.*no group"):
        toy_set(tmp_path, 1, tiles={"train": folder})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (TOY, {"split": "val"}, "no split 'val'. It has: train, test"),
        (dataclasses.replace(TOY, tiles={}), {}, "holds slides"),
        ("glass", {}, "no data set 'glass'.*, glas,"),
        ("phantom", {"n_slides": 0}, "n_slides"),
        ("phantom", {"n_slides": 1001}, "n_slides"),
    ],
)
def test_requests_it_cannot_answer(name, options, message):
    with pytest.raises((TileError, FileNotFoundError), match=message):
        load_tiles(name, **options)


IDS = np.array([[0, 1, 2, 255], [2, 2, 1, 1], [0, 0, 0, 0]], dtype=np.uint8)


def save_pair(folder, mask: Image.Image) -> Tile:
    Image.new("RGB", (4, 3)).save(folder / "image.png")
    mask.save(folder / "mask.png")
    return Tile("image", folder / "image.png", folder / "mask.png", "image", n_classes=3)


def test_masks_with_a_palette_saved_as_colour_and_with_a_threshold(tmp_path):
    mask = Image.fromarray(IDS)
    tile = save_pair(tmp_path, mask.convert("RGB"))
    np.testing.assert_array_equal(tile.read_mask(), IDS)
    np.testing.assert_array_equal(dataclasses.replace(tile, mask_threshold=2).read_mask(), IDS >= 2)
    mask.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200] + [90] * 759)
    np.testing.assert_array_equal(save_pair(tmp_path, mask).read_mask(), IDS)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (Image.fromarray(IDS + 17), r"mask\.png holds the value 16.*Known values: 0, 1, 2, 255"),
        (Image.fromarray(IDS[:, :3]), r"mask\.png is 3 x 3, its image 4 x 3"),
        (Image.new("RGB", (4, 3), (1, 2, 3)), r"mask\.png is a colour image"),
    ],
)
def test_bad_masks_are_named(tmp_path, mask, message):
    with pytest.raises(TileError, match=message):
        save_pair(tmp_path, mask).read_mask()


def test_files_that_are_damaged_or_missing_are_named(tmp_path):
    tile = save_pair(tmp_path, Image.fromarray(IDS))
    for path, read in ((tile.mask_path, tile.read_mask), (tile.image_path, tile.read_image)):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(TileError, match=f"{path.name} is not a readable image"):
            read()
    tile.mask_path.unlink()
    with pytest.raises(TileError, match=r"mask\.png is missing"):
        tile.read_mask()
    with pytest.raises(TileError, match="without labels"):
        dataclasses.replace(tile, mask_path=None).read_mask()


@given(
    sizes=st.lists(st.integers(1, 20), min_size=5, max_size=30),
    n_folds=st.integers(2, 5),
    seed=st.integers(0, 9),
)
def test_folds_never_split_a_group(sizes, n_folds, seed):
    groups = np.repeat([f"patient {i}" for i in range(len(sizes))], sizes)
    groups = np.random.default_rng(seed).permutation(groups)
    folds = group_folds(groups, n_folds, seed)
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])
        assert sorted([*train, *test]) == list(range(len(groups)))
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(len(groups)))
    lengths = [len(test) for _, test in folds]
    assert len(lengths) == n_folds
    assert max(lengths) - min(lengths) <= max(sizes)


def as_lists(splits) -> list[list[int]]:
    """Train and test of each split in turn."""
    return [side.tolist() for split in splits for side in split]


def test_folds_follow_the_seed_and_need_groups():
    groups = [f"patient {i // 2}" for i in range(40)]
    first, again, other = (as_lists(group_folds(groups, 4, seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    for n_folds in (1, 21):
        with pytest.raises(TileError, match="at most the number of groups, 20"):
            group_folds(groups, n_folds)


def test_split_keeps_patients_apart_and_follows_the_seed(tmp_path):
    tiles = toy_set(tmp_path)
    splits = [tiles.split(1 / 3, seed) for seed in range(12)]
    for train, test in splits:
        assert sorted([*train, *test]) == list(range(6))
        assert not set(tiles.groups[train]) & set(tiles.groups[test])
    assert {tuple(test) for _, test in splits} == {(0, 1), (2, 3), (4, 5)}
    assert as_lists(tiles.splits([3, 5])) == as_lists([tiles.split(seed=3), tiles.split(seed=5)])
    for impossible in (0.0, 1.0):
        with pytest.raises(TileError, match="a share in"):
            tiles.split(impossible)


def test_splits_that_are_apart_share_no_patient(tmp_path):
    tiles = toy_set(tmp_path, patients=6)
    sides = as_lists(tiles.splits([3, 5], apart=True))
    assert sorted(sum(sides, [])) == list(range(12))
    groups = [set(tiles.groups[side]) for side in sides]
    assert all(groups)
    assert sum(map(len, groups)) == 6  # no patient twice
    assert as_lists(tiles.splits([4], apart=True)) == as_lists([tiles.split(seed=4)])
    for n_seeds, message in ((7, "at most the number of groups, 6"), (4, "a split needs two")):
        with pytest.raises(TileError, match=message):
            tiles.splits(range(n_seeds), apart=True)


@pytest.mark.real_data
def test_real_tiles(data_root):
    glas = load_tiles("glas", data_root)
    assert len(glas) == 85
    assert glas[0].read_mask().shape == glas[0].read_image().shape[:2] == (522, 775)
    for tile in (glas[0], glas[40], glas[84]):
        assert set(np.unique(tile.read_mask())) == {0, 1}
    assert len(set(glas.groups)) == 15
    assert all(15 <= len(test) <= 19 for _, test in group_folds(glas.groups, 5, seed=0))
    ocdc = load_tiles("ocdc", data_root)
    assert len(ocdc) == 10
    assert set(np.unique(np.concatenate([tile.read_mask() for tile in ocdc]))) == {0, 1}
    assert set(ocdc.groups) == {"1009009"}
    oscc = load_tiles("oscc", data_root)
    assert len(oscc) == 22
    assert oscc[0].mask_path is None
