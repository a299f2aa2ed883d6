"""CVM's losses against slow transcriptions of eq. 3, of L_wkl and of w, and where their gradients go."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from histolab_lite.methods.cvm.losses import partial_cross_entropy, weighted_kl

LOGITS = st.floats(-12, 12)
UINT8 = torch.uint8


def oracle_pce(logits: list[float], labels: list[int]) -> float:
    """Eq. 3."""
    labelled = [(1 / (1 + math.exp(-s)), y) for s, y in zip(logits, labels, strict=True) if y != 255]
    total = sum(y * math.log(p) + (1 - y) * math.log(1 - p) for p, y in labelled)
    return -total / len(labelled) if labelled else 0.0


def oracle_w(u: float) -> float:
    return math.exp(2 * sum(p * math.log(p) for p in (u, 1 - u) if p > 0))


def oracle_wkl(logits: list[float], u: list[float]) -> float:
    """The first form of L_wkl, with w and h as printed; 0 log 0 = 0."""
    total = 0.0
    for s, target in zip(logits, u, strict=True):
        y = 1 / (1 + math.exp(-s))
        divergence = sum(p * math.log(p / q) for p, q in ((target, y), (1 - target, 1 - y)) if p > 0)
        total += oracle_w(target) * divergence
    return total / len(logits)


@given(pixels=st.lists(st.tuples(LOGITS, st.sampled_from([0, 1, 255])), min_size=1, max_size=12))
def test_the_partial_cross_entropy_is_equation_3(pixels):
    logits, labels = (list(values) for values in zip(*pixels, strict=True))
    value = partial_cross_entropy(torch.tensor(logits, dtype=torch.float64), torch.tensor(labels, dtype=UINT8))
    assert value.item() == pytest.approx(oracle_pce(logits, labels), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("labels", [[[1, 255], [0, 255]], [[255, 255], [255, 255]]])
def test_only_clicked_pixels_get_a_gradient(labels):
    logits, labels = torch.tensor([[0.5, -1.0], [2.0, 3.0]], requires_grad=True), torch.tensor(labels, dtype=UINT8)
    partial_cross_entropy(logits, labels).backward()
    clicked = labels != 255
    torch.testing.assert_close(logits.grad, clicked * (logits.detach().sigmoid() - labels.float()) / 2)


@given(pixels=st.lists(st.tuples(LOGITS, st.floats(0, 1)), min_size=1, max_size=12))
def test_the_weighted_divergence_is_the_papers_first_form(pixels):
    logits, u = (torch.tensor(values, dtype=torch.float64) for values in zip(*pixels, strict=True))
    assert weighted_kl(logits, u).item() == pytest.approx(oracle_wkl(logits.tolist(), u.tolist()), rel=1e-6, abs=1e-9)


def test_descent_takes_the_output_to_u_which_gets_no_gradient():
    """The printed sign would take the output away from u."""
    u = torch.tensor([0.9, 0.2], requires_grad=True)
    logits = torch.zeros(2, requires_grad=True)
    weighted_kl(logits, u).backward()
    w = torch.tensor([oracle_w(value) for value in u.tolist()])
    torch.testing.assert_close(logits.grad, w * (0.5 - u.detach()) / 2)
    assert u.grad is None


@pytest.mark.parametrize("logit", [-1e4, -100.0, 0.0, 100.0, 1e4])
def test_certain_targets_and_certain_outputs_stay_finite(logit):
    logits = torch.full((2,), logit, requires_grad=True)
    value = weighted_kl(logits, torch.tensor([0.0, 1.0]))
    value.backward()
    assert value.item() == pytest.approx((math.log1p(math.exp(-abs(logit))) * 2 + abs(logit)) / 2, rel=1e-6)
    assert torch.isfinite(logits.grad).all()
    pce = partial_cross_entropy(logits, torch.tensor([0, 1], dtype=UINT8))
    assert pce.item() == pytest.approx(value.item(), rel=1e-6)


@pytest.mark.parametrize(
    ("loss", "target", "keyword"),
    [
        (partial_cross_entropy, torch.zeros(3, dtype=UINT8), "shape"),
        (partial_cross_entropy, torch.tensor([2, 255], dtype=UINT8), "not 2"),
        (weighted_kl, torch.zeros(2, 1), "shape"),
        (weighted_kl, torch.tensor([0.0, 1.5]), "1.5"),
        (weighted_kl, torch.tensor([-0.1, 1.0]), "-0.1"),
        (weighted_kl, torch.tensor([0.0, math.nan]), "nan"),
    ],
)
def test_bad_input_is_refused(loss, target, keyword):
    with pytest.raises(ValueError, match=keyword):
        loss(torch.zeros(2), target)
