"""The losses against loops over pixels, their gradients, and what they do where nothing counts."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from histolab_lite.data import IGNORE
from histolab_lite.methods.wsss4luad.ideas import losses
from histolab_lite.methods.wsss4luad.ideas.losses import easy_weights, hard_negative_loss, segmentation_loss

MODES = [{}, {"easy": True}, {"hard": 0.3}, {"lovasz": 0.7}, {"easy": True, "lovasz": 1.0}, {"hard": 0.5, "lovasz": 2}]


def batch(b: int = 3, k: int = 3, height: int = 5, width: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(b, k, height, width, generator=generator, dtype=torch.float64) * 2
    target = torch.randint(k, (b, height, width), generator=generator).to(torch.uint8)
    target[torch.rand(target.shape, generator=generator) < 0.3] = IGNORE
    return logits, target


def softmax(values: list[float]) -> list[float]:
    total = sum(math.exp(value) for value in values)
    return [math.exp(value) / total for value in values]


def jaccard_loss(wrong: set[int], of_class: set[int]) -> float:
    """Δ_J of Berman et al., eq. 3: mispredicted pixels over those of the class and those taken for it."""
    return len(wrong) / len(of_class | wrong) if of_class | wrong else 0.0


def oracle(logits, target, easy=False, hard=None, lovasz=0.0) -> float:
    images = []  # of each: (probabilities, class) of the pixels that count
    for answer, ids in zip(logits.tolist(), target.tolist(), strict=True):
        pixels = []
        for row, col in itertools.product(range(len(ids)), range(len(ids[0]))):
            if ids[row][col] != IGNORE:
                pixels.append((softmax([plane[row][col] for plane in answer]), ids[row][col]))
        images.append(pixels)
    losses = [[-math.log(p[y]) for p, y in pixels] for pixels in images]
    if easy:
        for index, image in enumerate(losses):
            if image:
                s = softmax([-value for value in image])
                mean = sum(s) / len(s)
                losses[index] = [weight / mean * value for weight, value in zip(s, image, strict=True)]
    heap = [value for image in losses for value in image]
    if hard is not None:
        heap = sorted(heap, reverse=True)[: max(1, math.ceil(hard * len(heap)))]
    total = sum(heap) / len(heap)
    pixels = [pixel for image in images for pixel in image]
    classes = sorted({y for _, y in pixels})
    for c in classes if lovasz else []:  # the Lovász extension by its definition: Σ_i m_i (Δ(first i) − Δ(first i − 1))
        errors = [1 - p[c] if y == c else p[c] for p, y in pixels]
        inside = {i for i, (_, y) in enumerate(pixels) if y == c}
        order = sorted(range(len(errors)), key=lambda i: -errors[i])
        for i in range(len(order)):
            step = jaccard_loss(set(order[: i + 1]), inside) - jaccard_loss(set(order[:i]), inside)
            total += lovasz * errors[order[i]] * step / len(classes)
    return total


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("k", [2, 3, 5])
def test_the_loss_is_that_of_slow_loops(mode, k):
    logits, target = batch(k=k)
    target[1] = IGNORE  # an image of which nothing counts
    expected = oracle(logits, target, **mode)
    assert segmentation_loss(logits, target, **mode).item() == pytest.approx(expected, rel=1e-6)
    turned = segmentation_loss(logits.float().transpose(2, 3), target.long().transpose(1, 2), **mode)
    assert turned.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("mode", [{}, {"hard": 0.3}])
def test_gradients_pass_gradcheck(mode):
    logits, target = batch(2, 3, 3, 3)
    assert torch.autograd.gradcheck(lambda x: segmentation_loss(x, target, **mode), logits.requires_grad_())


@pytest.mark.parametrize("mode", [{"lovasz": 0.7}, {"hard": 0.5, "lovasz": 2}])
def test_gradients_with_lovasz_are_the_loops_finite_differences(mode):
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


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 200), st.booleans()), min_size=1, max_size=15),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_easy_weights_have_mean_1_and_fall_with_the_loss(pixels, dtype):
    losses = torch.tensor([value for value, _ in pixels], dtype=dtype)[None, None]
    kept = torch.tensor([keep for _, keep in pixels])[None, None]
    weights = easy_weights(losses.requires_grad_(), kept)
    assert not weights.requires_grad
    assert (weights[~kept] == 0).all()
    counted, order = weights[kept], losses.detach()[kept].argsort()
    if kept.any():
        assert counted.mean().item() == pytest.approx(1, rel=1e-5)
        assert (counted[order].diff() <= 0).all()


def test_every_image_is_weighted_by_itself():
    losses = torch.tensor([[[0.0, math.log(3), 9.0]], [[50.0, 50.0, 50.0]], [[1.0, 2.0, 3.0]]])
    kept = torch.tensor([[[True, True, False]], [[True, True, True]], [[False, False, False]]])
    expected = torch.tensor([[[1.5, 0.5, 0.0]], [[1.0, 1.0, 1.0]], [[0.0, 0.0, 0.0]]])
    torch.testing.assert_close(easy_weights(losses, kept), expected)
    huge = easy_weights(torch.tensor([[[1e4, 2e4]]]), torch.ones(1, 1, 2, dtype=torch.bool))
    assert huge.tolist() == [[[2, 0]]]


def test_the_hardest_share_of_the_batch_is_learnt_from():
    losses = torch.arange(10.0).view(2, 1, 5).requires_grad_()
    kept = torch.ones(2, 1, 5, dtype=torch.bool)
    kept[1, 0, 4] = False  # the highest of all does not count
    assert hard_negative_loss(losses, kept, share=1.0).item() == 4
    assert hard_negative_loss(losses, kept, share=1 / 3).item() == 7
    assert hard_negative_loss(losses, kept, share=1e-9).item() == 8  # one at least
    hard_negative_loss(losses, kept, share=0.2).backward()  # 1.8 pixels are two
    assert losses.grad.flatten().tolist() == [0] * 7 + [0.5, 0.5, 0]
    many = torch.arange(100.0).view(1, 10, 10)
    whole = hard_negative_loss(many, torch.ones(1, 10, 10, dtype=torch.bool), share=0.07)
    assert whole.item() == 96  # 0.07 * 100 > 7 in floats, yet 7 pixels


@pytest.mark.parametrize("mode", MODES)
def test_where_nothing_counts_the_loss_is_0_and_has_a_gradient_of_0(mode):
    logits = torch.randn(2, 3, 4, 5, requires_grad=True)
    value = segmentation_loss(logits, torch.full((2, 4, 5), IGNORE, dtype=torch.uint8), **mode)
    assert value.shape == ()
    assert value.item() == 0
    value.backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("mode", MODES)
def test_pixels_that_do_not_count_have_no_gradient(mode):
    logits, target = batch()
    logits.requires_grad_()
    segmentation_loss(logits, target, **mode).backward()
    assert (logits.grad.movedim(1, 3)[target == IGNORE] == 0).all()
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize("mode", MODES)
def test_half_precision_is_left_for_the_loss(mode):
    logits, target = batch()
    expected = segmentation_loss(logits.bfloat16().float(), target, **mode)
    with torch.autocast("cpu", torch.bfloat16):
        value = segmentation_loss(logits.bfloat16(), target, **mode)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected)


def test_the_librarys_loss_is_called_outside_autocast(monkeypatch):
    states = []

    class Spy(losses.LovaszLoss):
        def forward(self, logits, target):
            states.append((torch.is_autocast_enabled("cpu"), logits.dtype))
            return super().forward(logits, target)

    monkeypatch.setattr(losses, "LovaszLoss", Spy)
    logits, target = batch()
    with torch.autocast("cpu", torch.bfloat16):
        segmentation_loss(logits.bfloat16(), target, lovasz=1.0)
    assert states == [(False, torch.float32)]


def test_a_right_and_sure_answer_costs_nothing():
    _, target = batch()
    ids = target.where(target != IGNORE, torch.zeros_like(target)).long()
    logits = 200 * torch.nn.functional.one_hot(ids, 3).movedim(3, 1).float()
    for mode in MODES:
        assert segmentation_loss(logits, target, **mode).item() == pytest.approx(0, abs=1e-6)


def test_what_does_not_fit_is_refused():
    logits, target = batch()
    with pytest.raises(ValueError, match=r"are not \(B, K, H, W\)"):
        segmentation_loss(logits, target[:, 1:])
    with pytest.raises(ValueError, match="contradict"):
        segmentation_loss(logits, target, easy=True, hard=0.5)
    with pytest.raises(ValueError, match="lovasz"):
        segmentation_loss(logits, target, lovasz=-1)
    with pytest.raises(ValueError, match="there are 2 classes"):
        segmentation_loss(logits[:, :2], target)
    with pytest.raises(ValueError, match="there are 3 classes"):
        segmentation_loss(logits, target.long() - 1)
    for share in (0, 1.1, math.nan):
        with pytest.raises(ValueError, match="share"):
            segmentation_loss(logits, target, hard=share)
    with pytest.raises(ValueError, match="uint8"):
        easy_weights(logits[:, 0], target)
    with pytest.raises(ValueError, match=r"\(3, 5, 4\) and torch.bool \(3, 4, 4\)"):
        hard_negative_loss(logits[:, 0], torch.ones(3, 4, 4, dtype=torch.bool), share=1)
