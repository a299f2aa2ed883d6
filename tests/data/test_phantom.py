"""Phantom slides: exact, repeatable, readable by OpenSlide, and not to be told apart by colour."""

from __future__ import annotations

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from histolab_lite.data.patches import pure_patches
from histolab_lite.data.phantom import CLASS_NAMES, PALETTE, Phantom, phantom_patch, phantom_slide, write_slide
from histolab_lite.data.phantom.fields import scatter

PATCH = 32  # pixels, and micrometres
BLANK = Phantom(np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8), 0.5, 0)


@pytest.fixture(scope="module")
def cohort() -> list[Phantom]:
    return [phantom_slide(seed, 256, mpp=1.0) for seed in range(2, 9)]  # five to train on, two unseen


def mean_colours(slide: Phantom) -> tuple[np.ndarray, np.ndarray]:
    """Mean RGB (N, 3) and class (N,) of the pure tissue patches of a slide."""
    patches, labels, _ = pure_patches(slide.image, slide.mask, PATCH)
    return patches.mean((1, 2))[labels > 0], labels[labels > 0]


def colour_accuracy(train: list[Phantom], test: list[Phantom]) -> float:
    """Balanced accuracy of the best of two classifiers that see mean colour only, raw or as density."""
    x, y = map(np.concatenate, zip(*map(mean_colours, train), strict=True))
    u, v = map(np.concatenate, zip(*map(mean_colours, test), strict=True))
    scores = []
    for view in (np.asarray, lambda colour: -np.log((colour + 1) / 256)):
        for model in (KNeighborsClassifier(15), LogisticRegression(max_iter=2000, class_weight="balanced")):
            predicted = make_pipeline(StandardScaler(), model).fit(view(x), y).predict(view(u))
            scores.append(balanced_accuracy_score(v, predicted))
    return max(scores)


@pytest.mark.slow
def test_mean_colour_does_not_tell_the_tissues_of_unseen_slides_apart(cohort):
    assert set(np.concatenate([mean_colours(slide)[1] for slide in cohort[5:]])) == {1, 2, 3, 4, 5}
    assert colour_accuracy(cohort[:5], cohort[5:]) <= 0.65


