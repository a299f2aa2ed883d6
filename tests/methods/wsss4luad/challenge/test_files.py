"""Names, folders and masks of the challenge, read back."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from histolab_lite.formats.masks import mask_png
from histolab_lite.methods.wsss4luad import PALETTE, read_evaluation, read_training, resized
from histolab_lite.methods.wsss4luad.challenge.files import parse_name, training_name
from tests.methods.wsss4luad.challenge_folder import SIZES, save, write_dataset


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("436124-17928-30108-[1, 1, 0].png", ("436124", 17928, 30108, (1, 1, 0))),
        ("TCGA-55-8203-01Z-00-DX1-0-12-[0, 0, 1].png", ("TCGA-55-8203-01Z-00-DX1", 0, 12, (0, 0, 1))),
        ("a_b_3_4_[0 1 0].png", ("a_b", 3, 4, (0, 1, 0))),
        ("TCGA-A1+6+3+[101].png", ("TCGA-A1", 6, 3, (1, 0, 1))),
        ("7-12-13-1-2-[1,0,0].png", ("7-12-13", 1, 2, (1, 0, 0))),
    ],
)
def test_names_are_read(name, parts):
    assert parse_name(name) == parts


@given(
    st.from_regex(r"[A-Za-z0-9]+([-_][A-Za-z0-9]+){0,4}", fullmatch=True),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.sampled_from([(1, 1, 0), (0, 0, 1), (0, 1, 0), (1, 1, 1)]),
)
def test_every_slide_place_and_tag_survives_the_name(slide, x, y, tags):
    assert parse_name(training_name(slide, x, y, tags)) == (slide, x, y, tags)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("plain.png", "is not a name such as"),
        ("1-2-3-[1, 1, 0].jpg", "is not a name such as"),
        ("1-2-[1, 1, 0].png", "is not a name such as"),
        ("1-x-3-[1, 1, 0].png", "is not a name such as"),
        ("1-2-3-[1, 1, 0, 0].png", "4 tags"),
        ("1-2-3-[1, 1].png", "2 tags"),
        ("1-2-3-[0, 0, 0].png", "no tag that is 1"),
        ("1-2-3-[1, 2, 0].png", "does not end in tags"),
        ("1-2-3-[].png", "does not end in tags"),
    ],
)
def test_other_names_are_refused(name, reason):
    with pytest.raises(ValueError, match=reason):
        parse_name(name)


def test_training_patches_come_with_their_tags_and_pixels(tmp_path):
    patches = read_training(write_dataset(tmp_path))
    assert [patch.tags for patch in patches] == [(1, 1, 0), (0, 0, 1), (1, 0, 0)]
    assert [(patch.slide, patch.x, patch.y) for patch in patches][2] == ("TCGA-55-8203-01Z-00-DX1", 2, 7)
    for patch in patches:
        assert (patch.image() == np.asarray(Image.open(patch.path))).all()
        assert patch.image().shape == (150 + patch.x, 160, 3)


@pytest.mark.parametrize("split", ["validation", "testing"])
def test_pictures_come_in_the_order_of_their_numbers_with_white_left_out(tmp_path, split):
    root = write_dataset(tmp_path)
    for path in list((root / "2.validation").rglob("01.png")) + list((root / "3.testing").rglob("01.png")):
        path.rename(path.with_name("2.png"))
    pictures = read_evaluation(root, split)
    assert [picture.name for picture in pictures] == ["00", "2", "10"]
    for picture in pictures:
        stored = np.asarray(Image.open(picture.mask_path))
        assert picture.image().shape == (*SIZES[picture.name.replace("2", "01")], 3)
        assert (picture.background() == (stored == 3)).all()
        assert picture.mask().dtype == np.uint8
        assert (picture.mask() == np.where(stored == 3, 255, stored)).all()


@pytest.mark.parametrize("white", [1, 255])
def test_either_mask_makes_a_pixel_white(tmp_path, white):
    picture = read_evaluation(write_dataset(tmp_path), "testing")[0]
    mask = np.zeros(SIZES["00"], np.uint8)
    mask[0, 0] = 3
    picture.mask_path.write_bytes(mask_png(mask, PALETTE))
    other = np.zeros(SIZES["00"], np.uint8)
    other[0, 1] = white
    save(other, picture.background_path)
    assert picture.mask()[0, :3].tolist() == [255, 255, 0]
    assert (picture.mask()[1:] == 0).all()


def test_what_is_not_there_is_named(tmp_path):
    root = write_dataset(tmp_path)
    with pytest.raises(ValueError, match="split is one of validation, testing, not 'train'"):
        read_evaluation(root, "train")
    with pytest.raises(FileNotFoundError, match="no training patches in"):
        read_training(root / "nowhere")
    with pytest.raises(FileNotFoundError, match="no pictures in"):
        read_evaluation(root / "nowhere", "testing")
    (root / "3.testing/background-mask/01.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"01\.png has no mask at .*background-mask"):
        read_evaluation(root, "testing")


def test_a_bad_file_is_named_with_its_reason(tmp_path):
    root = write_dataset(tmp_path)
    patch, picture = read_training(root)[0], read_evaluation(root, "testing")[0]
    patch.path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"4361-0-7-\[1, 1, 0\]\.png: the file is empty"):
        patch.image()
    picture.mask_path.write_bytes(mask_png(np.zeros((3, 3), np.uint8), PALETTE))
    with pytest.raises(ValueError, match=r"\(3, 3\) pixels, its background mask \(200, 211\)"):
        picture.mask()
    patch.path.unlink()
    with pytest.raises(ValueError, match="there is no such file"):
        patch.image()


def test_pictures_of_all_sizes_become_one_array():
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((7, 9), (16, 16), (30, 5))]
    result = resized([images[0][::-1], images[1], images[2]], 16)
    assert result.shape == (3, 16, 16, 3)
    assert result.dtype == np.uint8
    assert (result[1] == images[1]).all()
    flat = resized([np.full((31, 9, 3), (3, 140, 250), np.uint8)], 8)
    assert (flat == (3, 140, 250)).all()
    ramp = np.repeat(np.linspace(0, 255, 40).astype(np.uint8)[:, None, None], 3, 2).repeat(20, 1)
    small = resized([ramp], 10)[0]
    assert (np.diff(small[:, 0, 0].astype(int)) > 0).all()  # rows stay rows
    assert (small == small[:, :1]).all()


def test_nonsense_is_not_resized():
    for images, size in (([], 4), ([np.zeros((4, 4, 3), np.uint8)], 0)):
        with pytest.raises(ValueError, match="expected pictures and a size"):
            resized(images, size)
    with pytest.raises(ValueError, match="number 1 is float64"):
        resized([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3))], 4)


def test_paths_may_be_strings(tmp_path):
    write_dataset(tmp_path)
    assert len(read_training(str(tmp_path))) == 3
    assert isinstance(read_evaluation(str(tmp_path), "testing")[0].image_path, Path)
