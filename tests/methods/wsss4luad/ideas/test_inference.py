"""Scales, mirrors and ensembles: what they leave as it is, what they make even, and the mean they are, by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from histolab_lite.methods.wsss4luad.ideas.inference import ensemble, multi_scale, segment


def pictures(height: int, width: int, b: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.rand(b, 3, height, width, generator=torch.Generator().manual_seed(seed))


def pixelwise(image: torch.Tensor) -> torch.Tensor:
    """Each pixel from its own colour."""
    return (4 * image).softmax(1)


def leaning(image: torch.Tensor) -> torch.Tensor:
    """An answer that depends on where left and top are: not the same for a mirrored image."""
    kernel = torch.arange(3 * 3 * 3 * 4.0).reshape(4, 3, 3, 3).sin()
    return F.conv2d(image, kernel, padding=1).softmax(1)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 5), (1, 9)])
def test_one_scale_leaves_a_pixelwise_answer_as_it_is(height, width):
    image = pictures(height, width)
    for flips in (True, False):
        torch.testing.assert_close(multi_scale(pixelwise, image, (1.0,), flips), pixelwise(image))
    torch.testing.assert_close(multi_scale(leaning, image, [1], flips=False), leaning(image))


@settings(max_examples=30, deadline=None)
@given(
    size=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    scales=st.lists(st.sampled_from([0.1, 0.5, 0.75, 1.0, 1.25, 2.3]), min_size=1, max_size=3),
    axis=st.sampled_from([2, 3]),
)
def test_with_flips_a_mirrored_image_has_the_mirrored_answer(size, scales, axis):
    image = pictures(*size)
    answer = multi_scale(leaning, image, scales)
    assert answer.shape == (2, 4, *size)
    torch.testing.assert_close(answer.sum(1), torch.ones(2, *size))
    torch.testing.assert_close(multi_scale(leaning, image.flip(axis), scales), answer.flip(axis), atol=1e-5, rtol=1e-4)


def test_without_flips_it_has_not():
    image = pictures(9, 6)
    answer, mirrored = (multi_scale(leaning, x, flips=False) for x in (image, image.flip(3)))
    assert (answer.flip(3) - mirrored).abs().max() > 0.05


def test_the_mean_over_scales_and_mirrors_is_that_of_a_loop():
    image = pictures(11, 7)
    answers, seen = [], []
    for scale in (0.5, 1.0, 2.0):
        size = (round(11 * scale), round(7 * scale))
        seen += [size] * 4
        scaled = F.interpolate(image, size, mode="bilinear") if scale != 1 else image
        for mirror in ([], [2], [3], [2, 3]):
            answer = leaning(scaled.flip(mirror)).flip(mirror)
            answers.append(F.interpolate(answer, (11, 7), mode="bilinear"))
    asked = []

    def predict(x: torch.Tensor) -> torch.Tensor:
        asked.append(tuple(x.shape[2:]))
        return leaning(x)

    torch.testing.assert_close(multi_scale(predict, image, (0.5, 1.0, 2.0)), sum(answers) / 12)
    assert sorted(asked) == sorted(seen)


def test_a_flat_answer_stays_flat_at_any_scale():
    flat = torch.tensor([0.2, 0.8]).view(1, 2, 1, 1)
    answer = multi_scale(lambda x: flat.expand(len(x), 2, *x.shape[2:]), pictures(9, 5))
    torch.testing.assert_close(answer, flat.expand(2, 2, 9, 5))


def test_networks_are_asked_without_gradients_and_strides_do_not_matter():
    image = pictures(6, 8)
    net = torch.nn.Conv2d(3, 2, 1)
    answer = multi_scale(lambda x: net(x).softmax(1), image.requires_grad_())
    assert not answer.requires_grad
    turned = image.detach().transpose(2, 3).contiguous().transpose(2, 3)
    torch.testing.assert_close(multi_scale(lambda x: net(x).softmax(1), turned), answer)
    half = multi_scale(lambda x: net(x).softmax(1).bfloat16(), image)
    assert half.dtype == torch.float32


def test_an_ensemble_is_the_mean_and_can_be_asked_at_several_scales():
    image = pictures(5, 6)
    three = [pixelwise, lambda x: x.softmax(1), lambda x: (-x).softmax(1)]
    mean = (pixelwise(image) + image.softmax(1) + (-image).softmax(1)) / 3
    torch.testing.assert_close(ensemble(three)(image), mean)
    torch.testing.assert_close(multi_scale(ensemble(three), image, [1.0]), mean)
    torch.testing.assert_close(ensemble([pixelwise])(image), pixelwise(image))
    members = list(three)
    predict = ensemble(members)
    members.clear()
    torch.testing.assert_close(predict(image), mean)


def test_what_does_not_fit_is_refused():
    image = pictures(6, 6)
    for wrong in (image[0], image[:, :2], (255 * image).byte(), image[:0]):
        with pytest.raises(ValueError, match="expected an image"):
            multi_scale(pixelwise, wrong)
    for scales in ((), (0.0, 1.0), (math.nan,), (math.inf,)):
        with pytest.raises(ValueError, match="scales"):
            multi_scale(pixelwise, image, scales)
    with pytest.raises(ValueError, match=r"predict gave \(2, 3, 3, 3\).*at scale 1"):
        multi_scale(lambda x: x[..., ::2, ::2], image, [1.0])
    with pytest.raises(ValueError, match="Are they logits"):
        multi_scale(lambda x: 20 * x - 10, image)
    with pytest.raises(ValueError, match="Are they logits"):
        multi_scale(lambda x: x * math.nan, image)
    with pytest.raises(ValueError, match="one network at least"):
        ensemble([])
    with pytest.raises(ValueError, match="answers alike"):
        ensemble([pixelwise, lambda x: x[:, :2]])(image)


def test_a_picture_is_seen_at_the_scale_of_the_patches_and_answered_at_its_own():
    picture = np.zeros((21, 40, 3), np.uint8)
    picture[:, :20, 0], picture[:, 20:, 2] = 200, 200
    seen = []

    def predict(image):
        seen.append(tuple(image.shape))
        return pixelwise(image)

    found = segment(predict, picture, 0.5)
    assert seen == [(1, 3, 10, 20)]
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.where(np.arange(40) < 20, 0, 2)[None].repeat(21, 0))
    segment(predict, picture, 0.5, scales=(1.0, 2.0), flips=True)
    assert seen[1:] == [(1, 3, 10, 20)] * 4 + [(1, 3, 20, 40)] * 4


def test_fine_stripes_are_averaged_when_a_picture_shrinks():
    stripes = (np.arange(64) % 2 * 255).astype(np.uint8)[None, :, None].repeat(64, 0).repeat(3, 2)
    values = []

    def predict(image):
        values.append(image[..., 4:-4, 4:-4])
        return pixelwise(image)

    segment(predict, stripes, 0.25)
    torch.testing.assert_close(values[0], torch.full_like(values[0], 0.5), atol=0.05, rtol=0)


@pytest.mark.parametrize("factor", [0, -1, math.inf, math.nan])
def test_an_impossible_factor_or_picture_is_refused(factor):
    with pytest.raises(ValueError, match="factor"):
        segment(pixelwise, np.zeros((4, 4, 3), np.uint8), factor)
    with pytest.raises(ValueError, match="uint8"):
        segment(pixelwise, np.zeros((4, 4, 3)), 1.0)
