"""Names, folders and masks of the challenge, read back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from histolab_lite.formats.masks import mask_png
from histolab_lite.methods.wsss4luad import PALETTE, read_evaluation, read_training, resized
from histolab_lite.methods.wsss4luad.challenge.files import parse_name, training_name
from tests.methods.refused import refused
from tests.methods.wsss4luad.challenge_folder import SIZES, save, write_dataset


@pytest.fixture
def root(tmp_path):
    return write_dataset(tmp_path)


def test_names_are_read_with_any_of_three_separators():
    assert parse_name("436124-17928-30108-[1, 1, 0].png") == ("436124", 17928, 30108, (1, 1, 0))
    assert parse_name("a_b_3_4_[0 1 0].png") == ("a_b", 3, 4, (0, 1, 0))
    assert parse_name("TCGA-A1+6+3+[101].png") == ("TCGA-A1", 6, 3, (1, 0, 1))


@given(
    st.lists(st.text("AZaz09", min_size=1, max_size=4), min_size=1, max_size=5).map("-_".join),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.sampled_from([(1, 1, 0), (0, 0, 1), (0, 1, 0), (1, 1, 1)]),
)
def test_every_slide_place_and_tag_survives_the_name(slide, x, y, tags):
    assert parse_name(training_name(slide, x, y, tags)) == (slide, x, y, tags)


def test_training_patches_come_with_their_tags_and_pixels(root):
    patches = read_training(str(root))
    assert [patch.tags for patch in patches] == [(1, 1, 0), (0, 0, 1), (1, 0, 0)]
    assert (patches[2].slide, patches[2].x, patches[2].y) == ("TCGA-55-8203-01Z-00-DX1", 2, 7)
    for patch in patches:
        assert np.array_equal(patch.image(), np.asarray(Image.open(patch.path)))


@pytest.mark.parametrize("split", ["validation", "testing"])
def test_images_come_in_the_order_of_their_numbers_with_white_as_255(root, split):
    for path in list(root.rglob("01.png")):
        path.rename(path.with_name("2.png"))
    images = read_evaluation(str(root), split)
    assert [image.name for image in images] == ["00", "2", "10"]
    assert all(split in str(image.image_path) for image in images)
    for image in images:
        stored = np.asarray(Image.open(image.mask_path))
        assert image.image().shape == (*stored.shape, 3)
        assert np.array_equal(image.background(), stored == 3)
        assert image.mask().dtype == np.uint8
        assert np.array_equal(image.mask(), np.where(stored == 3, 255, stored))


def test_either_mask_makes_a_pixel_white(root):
    image = read_evaluation(root, "testing")[0]
    mask, other = np.zeros(SIZES["00"], np.uint8), np.zeros(SIZES["00"], np.uint8)
    mask[0, 0], other[0, 1] = 3, 255
    image.mask_path.write_bytes(mask_png(mask, PALETTE))
    save(other, image.background_path)
    assert image.mask()[0, :3].tolist() == [255, 255, 0]


def test_images_of_all_sizes_become_one_array():
    random = np.random.default_rng(0)
    square, flat = random.integers(0, 256, (16, 16, 3), dtype=np.uint8), np.full((7, 9, 3), (3, 140, 250), np.uint8)
    ramp = np.repeat(np.linspace(0, 255, 40).astype(np.uint8)[:, None, None], 3, 2).repeat(20, 1)
    result = resized([square, flat[::-1], ramp], 16)
    assert (result.shape, result.dtype) == ((3, 16, 16, 3), np.uint8)
    assert np.array_equal(result[0], square)
    assert (result[1] == (3, 140, 250)).all()
    assert (np.diff(result[2, :, 0, 0].astype(int)) > 0).all()  # rows stay rows
    assert (result[2] == result[2, :, :1]).all()


def test_bad_names_folders_and_files_are_refused(root):
    names = ("plain.png", "1-2-3-[1, 1, 0].jpg", "1-2-[1, 1, 0].png", "1-x-3-[1, 1, 0].png")
    refused("is not a name such as", parse_name, *names)
    refused("4 tags", lambda: parse_name("1-2-3-[1, 1, 0, 0].png"))
    refused("2 tags", lambda: parse_name("1-2-3-[1, 1].png"))
    refused("no tag that is 1", lambda: parse_name("1-2-3-[0, 0, 0].png"))
    refused("does not end in tags", lambda: parse_name("1-2-3-[1, 2, 0].png"))
    refused("split is one of validation, testing", lambda: read_evaluation(root, "train"))
    refused("no training patches in", lambda: read_training(root / "nowhere"))
    refused("no images in", lambda: read_evaluation(root / "nowhere", "testing"))
    pixels = np.zeros((4, 4, 3), np.uint8)
    refused("expected images and a size", lambda arguments: resized(*arguments), ([], 4), ([pixels], 0))
    refused("number 1 is float64", lambda: resized([pixels, pixels / 255], 4))
    patch, image = read_training(root)[0], read_evaluation(root, "testing")[0]
    patch.path.write_bytes(b"")
    refused(r"4361-0-7-\[1, 1, 0\]\.png: the file is empty", patch.image)
    image.mask_path.write_bytes(mask_png(np.zeros((3, 3), np.uint8), PALETTE))
    refused(r"\(3, 3\) pixels, its background mask \(200, 211\)", image.mask)
    image.background_path.unlink()
    refused(r"00\.png has no mask at .*background-mask", lambda: read_evaluation(root, "testing"))