def test_the_colour_test_would_notice_a_class_with_its_own_colour(cohort):
    tint = np.array([[0, 0, 0], [60, 0, 0], [0, 60, 0], [0, 0, 60], [60, 60, 0], [0, 60, 60]])
    dyed = [
        Phantom(slide.image // 2 + tint[slide.mask].astype(np.uint8), slide.mask, slide.mpp, slide.seed)
        for slide in cohort
    ]
    assert colour_accuracy(dyed[:5], dyed[5:]) > 0.85


def test_all_classes_occur_and_glass_is_the_brightest(cohort):
    shares = np.array([np.bincount(slide.mask.ravel(), minlength=6) / slide.mask.size for slide in cohort])
    assert shares.shape[1] == len(CLASS_NAMES) == len(PALETTE)  # no id beyond the six
    assert (shares.mean(0) > 0.03).all()
    assert ((shares > 0.01).sum(1) >= 4).all()
    for slide in cohort:
        assert slide.image.dtype == slide.mask.dtype == np.uint8
        if (slide.mask == 0).any():
            assert slide.image[slide.mask == 0].mean() > slide.image[slide.mask > 0].mean() + 25


def test_same_seed_same_bits_and_another_seed_another_slide():
    first, again, other = (phantom_slide(seed, (200, 260)) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.mask, again.mask)
    assert np.abs(first.image.astype(int) - other.image).mean() > 5


@settings(max_examples=4)
@given(st.integers(64, 200), st.integers(64, 200), st.sampled_from([0.25, 0.37, 1.0, 2.0]))
def test_any_size_and_scale_works(height, width, mpp):
    slide = phantom_slide(height * width, (height, width), mpp)
    assert slide.image.shape == (height, width, 3)
    assert slide.mask.shape == (height, width)
    assert slide.mask.max() < 6
    assert slide.mpp == mpp


def test_nuclei_keep_their_size_in_micrometres():
    def radius(mpp: float) -> float:
        """Correlation length, in µm, of the red channel of a crowd of lymphocytes."""
        red = phantom_patch(3, seed=5, size=int(128 / mpp), mpp=mpp)[..., 0].astype(float)
        power = np.abs(np.fft.fft2(red - red.mean())) ** 2
        curve = np.fft.ifft2(power).real[0, : red.shape[1] // 2]
        return float(np.argmax(curve < 0.5 * curve[0]) * mpp)

    assert radius(0.25) == pytest.approx(radius(0.5), abs=0.6)


def test_a_patch_of_each_class_is_repeatable_and_its_own():
    patches = [phantom_patch(k, seed=3, size=96) for k in range(6)]
    assert all(patch.shape == (96, 96, 3) and patch.dtype == np.uint8 for patch in patches)
    np.testing.assert_array_equal(patches[2], phantom_patch(2, seed=3, size=96))
    texture = [float(patch.std()) for patch in patches]
    assert texture[0] < 6 < min(texture[1:])


def test_rare_structures_can_be_left_out_and_be_many():
    none, usual, many = (phantom_slide(2, 256, mpp=1.0, rare=rare) for rare in (0.0, 1.0, 20.0))
    assert (none.image != usual.image).any()
    assert (many.mask == 0).sum() > (none.mask == 0).sum()  # fat and tears


def test_openslide_reads_what_is_written(tmp_path):
    slide = phantom_slide(2, (401, 517), mpp=0.37)
    path = write_slide(slide, tmp_path / "slide.tif")
    assert [p.name for p in tmp_path.iterdir()] == ["slide.tif"]  # no temporary left behind
    with openslide.OpenSlide(path) as file:
        assert file.dimensions == (517, 401)
        assert file.level_count >= 2
        assert float(file.properties[openslide.PROPERTY_NAME_MPP_X]) == pytest.approx(0.37, rel=1e-3)
        assert float(file.properties[openslide.PROPERTY_NAME_MPP_Y]) == pytest.approx(0.37, rel=1e-3)
        level0 = np.asarray(file.read_region((0, 0), 0, file.dimensions).convert("RGB")).astype(int)
    assert np.abs(level0 - slide.image).mean() < 4
    assert np.abs(level0.mean((0, 1)) - slide.image.mean((0, 1))).max() < 1
    with tifffile.TiffFile(path) as file:
        for page in file.pages:  # every level covers the same micrometres
            assert page.imagewidth * 1e4 / page.resolution[0] == pytest.approx(517 * 0.37, rel=1e-3)
            assert page.imagelength * 1e4 / page.resolution[1] == pytest.approx(401 * 0.37, rel=1e-3)
    again = write_slide(slide, tmp_path / "again.tif")
    assert again.read_bytes() == path.read_bytes()


def test_a_strip_is_written_with_all_its_levels(tmp_path):
    strip = Phantom(np.zeros((2000, 64, 3), np.uint8), np.zeros((2000, 64), np.uint8), 0.5, 0)
    with openslide.OpenSlide(write_slide(strip, tmp_path / "strip.tif", tile=16)) as file:
        assert file.dimensions == (64, 2000)
        assert file.level_count == 8


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, fill_disk):
    path = write_slide(BLANK, tmp_path / "slide.tif")
    before = path.read_bytes()
    fill_disk()
    with pytest.raises(OSError, match="slide.tif was not written"):
        write_slide(phantom_slide(2, 64), path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: phantom_slide(1, 63), "at least 64"),
        (lambda: phantom_slide(1, (64, 20)), "64 x 20"),
        *[(lambda mpp=mpp: phantom_slide(1, 128, mpp), f"mpp is {mpp}") for mpp in (0.0, -1.0, 2.1, np.nan)],
        (lambda: phantom_slide(-1, 128), "seed is -1"),
        (lambda: phantom_slide(1, 128, rare=-0.5), "rare is -0.5"),
        (lambda: phantom_patch(6, seed=1), "normal gland"),
        (lambda: write_slide(BLANK, "absent/slide.tif"), "no folder"),
        (lambda: write_slide(BLANK, "slide.tif", quality=0), "JPEG quality"),
        (lambda: write_slide(BLANK, "slide.tif", tile=100), "multiple of 16"),
        (lambda: write_slide(BLANK, "slide.tif", tile=0), "multiple of 16"),
    ],
)
def test_bad_arguments_say_what_to_give_instead(tmp_path, monkeypatch, make, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        make()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("crowding", [0.5, 4.0, 40.0])
@pytest.mark.parametrize("seed", range(4))
def test_points_agree_with_darts_thrown_one_by_one(seed, crowding):
    where, spacing, pixel = np.random.default_rng(seed).random((17, 29)) < 0.6, 5.0, 2.0
    points = scatter(np.random.default_rng(seed), where, spacing, pixel, crowding)

    rng = np.random.default_rng(seed)
    rows, cols = np.nonzero(where)
    darts = int(crowding * len(rows) * pixel**2 / spacing**2 + rng.random())
    cells, within = rng.integers(0, len(rows), darts), rng.random((darts, 2))
    standing = []
    for cell, (down, right) in zip(cells, within, strict=True):
        dart = np.array([rows[cell] + down, cols[cell] + right]) * pixel
        if all(np.linalg.norm(dart - other) > spacing for other in standing):
            standing.append(dart)
    assert 1 < len(standing) < darts
    np.testing.assert_array_equal(points, standing)
    assert scatter(rng, np.zeros((9, 9), bool), spacing, pixel).shape == (0, 2)
