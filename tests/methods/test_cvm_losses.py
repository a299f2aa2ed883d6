"""CVM's losses against slow transcriptions of eq. 3, of L_wkl and of w, and where their gradients go."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from histolab_lite.methods.cvm.losses import certainty, partial_cross_entropy, weighted_kl

LOGITS = st.floats(-12, 12)


def oracle_pce(logits: list[float], labels: list[int]) -> float:
    """Eq. 3."""
    labelled = [(1 / (1 + math.exp(-s)), y) for s, y in zip(logits, labels, strict=True) if y != 255]
    total = sum(y * math.log(p) + (1 - y) * math.log(1 - p) for p, y in labelled)
    return -total / len(labelled) if labelled else 0.0


def oracle_entropy(u: float) -> float:
    return -sum(p * math.log(p) for p in (u, 1 - u) if p > 0)


def oracle_wkl(logits: list[float], u: list[float]) -> float:
    """The first form of L_wkl, with w and h as printed; 0 log 0 = 0."""
    total = 0.0
    for s, target in zip(logits, u, strict=True):
        y = 1 / (1 + math.exp(-s))
        divergence = sum(p * math.log(p / q) for p, q in ((target, y), (1 - target, 1 - y)) if p > 0)
        total += math.exp(-2 * oracle_entropy(target)) * divergence
    return total / len(logits)


@settings(max_examples=60, deadline=None)
@given(pixels=st.lists(st.tuples(LOGITS, st.sampled_from([0, 1, 255])), min_size=1, max_size=12))
def test_the_partial_cross_entropy_is_equation_3(pixels):
    logits, labels = (list(values) for values in zip(*pixels, strict=True))
    value = partial_cross_entropy(torch.tensor(logits, dtype=torch.float64), torch.tensor(labels, dtype=torch.uint8))
    assert value.item() == pytest.approx(oracle_pce(logits, labels), rel=1e-6, abs=1e-9)


def test_pixels_that_nobody_clicked_get_no_gradient_and_clicked_ones_get_their_share():
    logits = torch.tensor([[0.5, -1.0], [2.0, 3.0]], requires_grad=True)
    partial_cross_entropy(logits, torch.tensor([[1, 255], [0, 255]], dtype=torch.uint8)).backward()
    expected = (torch.sigmoid(logits.detach()) - torch.tensor([[1.0, 0], [0, 0]])) / 2
    expected[:, 1] = 0
    torch.testing.assert_close(logits.grad, expected)


def test_where_nothing_was_clicked_there_is_no_loss_and_no_gradient():
    logits = torch.randn(3, 5, requires_grad=True)
    value = partial_cross_entropy(logits, torch.full((3, 5), 255, dtype=torch.uint8))
    value.backward()
    assert value.item() == 0
    assert torch.equal(logits.grad, torch.zeros(3, 5))


@settings(max_examples=60, deadline=None)
@given(pixels=st.lists(st.tuples(LOGITS, st.floats(0, 1)), min_size=1, max_size=12))
def test_the_weighted_divergence_is_the_papers_first_form(pixels):
    logits, u = (torch.tensor(values, dtype=torch.float64) for values in zip(*pixels, strict=True))
    assert weighted_kl(logits, u).item() == pytest.approx(oracle_wkl(logits.tolist(), u.tolist()), rel=1e-6, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(pixels=st.lists(st.tuples(LOGITS, st.floats(0, 1)), min_size=1, max_size=12))
def test_a_divergence_is_never_negative_and_0_only_where_both_agree(pixels):
    logits, u = (torch.tensor(values, dtype=torch.float64) for values in zip(*pixels, strict=True))
    assert weighted_kl(logits, u) >= -1e-12
    assert weighted_kl(logits, logits.sigmoid()).abs() < 1e-9


def test_descent_takes_the_answer_to_u_and_the_printed_sign_would_not():
    u = torch.tensor([0.9, 0.2])
    logits = torch.zeros(2, requires_grad=True)
    weighted_kl(logits, u).backward()
    w = torch.tensor([math.exp(-2 * oracle_entropy(value)) for value in u.tolist()])
    torch.testing.assert_close(logits.grad, w * (0.5 - u) / 2)


def test_u_is_a_target_and_gets_no_gradient():
    u = torch.rand(4, 4, requires_grad=True)
    logits = torch.randn(4, 4, requires_grad=True)
    weighted_kl(logits, u).backward()
    assert u.grad is None
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize("logit", [-1e4, -100.0, 0.0, 100.0, 1e4])
def test_sure_targets_and_sure_answers_stay_finite(logit):
    logits = torch.full((2,), logit, requires_grad=True)
    value = weighted_kl(logits, torch.tensor([0.0, 1.0]))
    value.backward()
    assert value.item() == pytest.approx((math.log1p(math.exp(-abs(logit))) * 2 + abs(logit)) / 2, rel=1e-6)
    assert torch.isfinite(logits.grad).all()
    pce = partial_cross_entropy(logits, torch.tensor([0, 1], dtype=torch.uint8))
    assert pce.item() == pytest.approx(value.item(), rel=1e-6)


def test_certainty_is_1_at_either_end_and_a_quarter_in_the_middle():
    w = certainty(torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0]))
    expected = [math.exp(-2 * oracle_entropy(u)) for u in (0.0, 0.1, 0.5, 0.9, 1.0)]
    assert w.tolist() == pytest.approx(expected)
    assert expected[::2] == pytest.approx([1, 0.25, 1])


def test_shapes_labels_and_targets_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"logits \(2,\) and labels \(3,\)"):
        partial_cross_entropy(torch.zeros(2), torch.zeros(3, dtype=torch.uint8))
    with pytest.raises(ValueError, match="not 2"):
        partial_cross_entropy(torch.zeros(2), torch.tensor([2, 255], dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"logits \(2,\) and u \(2, 1\)"):
        weighted_kl(torch.zeros(2), torch.zeros(2, 1))
    with pytest.raises(ValueError, match="spans 0 to 1.5"):
        weighted_kl(torch.zeros(2), torch.tensor([0.0, 1.5]))
    with pytest.raises(ValueError, match="must lie in"):
        weighted_kl(torch.zeros(1), torch.tensor([math.nan]))
