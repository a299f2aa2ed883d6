"""Tiles carry the right mask and the right group, and bad masks are named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from histolab_lite.data.manifests import TileFolder
from histolab_lite.data.tiles import Tile, TileError, TileSet, group_folds, load_tiles
from tests.data.support import toy_manifest

FOLDERS = {
    "train": TileFolder(images="toy/images/*.png", masks="toy/masks/{stem}.png", group="(p[0-9]+)_"),
    "test": TileFolder(images="toy/test/*.png"),
}
TOY = toy_manifest(
    access="manual",
    obtain="Nowhere.",
    classes=("other", "gland"),
    palette=((0, 0, 0), (255, 0, 0)),
    mpp=0.5,
    mask_values={0: 0, 9: 1, 7: 255},
    tiles=FOLDERS,
)


@pytest.fixture
def toy_root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for folder in ("images", "masks", "test"):
        (tmp_path / "toy" / folder).mkdir(parents=True)
    for name in ("p1_2", "p1_10", "p2_1"):
        image = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
        mask = rng.choice(np.array([0, 9, 7], dtype=np.uint8), (20, 30))
        Image.fromarray(image).save(tmp_path / f"toy/images/{name}.png")
        Image.fromarray(mask).save(tmp_path / f"toy/masks/{name}.png")
    Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(tmp_path / "toy/test/alone.png")
    return tmp_path


def test_tiles_of_a_manifest(toy_root: Path) -> None:
    tile_set = load_tiles(TOY, toy_root)
    assert [tile.name for tile in tile_set] == ["p1_2", "p1_10", "p2_1", "alone"]
    assert tile_set.groups.tolist() == ["p1", "p1", "p2", "alone"]
    assert (tile_set.class_names, tile_set.mpp) == (("other", "gland"), 0.5)
    assert tile_set.palette.tolist() == [[0, 0, 0], [255, 0, 0]]
    assert [tile.name for tile in load_tiles(TOY, toy_root, split="test")] == ["alone"]
    assert [tile.name for tile in tile_set.subset([2, 0])] == ["p2_1", "p1_2"]

    raw = np.asarray(Image.open(toy_root / "toy/masks/p1_2.png"))
    mask = tile_set[0].read_mask()
    assert mask.dtype == np.uint8
    for value, meaning in TOY.mask_values.items():
        assert (mask[raw == value] == meaning).all()
    image = tile_set[0].read_image()
    assert (image.shape, image.dtype) == ((20, 30, 3), np.uint8)


def test_group_from_a_table(toy_root: Path) -> None:
    (toy_root / "toy/table.csv").write_text("name,patient\np1_2,a\np1_10,b\np2_1,a\n")
    folder = TileFolder(images="toy/images/*.png", group_csv="toy/table.csv", group_column="patient")
    by_table = dataclasses.replace(TOY, tiles={"train": folder})
    assert load_tiles(by_table, toy_root).groups.tolist() == ["a", "b", "a"]
    (toy_root / "toy/table.csv").write_text("name,patient\np1_2,a\n")
    with pytest.raises(TileError, match=r"p1_10\.png.*no group"):
        load_tiles(by_table, toy_root)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (TOY, {"split": "val"}, "no split 'val'. It has: train, test"),
        (dataclasses.replace(TOY, tiles={}), {}, "holds slides"),
        ("glass", {}, r"no data set 'glass'.*, glas,"),
        ("phantom", {"n_slides": 0}, "n_slides"),
        ("phantom", {"n_slides": 1001}, "n_slides"),
    ],
)
def test_requests_it_cannot_answer(toy_root: Path, name: object, options: dict, message: str) -> None:
    with pytest.raises((TileError, FileNotFoundError), match=message):
        load_tiles(name, toy_root, **options)  # type: ignore[arg-type]


def save_pair(folder: Path, mask: Image.Image) -> Tile:
    Image.new("RGB", (4, 3)).save(folder / "image.png")
    mask.save(folder / "mask.png")
    return Tile("image", folder / "image.png", folder / "mask.png", "image", n_classes=3)


IDS = np.array([[0, 1, 2, 255], [2, 2, 1, 1], [0, 0, 0, 0]], dtype=np.uint8)


def test_masks_with_a_palette_and_masks_saved_as_colour(tmp_path: Path) -> None:
    mask = Image.fromarray(IDS)
    np.testing.assert_array_equal(save_pair(tmp_path, mask.convert("RGB")).read_mask(), IDS)
    mask.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200] + [90] * 759)
    assert mask.mode == "P"
    np.testing.assert_array_equal(save_pair(tmp_path, mask).read_mask(), IDS)


def test_threshold_for_jpeg_masks(tmp_path: Path) -> None:
    grey = np.array([[0, 3, 127, 128]] * 3, dtype=np.uint8)
    tile = dataclasses.replace(save_pair(tmp_path, Image.fromarray(grey)), mask_threshold=128)
    assert tile.read_mask().tolist() == [[0, 0, 0, 1]] * 3


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (Image.fromarray(IDS + 17), r"mask\.png holds the value 16.*Known values: 0, 1, 2, 255"),
        (Image.fromarray(IDS[:, :3]), r"mask\.png is 3 x 3, its image 4 x 3"),
        (Image.new("RGB", (4, 3), (1, 2, 3)), r"mask\.png is a colour image"),
    ],
)
def test_bad_masks_are_named(tmp_path: Path, mask: Image.Image, message: str) -> None:
    with pytest.raises(TileError, match=message):
        save_pair(tmp_path, mask).read_mask()


def test_files_that_are_damaged_or_missing_are_named(tmp_path: Path) -> None:
    tile = save_pair(tmp_path, Image.fromarray(IDS))
    (tmp_path / "mask.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(TileError, match=r"mask\.png is not a readable image"):
        tile.read_mask()
    (tmp_path / "mask.png").unlink()
    with pytest.raises(TileError, match=r"mask\.png is missing"):
        tile.read_mask()
    with pytest.raises(TileError, match="without labels"):
        dataclasses.replace(tile, mask_path=None).read_mask()
    whole = (tmp_path / "image.png").read_bytes()
    (tmp_path / "image.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TileError, match=r"image\.png is not a readable image"):
        tile.read_image()


@given(
    sizes=st.lists(st.integers(1, 20), min_size=5, max_size=30),
    n_folds=st.integers(2, 5),
    seed=st.integers(0, 9),
)
def test_folds_never_split_a_group(sizes: list[int], n_folds: int, seed: int) -> None:
    groups = np.repeat([f"patient {i}" for i in range(len(sizes))], sizes)
    groups = np.random.default_rng(seed).permutation(groups)
    folds = group_folds(groups, n_folds, seed)
    assert len(folds) == n_folds
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])
        assert sorted([*train, *test]) == list(range(len(groups)))
    tested = np.concatenate([test for _, test in folds])
    assert sorted(tested) == list(range(len(groups)))
    lengths = [len(test) for _, test in folds]
    assert max(lengths) - min(lengths) <= max(sizes)


def test_folds_follow_the_seed() -> None:
    groups = [f"patient {i // 2}" for i in range(40)]
    first, again, other = ([test.tolist() for _, test in group_folds(groups, 4, seed)] for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.mark.parametrize("n_folds", [1, 21])
def test_folds_need_groups(n_folds: int) -> None:
    with pytest.raises(TileError, match="at most the number of groups, 20"):
        group_folds(range(20), n_folds)


def numbered_set(folder: Path, mpp: float | None = 0.5, patients: int = 3) -> TileSet:
    """Two tiles per patient: image value = tile number, mask = left half 0, right half 1."""
    tiles = []
    for number in range(2 * patients):
        image, mask = np.full((10, 20, 3), number, np.uint8), np.zeros((10, 20), np.uint8)
        mask[:, 10:] = 1
        paths = folder / f"{number}.png", folder / f"{number}_mask.png"
        for array, path in zip((image, mask), paths, strict=True):
            Image.fromarray(array).save(path)
        tiles.append(Tile(f"{number}", *paths, f"p{number // 2}", 2))
    return TileSet("toy", tuple(tiles), ("a", "b"), np.zeros((2, 3), np.uint8), mpp)


def as_lists(splits) -> list[list[int]]:
    """Train and test of each split in turn."""
    return [side.tolist() for split in splits for side in split]


def test_split_keeps_patients_apart_and_follows_the_seed(tmp_path: Path) -> None:
    tile_set = numbered_set(tmp_path)
    splits = [tile_set.split(1 / 3, seed) for seed in range(12)]
    for train, test in splits:
        assert sorted([*train, *test]) == list(range(6))
        assert not set(tile_set.groups[train]) & set(tile_set.groups[test])
    assert {tuple(test) for _, test in splits} == {(0, 1), (2, 3), (4, 5)}
    assert as_lists(tile_set.splits([3, 5])) == as_lists([tile_set.split(seed=3), tile_set.split(seed=5)])


def test_splits_that_are_apart_share_no_patient(tmp_path: Path) -> None:
    tile_set = numbered_set(tmp_path, patients=6)
    sides = as_lists(tile_set.splits([3, 5], apart=True))
    assert sorted(sum(sides, [])) == list(range(12))
    groups = [set(tile_set.groups[side]) for side in sides]
    assert all(groups)
    assert sum(map(len, groups)) == 6  # no patient twice
    assert as_lists(tile_set.splits([4], apart=True)) == as_lists([tile_set.split(seed=4)])
    with pytest.raises(TileError, match="at most the number of groups, 6"):
        tile_set.splits(range(7), apart=True)
    with pytest.raises(TileError, match="a split needs two"):
        tile_set.splits(range(4), apart=True)
    for share in (0.0, 1.0):
        with pytest.raises(TileError, match="a share in"):
            tile_set.split(share)


@pytest.mark.parametrize(("mpp", "shape"), [(None, (10, 20)), (0.5, (10, 20)), (1.0, (5, 10)), (0.25, (20, 40))])
def test_reading_at_another_scale(tmp_path: Path, mpp: float | None, shape: tuple[int, int]) -> None:
    images, masks = numbered_set(tmp_path).read(mpp)
    assert {image.shape for image in images} == {(*shape, 3)}
    for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
        assert (image == number).all()
        np.testing.assert_array_equal(mask, np.arange(shape[1])[None].repeat(shape[0], 0) >= shape[1] // 2)


def test_an_unknown_scale_is_refused(tmp_path: Path) -> None:
    tile_set = numbered_set(tmp_path, mpp=None)
    assert len(tile_set.read()[0]) == 6
    with pytest.raises(TileError, match="µm per pixel"):
        tile_set.read(1.0)


@pytest.mark.real_data
def test_glas(data_root: Path) -> None:
    tile_set = load_tiles("glas", data_root)
    assert len(tile_set) == 85
    assert tile_set[0].read_mask().shape == tile_set[0].read_image().shape[:2] == (522, 775)
    for tile in (tile_set[0], tile_set[40], tile_set[84]):
        assert set(np.unique(tile.read_mask())) == {0, 1}
    assert len(set(tile_set.groups)) == 15
    folds = group_folds(tile_set.groups, 5, seed=0)
    assert all(15 <= len(test) <= 19 for _, test in folds)
    for train, test in folds:
        assert not set(tile_set.groups[train]) & set(tile_set.groups[test])


@pytest.mark.real_data
def test_ocdc_and_oscc(data_root: Path) -> None:
    ocdc = load_tiles("ocdc", data_root)
    assert len(ocdc) == 10
    assert set(np.unique(np.concatenate([tile.read_mask() for tile in ocdc]))) == {0, 1}
    assert set(ocdc.groups) == {"1009009"}
    with pytest.raises(TileError, match="number of groups, 1"):
        group_folds(ocdc.groups, 2)
    oscc = load_tiles("oscc", data_root)
    assert len(oscc) == 22
    assert oscc[0].mask_path is None
