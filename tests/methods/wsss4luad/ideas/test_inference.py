"""Scales, mirrors and ensembles: the mean they are, by hand, and what they leave as it is."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from histolab_lite.methods.wsss4luad.ideas.inference import ensemble, multi_scale, segment
from tests.methods.refused import refused


def images(height: int, width: int) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def pixelwise(image: torch.Tensor) -> torch.Tensor:
    """Each pixel from its own colour."""
    return (4 * image).softmax(1)


def leaning(image: torch.Tensor) -> torch.Tensor:
    """A prediction that depends on where left and top are: not the same for a mirrored image."""
    kernel = torch.arange(3 * 3 * 3 * 4.0).reshape(4, 3, 3, 3).sin()
    return F.conv2d(image, kernel, padding=1).softmax(1)


def remembering(predict, seen: list[torch.Tensor]):
    return lambda image: seen.append(image) or predict(image)


def sizes_of(seen: list[torch.Tensor]) -> list[tuple[int, ...]]:
    return [tuple(image.shape[2:]) for image in seen]


@pytest.mark.parametrize("flips", [True, False])
@pytest.mark.parametrize(("height", "width", "scales"), [(11, 7, (0.5, 1.0, 2.0)), (1, 9, (0.1, 1.3)), (6, 6, (1,))])
def test_the_mean_over_scales_and_mirrors_is_that_of_a_loop(height, width, scales, flips):
    image = images(height, width).requires_grad_()
    mirrors = [[], [2], [3], [2, 3]] if flips else [[]]
    predictions, sizes = [], []
    for scale in scales:
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        sizes += [size] * len(mirrors)
        scaled = F.interpolate(image, size, mode="bilinear") if size != (height, width) else image
        for mirror in mirrors:
            answer = leaning(scaled.flip(mirror)).flip(mirror)
            predictions.append(F.interpolate(answer, (height, width), mode="bilinear"))
    seen = []
    found = multi_scale(remembering(leaning, seen), image, scales, flips)
    torch.testing.assert_close(found, (sum(predictions) / len(predictions)).detach())
    assert sorted(sizes_of(seen)) == sorted(sizes)
    assert not found.requires_grad


def test_an_ensemble_is_the_mean_of_its_members_in_float32():
    image, members = images(5, 6), [pixelwise, lambda x: x.softmax(1), lambda x: (-x).softmax(1)]
    mean = (pixelwise(image) + image.softmax(1) + (-image).softmax(1)) / 3
    predict = ensemble(members)
    members.clear()
    torch.testing.assert_close(predict(image), mean)
    half = multi_scale(lambda x: predict(x).bfloat16(), image, [1.0])
    torch.testing.assert_close(half, mean, atol=5e-3, rtol=0)  # and of the same dtype


def test_an_image_is_seen_at_the_scale_of_the_patches_and_segmented_at_its_own():
    image = np.zeros((21, 40, 3), np.uint8)
    image[:, :20, 0], image[:, 20:, 2] = 200, 200
    seen = []
    predict = remembering(pixelwise, seen)
    found = segment(predict, image, 0.5)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.where(np.arange(40) < 20, 0, 2)[None].repeat(21, 0))
    segment(predict, image, 0.5, scales=(1.0, 2.0), flips=True)
    assert sizes_of(seen) == [(10, 20)] + [(10, 20)] * 4 + [(20, 40)] * 4


def test_fine_stripes_are_averaged_when_an_image_shrinks():
    stripes = (np.arange(64) % 2 * 255).astype(np.uint8)[None, :, None].repeat(64, 0).repeat(3, 2)
    seen = []
    segment(remembering(pixelwise, seen), stripes, 0.25)
    assert (seen[0][..., 4:-4, 4:-4] - 0.5).abs().max() < 0.05


def test_bad_input_is_refused():
    x, image = images(6, 6), np.zeros((4, 4, 3), np.uint8)
    refused("expected an image", lambda x: multi_scale(pixelwise, x), x[0], x[:, :2], (255 * x).byte(), x[:0])
    refused("scale", lambda scales: multi_scale(pixelwise, x, scales), (), (0.0, 1.0), (math.nan,), (math.inf,))
    refused(r"predict gave \(2, 3, 3, 3\).*at scale 1", lambda: multi_scale(lambda x: x[..., ::2, ::2], x, [1.0]))
    refused(r"predict gave \(1, 3, 6, 6\)", lambda: multi_scale(lambda x: x[:1], x, [1.0]))
    refused("logits", lambda shift: multi_scale(lambda x: x + shift, x), -0.5, 0.5, math.nan)
    refused("at least one network", lambda: ensemble([]))
    refused("same shape", lambda: ensemble([pixelwise, lambda x: x[:, :2]])(x))
    refused("factor", lambda factor: segment(pixelwise, image, factor), 0, math.inf, math.nan)
    refused("expected an image", lambda image: segment(pixelwise, image), image / 255, image[..., :2], image[:0])
