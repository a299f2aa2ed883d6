"""Patches of an upload: cut where they lie, without glass, at most a hundred; and the phantom ones with their truth."""

import io

import numpy as np
import pytest
from PIL import Image

from demos.mlps import patch_sets as module
from demos.mlps.patch_sets import MOST_PATCHES, cut, sample_set
from demos.shared.uploads import Upload, UploadError
from histolab_lite.data import phantom

CLASSES = ("tumour", "stroma")


def upload(rgb: np.ndarray, digest: str = "d" * 64, note: str = "") -> Upload:
    return Upload(rgb, digest, 0.5, note)


def tissue(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(0).integers(-20, 20, (height, width, 1))
    return (np.array([190, 90, 160]) + noise).astype(np.uint8)


def test_patches_are_parts_of_the_image():
    rgb = tissue(250, 340)
    rgb[..., 0] = np.arange(250)[:, None] // 2 + np.arange(340) // 5 + 60  # no place like another
    patches = cut(upload(rgb, note="First of two."), CLASSES, 112)
    assert patches.corners == ((0, 0), (0, 112), (0, 224), (112, 0), (112, 112), (112, 224))
    assert (len(patches), patches.header.patches, patches.mpp, patches.note) == (6, 6, 0.5, "First of two.")
    for jpeg, (row, column) in zip(patches.jpegs, patches.corners, strict=True):
        shown = np.asarray(Image.open(io.BytesIO(jpeg))).astype(int)
        assert np.abs((shown - rgb[row : row + 112, column : column + 112])[..., 0].mean()) < 3
    assert patches.truth is None


def test_glass_is_left_out():
    rgb = np.full((112, 336, 3), 240, np.uint8)
    rgb[:, 112:224] = tissue(112, 112)
    assert cut(upload(rgb), CLASSES, 112).corners == ((0, 112),)


@pytest.mark.parametrize(
    ("rgb", "message"),
    [
        (np.full((112, 112, 3), 240, np.uint8), "shows tissue"),
        (tissue(300, 100), "100 × 300 pixels; a patch of 112 does not fit"),
        (tissue(111, 300), "does not fit"),
    ],
)
def test_an_image_without_patches_is_refused(rgb, message):
    with pytest.raises(UploadError, match=message):
        cut(upload(rgb), CLASSES, 112)


def test_at_most_a_hundred_are_evenly_spread(monkeypatch):
    monkeypatch.setattr(module, "tissue_mask", lambda patch: np.ones(patch.shape[:2], bool))
    patches = cut(upload(np.zeros((112 * 11, 112 * 12, 3), np.uint8)), CLASSES, 112)
    assert len(patches) == MOST_PATCHES == len(set(patches.corners))
    assert (patches.corners[0], patches.corners[-1]) == ((0, 0), (1120, 1232))
    assert "132 patches show tissue" in patches.note


def test_the_key_names_image_size_and_classes():
    rgb, first = tissue(224, 224), ("d", CLASSES, 112)
    others = ("e", CLASSES, 112), ("d", CLASSES, 224), ("d", CLASSES[::-1], 112)
    keys = [cut(upload(rgb, digest * 64), *rest).header.key for digest, *rest in (first, first, *others)]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4


def test_phantom_patches_agree_with_their_truth(monkeypatch):
    """Two small slides: what the page shows, what the networks read and the truth are of one place."""
    size = 56
    slides = [phantom.phantom_slide(seed, 4 * size, 0.5) for seed in (1, 2)]
    tiles = type("Tiles", (), {})()
    tiles.mpp = 0.5
    half = [np.asarray(Image.fromarray(s.image).resize((2 * size, 2 * size), Image.Resampling.BICUBIC)) for s in slides]
    tiles.read_images = lambda: [slide.image for slide in slides]
    tiles.read = lambda mpp: (half, [slide.mask[::2, ::2] for slide in slides])
    monkeypatch.setattr(module.phantoms, "bundled", lambda: tiles)
    monkeypatch.setattr(module, "SIZE", size)
    patches = sample_set()
    assert (patches.header.patches, patches.header.size, patches.mpp) == (8, 2 * size, 0.5)
    for number, (row, column) in enumerate(patches.corners):
        of = number % 2  # one slide after the other
        pixels, mask = half[of][row // 2 :, column // 2 :], slides[of].mask[row::2, column::2]
        np.testing.assert_array_equal(patches.pixels[number], pixels[:size, :size])
        np.testing.assert_array_equal(patches.truth[number], (mask[:size, :size].astype(int) - 1) % 6)
        shown = Image.open(io.BytesIO(patches.jpegs[number])).resize((size, size), Image.Resampling.BICUBIC)
        assert np.abs(np.asarray(shown).astype(int) - pixels[:size, :size]).mean() < 4
    assert set(patches.corners) == {(0, 0), (0, 2 * size), (2 * size, 0), (2 * size, 2 * size)}
