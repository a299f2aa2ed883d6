"""Activation maps and pseudo masks against autograd class by class, ties, white, odd sizes, tags that are missing."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from histolab_lite.methods.mlps import Classifier, activation_maps, pseudo_masks
from histolab_lite.methods.mlps.activation import LAYERS
from tests.methods.small_classifier import classifier

CLASSES = 4
TAGS = torch.tensor([[1, 0, 1, 1], [0, 0, 0, 1], [1, 1, 1, 1]])


@pytest.fixture(scope="module")
def model() -> Classifier:
    return classifier(CLASSES, 2 / 64)


def pictures(height: int = 40, width: int = 56, n: int = 3, seed: int = 0) -> torch.Tensor:
    noise = torch.rand(n, 3, height // 8 + 1, width // 8 + 1, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, (height, width), mode="bilinear")


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


def loop(model, images, tags, layer, method, normalise) -> tuple[torch.Tensor, torch.Tensor]:
    """The mask of one layer, pixel by pixel, and how clear each decision is."""
    ids, margins = [], []
    for image, row in zip(images, tags, strict=True):
        maps = {}
        for k in row.nonzero().flatten().tolist():
            low = by_autograd(model, image, k, layer, method)
            maps[k] = F.interpolate(low[None, None], image.shape[1:], mode="bilinear")[0, 0]
        shared = torch.stack(list(maps.values()))
        for k, full in maps.items():
            among = full if normalise == "class" else shared
            span = among.max() - among.min()
            maps[k] = (full - among.min()) / (span if span > 0 else 1)
        stacked = torch.stack([maps.get(k, torch.full(image.shape[1:], -1.0)) for k in range(CLASSES)])
        best = stacked.topk(2, 0).values
        ids.append(stacked.argmax(0))
        margins.append(best[0] - best[1])
    return torch.stack(ids), torch.stack(margins)


@pytest.mark.parametrize("method", ["grad-cam", "grad-cam++"])
def test_maps_equal_autograd_class_by_class(model, method):
    images = pictures()
    maps = activation_maps(model, images, TAGS, method=method)
    assert list(maps) == list(LAYERS)
    for layer in LAYERS:
        for b, k in np.ndindex(3, CLASSES):
            expected = by_autograd(model, images[b], k, layer, method)
            if not TAGS[b, k]:
                expected = torch.zeros_like(expected)
            close = torch.allclose(maps[layer][b, k], expected, rtol=1e-3, atol=1e-4 * float(expected.max()) + 1e-12)
            assert close, (layer, b, k)
        assert (maps[layer].amax((2, 3)) > 0).sum() >= 5  # most tagged maps are not empty


def test_cam_is_the_head_on_the_last_map(model):
    images = pictures()
    cam = activation_maps(model, images, TAGS, ["bn7"], "cam")["bn7"]
    torch.testing.assert_close(cam[2, 1], by_autograd(model, images[2], 1, "bn7", "cam"), rtol=1e-3, atol=1e-4)
    grad = activation_maps(model, images, TAGS, ["bn7"])["bn7"]
    torch.testing.assert_close(cam / (5 * 7), grad)  # they differ by the number of pixels


@pytest.mark.parametrize("normalise", ["class", "image"])
@pytest.mark.parametrize(("height", "width"), [(40, 56), (33, 17)])
def test_masks_equal_the_slow_loop(model, height, width, normalise):
    images = pictures(height, width)
    masks = pseudo_masks(model, images, TAGS, normalise=normalise)
    for layer in LAYERS:
        ids, margins = loop(model, images, TAGS, layer, "grad-cam", normalise)
        clear = margins > 1e-4
        assert masks[layer].shape == ids.shape
        assert masks[layer].dtype == torch.uint8
        assert (masks[layer] == ids)[clear].all()
        assert clear.float().mean() > 0.5
        assert set(masks[layer][1].unique().tolist()) == {3}  # its only tag


def test_a_map_that_is_nowhere_zero_is_stretched_to_its_minimum(model):
    sure = Classifier(CLASSES, model.trunk).eval()
    with torch.no_grad():
        sure.head.weight.copy_(model.head.weight.abs())
    images = pictures()
    maps = activation_maps(sure, images, TAGS, ["bn7"])["bn7"]
    assert (maps.amin((2, 3))[TAGS.bool()] > 0).all()
    ids, margins = loop(sure, images, TAGS, "bn7", "grad-cam", "class")
    clear = margins > 1e-4
    assert (pseudo_masks(sure, images, TAGS, ["bn7"])["bn7"] == ids)[clear].all()


def test_every_image_goes_forward_once_and_back_once_a_tissue(model, monkeypatch):
    seen = {"forward": 0, "back": 0}
    forward, grad = model.trunk.forward, torch.autograd.grad

    def counted_forward(images, *args, **kwargs):
        seen["forward"] += len(images)
        return forward(images, *args, **kwargs)

    def counted_grad(score, maps, **kwargs):
        seen["back"] += len(maps[0])
        return grad(score, maps, **kwargs)

    monkeypatch.setattr(model.trunk, "forward", counted_forward)
    monkeypatch.setattr(torch.autograd, "grad", counted_grad)
    images = pictures()
    pseudo_masks(model, images, TAGS)
    assert seen == {"forward": len(images), "back": int(TAGS.sum())}
    pseudo_masks(model, images, TAGS, ["bn7"])
    assert seen == {"forward": 2 * len(images), "back": int(TAGS.sum())}  # a linear head needs none


def test_an_image_is_the_same_in_any_batch_and_place(model):
    images, tags = pictures()[[2, 0, 1, 0]], TAGS[[2, 0, 1, 0]].clone()
    tags[3] = 0  # no tissue: no map
    together = activation_maps(model, images, tags)
    for i in range(len(images)):
        alone = activation_maps(model, images[i : i + 1], tags[i : i + 1])
        for layer, maps in together.items():
            torch.testing.assert_close(maps[i : i + 1], alone[layer], rtol=1e-4, atol=1e-6)
    assert all((maps[3] == 0).all() and (maps[0] > 0).any() for maps in together.values())
    assert all(maps.shape[:2] == (0, CLASSES) for maps in activation_maps(model, images[:0], tags[:0]).values())


def test_of_equal_maps_the_first_class_wins(model):
    flat = torch.full((3, 3, 40, 56), 0.5)
    twins = Classifier(CLASSES, model.trunk).eval()
    with torch.no_grad():
        twins.head.weight.copy_(model.head.weight[:1].expand(CLASSES, -1))
    for layer, mask in pseudo_masks(twins, flat, torch.tensor([[0, 1, 1, 0]] * 3)).items():
        assert (mask == 1).all(), layer
    with torch.no_grad():
        twins.head.weight.fill_(-1)  # no class is active anywhere
    assert (pseudo_masks(twins, flat, torch.tensor([[0, 0, 1, 1]] * 3))["bn7"] == 2).all()


def test_white_is_a_class_of_its_own(model):
    images = pictures()
    images[:, :, :9, 5:8] = torch.tensor([0.95, 0.9, 0.92])[None, :, None, None]
    images[0, 2, 0, 5] = 0.89  # not white in blue
    plain, masks = (pseudo_masks(model, images, TAGS, white=white) for white in (None, 0.9))
    glass = torch.zeros(3, 40, 56, dtype=torch.bool)
    glass[:, :9, 5:8] = True
    glass[0, 0, 5] = False
    glass |= (images >= 0.9).all(1)
    for layer in LAYERS:
        assert torch.equal(masks[layer] == CLASSES, glass)
        assert torch.equal(masks[layer][~glass], plain[layer][~glass])


def test_an_image_without_a_tag_and_other_nonsense_is_refused(model):
    images = pictures()
    with pytest.raises(ValueError, match=r"images \[1\] have no tag"):
        pseudo_masks(model, images, TAGS * torch.tensor([[1], [0], [1]]))
    with pytest.raises(ValueError, match="3 images and 4 classes"):
        pseudo_masks(model, images, TAGS[:, :3])
    with pytest.raises(ValueError, match="a tag is 0"):
        pseudo_masks(model, images, TAGS * 0.5)
    with pytest.raises(ValueError, match="CAM needs"):
        pseudo_masks(model, images, TAGS, method="cam")
    with pytest.raises(ValueError, match="no map"):
        pseudo_masks(model, images, TAGS, ["b9"])
    for wrong in ({"method": "score-cam"}, {"normalise": "none"}, {"white": 255.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            pseudo_masks(model, images, TAGS, **wrong)


def test_any_strides_and_any_mode_of_autograd(model):
    images = pictures()
    expected = pseudo_masks(model, images, TAGS)
    turned = images.transpose(2, 3).contiguous().transpose(2, 3)
    with torch.inference_mode():
        inferred = pseudo_masks(model, turned.clone(), TAGS.numpy())
    model.train()
    with torch.no_grad():
        again = pseudo_masks(model, turned, TAGS.bool())
    for layer in LAYERS:
        assert (inferred[layer] == expected[layer]).float().mean() > 0.999
        assert (again[layer] == expected[layer]).float().mean() > 0.999
    assert all(p.grad is None for p in model.parameters())


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.lists(st.booleans(), min_size=4, max_size=4).filter(any), min_size=1, max_size=4), st.integers(0, 99)
)
def test_a_mask_holds_tagged_classes_only_and_a_batch_is_its_images(tags, seed):
    torch.manual_seed(0)
    model, tags = Classifier(CLASSES, 1 / 64).eval(), torch.tensor(tags)
    images = pictures(16, 24, len(tags), seed)
    masks = pseudo_masks(model, images, tags)
    for layer in LAYERS:
        assert all(tags[b, k] for b in range(len(tags)) for k in masks[layer][b].unique().tolist())
    alone = activation_maps(model, images[-1:], tags[-1:])
    together = activation_maps(model, images, tags)
    for layer in LAYERS:
        scale = float(alone[layer].max())
        torch.testing.assert_close(together[layer][-1:], alone[layer], rtol=1e-3, atol=1e-4 * scale + 1e-12)
