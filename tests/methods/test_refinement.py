"""Refinement learns from masks and looks away where they say 255."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from histolab_lite.methods.refinement import _random_crop, predict, train_segmenter
from histolab_lite.models.segmenters import LinkNet
from tests.methods.two_tissues import PerPixel, halves

SETTINGS = {"epochs": 2, "crop": 16, "crops_per_image": 2, "batch_size": 2, "device": "cpu", "progress": None}


def rgb(mask: np.ndarray) -> np.ndarray:
    """An image that holds the class ids of its mask as grey."""
    return np.repeat(mask[..., None], 3, 2)


def test_a_trivial_tissue_is_learnt():
    images, masks = map(list, halves(4, 64))
    torch.manual_seed(0)
    model = LinkNet(2, 0.125)
    history = train_segmenter(model, images, masks, **(SETTINGS | {"epochs": 25, "crop": 48, "batch_size": 4}))
    assert history[-1] < 0.5 * history[0]
    assert np.mean([predict(model, x).argmax(0).numpy() == y for x, y in zip(images, masks, strict=True)]) > 0.9


def test_ignored_pixels_teach_nothing():
    images, masks = halves(2, 24)
    other = images.copy()
    other[:, :, :12] = 0
    masks[:, :, :12] = 255
    a, b, c = PerPixel(), PerPixel(), PerPixel()
    first = train_segmenter(a, list(images), list(masks), **SETTINGS)
    assert train_segmenter(b, list(other), list(masks), **SETTINGS) == pytest.approx(first, abs=1e-6)
    torch.testing.assert_close(a.network.weight, b.network.weight)
    everything = list(np.where(masks == 255, 1, masks).astype(np.uint8))
    assert train_segmenter(c, list(other), everything, **SETTINGS) != pytest.approx(first, abs=1e-3)
    nothing = list(np.full_like(masks, 255))
    assert train_segmenter(PerPixel(), list(images), nothing, **SETTINGS) == [0, 0]


@settings(max_examples=30, deadline=None)
@given(h=st.integers(1, 12), w=st.integers(1, 12), size=st.integers(1, 10), seed=st.integers(0, 100))
def test_a_crop_keeps_image_and_mask_together_and_pads_with_ignored_white(h, w, size, seed):
    mask = np.arange(h * w, dtype=np.uint8).reshape(h, w)
    torch.manual_seed(seed)
    x, y = _random_crop(rgb(mask), mask, size)
    assert x.shape == (size, size, 3)
    assert y.shape == (size, size)
    kept = y != 255
    assert int(kept.sum()) == min(h, size) * min(w, size)
    assert len(y[kept].unique()) == int(kept.sum())
    assert torch.equal(x[kept], y[kept][:, None].expand(-1, 3))
    assert (x[~kept] == 255).all()


def test_all_places_and_the_eight_orientations_occur():
    mask = np.arange(9, dtype=np.uint8).reshape(3, 3)
    torch.manual_seed(0)
    crops = {tuple(_random_crop(rgb(mask), mask, 2)[1].flatten().tolist()) for _ in range(400)}
    assert len(crops) == 4 * 8


def test_a_rare_class_is_cropped_as_often_as_a_common_one():
    mask = np.zeros((200, 200), np.uint8)
    mask[:, :10] = 255
    mask[150:170, 100:120] = 1  # one pixel in a hundred
    torch.manual_seed(0)
    crops = [_random_crop(rgb(mask), mask, 9)[1] for _ in range(400)]
    assert 0.4 < np.mean([(y == 1).any().item() for y in crops]) < 0.6


def test_images_smaller_than_the_crop_are_enough():
    images, masks = halves(2, 10)
    history = train_segmenter(PerPixel(), list(images), list(masks), **(SETTINGS | {"epochs": 30, "lr": 0.05}))
    assert history[-1] < 0.5 * history[0]


def test_prediction_is_a_distribution_at_every_pixel_of_any_view():
    image = halves(1, 21)[0][0][:, :13]
    model = PerPixel().train()
    probabilities = predict(model, image)
    assert probabilities.shape == (2, 21, 13)
    assert probabilities.dtype == torch.float32
    expected = model(torch.from_numpy(image / np.float32(255)).permute(2, 0, 1)[None])[0].softmax(0)
    torch.testing.assert_close(probabilities, expected.detach())
    assert not model.training
    torch.testing.assert_close(predict(model, image[::-1]), probabilities.flip(1))


IMAGE = np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        ([], [], "one mask per image"),
        ([IMAGE], [], "1 images and 0 masks"),
        ([IMAGE], [IMAGE[:3, :, 0]], r"image 0 is \(4, 4\) but its mask is"),
        ([IMAGE], [IMAGE[..., 0] + 2], "mask 0 holds class 2"),
    ],
)
def test_bad_input_is_refused(images, masks, message):
    with pytest.raises(ValueError, match=message):
        train_segmenter(PerPixel(), images, masks, **SETTINGS)
