"""Activation maps and pseudo masks against autograd class by class, ties, white, odd sizes, tags that are missing."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from histolab_lite.methods.mlps import Classifier, activation_maps, pseudo_masks
from histolab_lite.methods.mlps.activation import LAYERS
from tests.methods.small_classifier import classifier

CLASSES = 4
TAGS = torch.tensor([[1, 0, 1, 1], [0, 0, 0, 1], [1, 1, 1, 1]])


@pytest.fixture(scope="module")
def model() -> Classifier:
    return classifier(CLASSES, 2 / 64)


def smooth(height: int = 40, width: int = 56) -> torch.Tensor:
    noise = torch.rand(3, 3, height // 8 + 1, width // 8 + 1, generator=torch.Generator().manual_seed(0))
    return F.interpolate(noise, (height, width), mode="bilinear")


IMAGES = smooth()


def with_head(model: Classifier, weights: torch.Tensor) -> Classifier:
    """The same trunk under a head of these weights."""
    other = Classifier(CLASSES, model.trunk).eval()
    with torch.no_grad():
        other.head.weight.copy_(weights.expand_as(other.head.weight))
    return other


def by_autograd(model: Classifier, image: torch.Tensor, k: int, layer: str, method: str) -> torch.Tensor:
    """One map (h, w) of one image, one class and one layer: a forward and a backward pass of its own, then loops."""
    m = model.trunk(image[None], {layer, "bn7"}, graph_from=layer)
    a, last = m[layer], m["bn7"]
    logit = model.head(last.mean((2, 3)))[0, k]
    (g,) = torch.autograd.grad(logit, a)
    a, g = a.detach()[0].double(), g[0].double()
    total = torch.zeros(a.shape[1:], dtype=torch.float64)
    for c in range(len(a)):
        if method == "cam":
            weight = model.head.weight[k, c].item()
        elif method == "grad-cam":
            weight = g[c].sum() / g[c].numel()
        else:
            weight = 0.0
            for value in g[c].flatten().tolist():
                if value > 0:
                    weight += value**2 / (2 * value**2 + value**3 * max(a[c].sum().item(), 0)) * value
        total += weight * a[c]
    return total.clamp(min=0).float()


def loop(model, images, layer, normalise) -> tuple[torch.Tensor, torch.Tensor]:
    """The mask of one layer, pixel by pixel, and where the decision is clear."""
    ids, clear = [], []
    for image, row in zip(images, TAGS, strict=True):
        maps = {}
        for k in row.nonzero().flatten().tolist():
            low = by_autograd(model, image, k, layer, "grad-cam")
            maps[k] = F.interpolate(low[None, None], image.shape[1:], mode="bilinear")[0, 0]
        shared = torch.stack(list(maps.values()))
        for k, full in maps.items():
            among = full if normalise == "class" else shared
            span = among.max() - among.min()
            maps[k] = (full - among.min()) / (span if span > 0 else 1)
        stacked = torch.stack([maps.get(k, torch.full(image.shape[1:], -1.0)) for k in range(CLASSES)])
        best = stacked.topk(2, 0).values
        ids.append(stacked.argmax(0))
        clear.append(best[0] - best[1] > 1e-4)
    return torch.stack(ids), torch.stack(clear)


@pytest.mark.parametrize("method", ["grad-cam", "grad-cam++"])
def test_maps_equal_autograd_class_by_class(model, method):
    maps = activation_maps(model, IMAGES, TAGS, method=method)
    assert list(maps) == list(LAYERS)
    for layer in LAYERS:
        for b, k in np.ndindex(3, CLASSES):
            expected = by_autograd(model, IMAGES[b], k, layer, method) * TAGS[b, k]
            close = torch.allclose(maps[layer][b, k], expected, rtol=1e-3, atol=1e-4 * float(expected.max()) + 1e-12)
            assert close, (layer, b, k)
        assert (maps[layer].amax((2, 3)) > 0).sum() >= 5  # most tagged maps are not empty


def test_cam_is_the_head_on_the_last_map(model):
    cam = activation_maps(model, IMAGES, TAGS, ["bn7"], "cam")["bn7"]
    torch.testing.assert_close(cam[2, 1], by_autograd(model, IMAGES[2], 1, "bn7", "cam"), rtol=1e-3, atol=1e-4)
    grad = activation_maps(model, IMAGES, TAGS, ["bn7"])["bn7"]
    torch.testing.assert_close(cam / (5 * 7), grad)  # they differ by the number of pixels


@pytest.mark.parametrize("normalise", ["class", "image"])
@pytest.mark.parametrize("size", [(40, 56), (33, 17)])
def test_masks_equal_the_slow_loop(model, size, normalise):
    images = smooth(*size)
    masks = pseudo_masks(model, images, TAGS, normalise=normalise)
    for layer in LAYERS:
        ids, clear = loop(model, images, layer, normalise)
        assert masks[layer].shape == ids.shape
        assert masks[layer].dtype == torch.uint8
        assert (masks[layer] == ids)[clear].all()
        assert clear.float().mean() > 0.5
        assert set(masks[layer][1].unique().tolist()) == {3}  # its only tag


def test_a_map_that_is_nowhere_zero_is_stretched_to_its_minimum(model):
    sure = with_head(model, model.head.weight.abs())
    maps = activation_maps(sure, IMAGES, TAGS, ["bn7"])["bn7"]
    assert (maps.amin((2, 3))[TAGS.bool()] > 0).all()
    ids, clear = loop(sure, IMAGES, "bn7", "class")
    assert (pseudo_masks(sure, IMAGES, TAGS, ["bn7"])["bn7"] == ids)[clear].all()


def test_every_image_goes_forward_once_and_back_once_per_tissue(model):
    forward, back = [], []
    hooks = [
        model.trunk.register_forward_pre_hook(lambda _, inputs: forward.append(len(inputs[0]))),
        model.trunk.b6.register_full_backward_hook(lambda _, inner, outer: back.append(len(outer[0]))),
    ]
    pseudo_masks(model, IMAGES, TAGS)
    pseudo_masks(model, IMAGES, TAGS, ["bn7"])  # a linear head needs no way back
    for hook in hooks:
        hook.remove()
    assert (sum(forward), sum(back)) == (3 + 3, TAGS.sum())


def test_an_image_is_the_same_in_any_batch_and_place(model):
    images, tags = IMAGES[[2, 0, 1, 0]], TAGS[[2, 0, 1, 0]].clone()
    tags[3] = 0  # no tissue: no map
    together = activation_maps(model, images, tags)
    for i in range(len(images)):
        alone = activation_maps(model, images[i : i + 1], tags[i : i + 1])
        for layer, maps in together.items():
            torch.testing.assert_close(maps[i : i + 1], alone[layer], rtol=1e-4, atol=1e-6)
    assert all((maps[3] == 0).all() and (maps[0] > 0).any() for maps in together.values())
    assert all(maps.shape[:2] == (0, CLASSES) for maps in activation_maps(model, images[:0], tags[:0]).values())


def test_of_equal_maps_the_first_class_wins(model):
    twins = with_head(model, model.head.weight[:1])
    for layer, mask in pseudo_masks(twins, torch.full_like(IMAGES, 0.5), torch.tensor([[0, 1, 1, 0]] * 3)).items():
        assert (mask == 1).all(), layer
    nowhere_active = with_head(model, torch.tensor(-1.0))
    assert (pseudo_masks(nowhere_active, IMAGES, torch.tensor([[0, 0, 1, 1]] * 3))["bn7"] == 2).all()


def test_white_is_a_class_of_its_own(model):
    images = IMAGES.clone()
    images[:, :, :9, 5:8] = torch.tensor([0.95, 0.9, 0.92])[None, :, None, None]
    images[0, 2, 0, 5] = 0.89  # not white in blue
    plain, masks = (pseudo_masks(model, images, TAGS, white=white) for white in (None, 0.9))
    glass = (images >= 0.9).all(1)
    assert glass[1:, :9, 5:8].all()
    assert not glass[0, 0, 5]
    for layer in LAYERS:
        assert torch.equal(masks[layer] == CLASSES, glass)
        assert torch.equal(masks[layer][~glass], plain[layer][~glass])


def test_any_strides_and_any_mode_of_autograd(model):
    expected = pseudo_masks(model, IMAGES, TAGS)
    turned = IMAGES.transpose(2, 3).contiguous().transpose(2, 3)
    with torch.inference_mode():
        inferred = pseudo_masks(model, turned.clone(), TAGS.numpy())
    model.train()
    with torch.no_grad():
        again = pseudo_masks(model, turned, TAGS.bool())
    for layer in LAYERS:
        assert (inferred[layer] == expected[layer]).float().mean() > 0.999
        assert (again[layer] == expected[layer]).float().mean() > 0.999
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"tags": TAGS * torch.tensor([[1], [0], [1]])}, r"images \[1\] have no tag"),
        ({"tags": TAGS[:, :3]}, "3 images and 4 classes"),
        ({"tags": TAGS * 0.5}, "a tag is 0"),
        ({"method": "cam"}, "CAM needs"),
        ({"layers": ["b9"]}, "no map"),
        ({"method": "score-cam"}, "method"),
        ({"normalise": "none"}, "normalise"),
        ({"white": 255.0}, "white"),
        ({"white": 0.0}, "white"),
    ],
)
def test_bad_input_is_refused(model, changes, word):
    with pytest.raises(ValueError, match=word):
        pseudo_masks(model, IMAGES, **({"tags": TAGS} | changes))
