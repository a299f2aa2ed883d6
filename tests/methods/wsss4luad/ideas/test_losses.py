"""The losses against loops over pixels, their gradients, and what they do where nothing counts."""

import itertools
import math

import numpy as np
import pytest
import torch

from histolab_lite.data import IGNORE
from histolab_lite.methods.wsss4luad.ideas import losses
from histolab_lite.methods.wsss4luad.ideas.losses import easy_weights, hard_negative_loss, segmentation_loss
from tests.methods.refused import refused

MODES = [{}, {"easy": True}, {"hard": 0.3}, {"lovasz": 0.7}, {"easy": True, "lovasz": 1.0}, {"hard": 0.5, "lovasz": 2}]


def batch(b: int = 3, k: int = 3, height: int = 5, width: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(b, k, height, width, generator=generator, dtype=torch.float64) * 2
    target = torch.randint(k, (b, height, width), generator=generator).to(torch.uint8)
    target[torch.rand(target.shape, generator=generator) < 0.3] = IGNORE
    return logits, target


def oracle(logits, target, easy=False, hard=None, lovasz=0.0) -> float:
    """Cross-entropy image by image, and the Lovász extension by definition: Σ_i m_i (Δ(first i) − Δ(first i − 1))."""
    losses, answers = [], []
    for image, ids in zip(logits.numpy(), target.numpy(), strict=True):
        z, y = image[:, ids != IGNORE].T, ids[ids != IGNORE]
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        loss = -np.log(p[np.arange(len(y)), y])
        losses.append(loss * np.exp(-loss) / np.exp(-loss).mean() if easy and len(y) else loss)
        answers.append((p, y))
    pooled = np.sort(np.concatenate(losses))[::-1]
    total = pooled.mean() if hard is None else pooled[: max(1, math.ceil(hard * len(pooled)))].mean()
    p, y = (np.concatenate(parts) for parts in zip(*answers, strict=True))
    for c in np.unique(y) if lovasz else []:
        errors, inside = np.where(y == c, 1 - p[:, c], p[:, c]), y == c
        order = np.argsort(-errors)
        # Berman et al., eq. 3: Δ of the first i is i over the pixels of the class and those i
        jaccard = [i / (inside.sum() + (~inside[order[:i]]).sum()) for i in range(len(y) + 1)]
        total += lovasz * (errors[order] * np.diff(jaccard)).sum() / len(np.unique(y))
    return total


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("k", [2, 5])
def test_the_loss_is_that_of_slow_loops(mode, k):
    logits, target = batch(k=k)
    target[1] = IGNORE  # an image of which nothing counts
    expected = oracle(logits, target, **mode)
    assert segmentation_loss(logits, target, **mode).item() == pytest.approx(expected, rel=1e-6)
    turned = segmentation_loss(logits.float().transpose(2, 3), target.long().transpose(1, 2), **mode)
    assert turned.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("mode", [{}, {"hard": 0.3}, {"lovasz": 0.7}, {"hard": 0.5, "lovasz": 2}])
def test_gradients_are_the_loops_finite_differences(mode):
    logits, target = batch(2, 3, 2, 3)
    leaf = logits.clone().requires_grad_()
    segmentation_loss(leaf, target, **mode).backward()
    for place in itertools.product(*(range(n) for n in logits.shape)):
        values = []
        for step in (1e-5, -1e-5):
            moved = logits.clone()
            moved[place] += step
            values.append(oracle(moved, target, **mode))
        assert leaf.grad[place].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-4, abs=1e-6)


def test_easy_weights_are_constants_to_the_gradient():
    logits, target = batch()
    logits.requires_grad_()
    segmentation_loss(logits, target, easy=True).backward()
    kept = target != IGNORE
    p = logits.detach().softmax(1)
    y = target.where(kept, torch.zeros_like(target)).long()
    loss_map = -p.gather(1, y[:, None])[:, 0].log()
    one_hot = torch.nn.functional.one_hot(y, 3).movedim(3, 1)
    expected = (easy_weights(loss_map, kept) / kept.sum())[:, None] * (p - one_hot) * kept[:, None]
    torch.testing.assert_close(logits.grad, expected)


def test_every_image_is_weighted_by_itself():
    losses = torch.tensor([[[0.0, math.log(3), 9.0]], [[1e4, 1e4, 2e4]], [[1.0, 2.0, 3.0]]])
    kept = torch.tensor([[[True, True, False]], [[True, True, True]], [[False, False, False]]])
    expected = torch.tensor([[[1.5, 0.5, 0.0]], [[1.5, 1.5, 0.0]], [[0.0, 0.0, 0.0]]])
    torch.testing.assert_close(easy_weights(losses, kept), expected)


def test_the_hardest_share_of_the_batch_is_learnt_from():
    losses = torch.arange(10.0).view(2, 1, 5).requires_grad_()
    kept = torch.ones(2, 1, 5, dtype=torch.bool)
    kept[1, 0, 4] = False  # the highest of all does not count
    for share, mean in ((1.0, 4), (1 / 3, 7), (1e-9, 8)):  # at least one
        assert hard_negative_loss(losses, kept, share=share).item() == mean
    hard_negative_loss(losses, kept, share=0.2).backward()  # 1.8 pixels are two
    assert losses.grad.flatten().tolist() == [0] * 7 + [0.5, 0.5, 0]
    many = torch.arange(100.0).view(1, 10, 10)
    assert hard_negative_loss(many, many >= 0, share=0.07).item() == 96  # 0.07 * 100 > 7 in floats, yet 7 pixels


@pytest.mark.parametrize("mode", MODES)
def test_where_nothing_counts_the_loss_is_0_and_has_a_gradient_of_0(mode):
    logits = torch.randn(2, 3, 4, 5, requires_grad=True)
    value = segmentation_loss(logits, torch.full((2, 4, 5), IGNORE, dtype=torch.uint8), **mode)
    assert (value.shape, value.item()) == ((), 0)
    value.backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("mode", MODES)
def test_the_loss_is_computed_in_float32_outside_autocast(mode, monkeypatch):
    states = []

    class Spy(losses.LovaszLoss):
        def forward(self, logits, target):
            states.append((torch.is_autocast_enabled("cpu"), logits.dtype))
            return super().forward(logits, target)

    monkeypatch.setattr(losses, "LovaszLoss", Spy)
    logits, target = batch()
    expected = segmentation_loss(logits.bfloat16().float(), target, **mode)
    with torch.autocast("cpu", torch.bfloat16):
        value = segmentation_loss(logits.bfloat16(), target, **mode)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected)
    assert set(states) == ({(False, torch.float32)} if "lovasz" in mode else set())


def test_bad_input_is_refused():
    x, y = batch()
    refused(r"are not \(B, K, H, W\)", lambda: segmentation_loss(x, y[:, 1:]))
    refused("contradict", lambda: segmentation_loss(x, y, easy=True, hard=0.5))
    refused("lovasz", lambda weight: segmentation_loss(x, y, lovasz=weight), -1, math.nan)
    refused("there are 2 classes", lambda: segmentation_loss(x[:, :2], y))
    refused("there are 3 classes", lambda: segmentation_loss(x, y.long() - 1))
    refused("share", lambda share: segmentation_loss(x, y, hard=share), 0, 1.1, math.nan)
    refused("uint8", lambda: easy_weights(x[:, 0], y))
    refused(r"\(3, 5, 4\) and torch.bool \(3, 4, 4\)", lambda: hard_negative_loss(x[:, 0], y[:, 1:] > 0, share=1))
