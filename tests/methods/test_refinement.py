"""Refinement learns from masks, looks away where they say 255, and does it again by seed."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from histolab_lite.methods.refinement import _random_crop, predict, train_segmenter
from histolab_lite.models.segmenters import LinkNet
from histolab_lite.training import Checkpoint

SETTINGS = {"epochs": 2, "crop": 16, "crops_per_image": 2, "batch_size": 2, "device": "cpu", "progress": None}


def halves(n: int = 4, size: int = 64) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A pink and a violet part, the border elsewhere in every image, with noise."""
    random = np.random.default_rng(0)
    images, masks = [], []
    for _ in range(n):
        mask = (np.arange(size)[:, None] + np.zeros(size) < random.integers(size // 4, 3 * size // 4)).astype(np.uint8)
        colours = np.array([[230, 170, 200], [140, 90, 170]])[mask]
        images.append((colours + random.normal(0, 8, colours.shape)).clip(0, 255).astype(np.uint8))
        masks.append(mask)
    return images, masks


class PerPixel(nn.Module):
    """A network that sees one pixel at a time, so that every gradient comes from a pixel of its own."""

    n_classes = 2

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Conv2d(3, 2, 1)

    def forward(self, x):
        return self.network(x * 2 - 1)


def per_pixel(seed: int = 0) -> PerPixel:
    torch.manual_seed(seed)
    return PerPixel()


def test_a_trivial_tissue_is_learnt():
    images, masks = halves()
    torch.manual_seed(0)
    model = LinkNet(2, 0.125)
    changes = {"epochs": 15, "crop": 64, "crops_per_image": 4, "batch_size": 4, "lr": 1e-2}
    history = train_segmenter(model, images, masks, **(SETTINGS | changes))
    assert history[-1] < 0.5 * history[0]
    guesses = [predict(model, image).argmax(0).numpy() for image in images]
    assert np.mean([guess == mask for guess, mask in zip(guesses, masks, strict=True)]) > 0.9


@pytest.mark.parametrize("changes", [{"crop": 8}, {"stain_strength": 0.0}])
def test_a_checkpoint_of_other_settings_is_refused(tmp_path, changes):
    images, masks = halves(2, 24)
    once = SETTINGS | {"checkpoint": Checkpoint(tmp_path / "run.pt")}
    train_segmenter(per_pixel(), images, masks, **once)
    with pytest.raises(ValueError, match=f"other settings \\({next(iter(changes))}:"):
        train_segmenter(per_pixel(), images, masks, **(once | changes))
    for other in ((images[::-1], masks), (images, masks[::-1])):
        with pytest.raises(ValueError, match=r"other settings \(data: [^;]*\)"):
            train_segmenter(per_pixel(), *other, **once)


def test_the_seed_decides():
    images, masks = halves(2, 24)
    runs = []
    for seed in (0, 0, 1):
        model = per_pixel()
        runs.append((train_segmenter(model, images, masks, seed=seed, **SETTINGS), model.network.weight))
    assert runs[0][0] == runs[1][0] != runs[2][0]
    assert torch.equal(runs[0][1], runs[1][1])


def test_ignored_pixels_teach_nothing():
    images, masks = halves(2, 24)
    other = [image.copy() for image in images]
    for mask, image in zip(masks, other, strict=True):
        mask[:, :12] = 255
        image[:, :12] = 0
    a, b, c = per_pixel(), per_pixel(), per_pixel()
    first = train_segmenter(a, images, masks, **SETTINGS)
    assert train_segmenter(b, other, masks, **SETTINGS) == pytest.approx(first, abs=1e-6)
    torch.testing.assert_close(a.network.weight, b.network.weight)
    everything = [np.where(mask == 255, 1, mask).astype(np.uint8) for mask in masks]
    assert train_segmenter(c, other, everything, **SETTINGS) != pytest.approx(first, abs=1e-3)


def test_a_mask_of_nothing_but_ignore_gives_no_loss():
    images, masks = halves(2, 24)
    history = train_segmenter(per_pixel(), images, [np.full_like(mask, 255) for mask in masks], **SETTINGS)
    assert history == [0, 0]


@settings(max_examples=30, deadline=None)
@given(h=st.integers(1, 12), w=st.integers(1, 12), size=st.integers(1, 10), seed=st.integers(0, 100))
def test_a_crop_keeps_image_and_mask_together_and_pads_with_ignored_white(h, w, size, seed):
    mask = np.arange(h * w, dtype=np.uint8).reshape(h, w)
    torch.manual_seed(seed)
    x, y = _random_crop(np.repeat(mask[..., None], 3, 2), mask, size)
    assert x.shape == (size, size, 3)
    assert y.shape == (size, size)
    kept = y != 255
    assert int(kept.sum()) == min(h, size) * min(w, size)
    assert len(y[kept].unique()) == int(kept.sum())
    assert torch.equal(x[kept], y[kept][:, None].expand(-1, 3))
    assert (x[~kept] == 255).all()


def test_all_places_and_the_eight_orientations_occur():
    mask = np.arange(9, dtype=np.uint8).reshape(3, 3)
    image = np.repeat(mask[..., None], 3, 2)
    torch.manual_seed(0)
    crops = {tuple(_random_crop(image, mask, 2)[1].flatten().tolist()) for _ in range(400)}
    assert len(crops) == 4 * 8


def test_a_rare_class_is_cropped_as_often_as_a_common_one():
    mask = np.zeros((200, 200), np.uint8)
    mask[:, :10] = 255
    mask[150:170, 100:120] = 1  # one pixel in a hundred
    image = np.repeat(mask[..., None], 3, 2)
    torch.manual_seed(0)
    crops = [_random_crop(image, mask, 9)[1] for _ in range(400)]
    assert 0.4 < np.mean([(y == 1).any().item() for y in crops]) < 0.6
    assert {(9, 9)} == {tuple(y.shape) for y in crops}


def test_images_smaller_than_the_crop_are_enough():
    images, masks = halves(2, 10)
    history = train_segmenter(per_pixel(), images, masks, **(SETTINGS | {"epochs": 30, "lr": 0.05}))
    assert history[-1] < 0.5 * history[0]


def test_prediction_is_a_distribution_at_every_pixel_of_any_view():
    image = halves(1, 21)[0][0][:, :13]
    model = per_pixel().train()
    probabilities = predict(model, image)
    assert probabilities.shape == (2, 21, 13)
    assert probabilities.dtype == torch.float32
    torch.testing.assert_close(probabilities.sum(0), torch.ones(21, 13))
    assert not model.training
    torch.testing.assert_close(predict(model, image[::-1]), probabilities.flip(1))


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        ([], [], "one mask an image"),
        ([np.zeros((4, 4, 3), np.uint8)], [], "1 images and 0 masks"),
        ([np.zeros((4, 4, 3), np.uint8)], [np.zeros((4, 5), np.uint8)], "image 0 is \\(4, 4\\) but its mask is"),
        ([np.zeros((4, 4, 3), np.uint8)], [np.full((4, 4), 2, np.uint8)], "mask 0 holds class 2"),
    ],
)
def test_images_and_masks_that_do_not_belong_together_are_refused(images, masks, message):
    with pytest.raises(ValueError, match=message):
        train_segmenter(per_pixel(), images, masks, **SETTINGS)
