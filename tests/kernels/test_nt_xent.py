"""NT-Xent against the loops of SimCLR's Algorithm 1, values and gradients."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from histolab_lite.kernels.nt_xent import nt_xent


def algorithm_1(z1: torch.Tensor, z2: torch.Tensor, temperature: float) -> torch.Tensor:
    """Chen et al., Algorithm 1: views 2k-1 and 2k are a pair; s[i, j] the cosine; ℓ(i, j) of equation 1."""
    z = [view for pair in zip(z1.double(), z2.double(), strict=True) for view in pair]
    n = len(z1)
    s = [[z[i] @ z[j] / (z[i].norm() * z[j].norm()) for j in range(2 * n)] for i in range(2 * n)]

    def ell(i: int, j: int) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for k in range(2 * n):
            if k != i:
                total = total + torch.exp(s[i][k] / temperature)
        return -torch.log(torch.exp(s[i][j] / temperature) / total)

    loss = torch.zeros((), dtype=torch.float64)
    for k in range(n):
        loss = loss + ell(2 * k, 2 * k + 1) + ell(2 * k + 1, 2 * k)
    return loss / (2 * n)


@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(2, 6),
    d=st.integers(1, 9),
    temperature=st.sampled_from([0.1, 0.5, 2.0]),
    scale=st.sampled_from([0.01, 1.0, 50.0]),
    seed=st.integers(0, 1000),
)
def test_value_and_gradients_agree_with_the_loops(n, d, temperature, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    z1, z2 = (scale * torch.randn(n, d, generator=generator) for _ in range(2))
    ours, theirs = ([z.clone().requires_grad_() for z in (z1, z2)] for _ in range(2))
    value, expected = nt_xent(*ours, temperature), algorithm_1(*theirs, temperature)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected.item(), abs=1e-5, rel=1e-5)
    value.backward()
    expected.backward()
    for mine, slow in zip(ours, theirs, strict=True):
        # A gradient scales with 1/|z|.
        torch.testing.assert_close(mine.grad * scale, slow.grad * scale, atol=1e-5, rtol=1e-3)


def test_proto2seg_writes_the_same_loss_as_positive_over_positive_plus_negatives():
    """Sect. 3.1, for one anchor s: -log( e^{s·t⁺/τ} / (e^{s·t⁺/τ} + Σ e^{s·t⁻/τ}) ), averaged over anchors."""
    z1, z2 = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    views = torch.cat([z1, z2]).tolist()

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(p * q for p, q in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))

    losses = []
    for anchor in range(10):
        partner = (anchor + 5) % 10
        positive = math.exp(cosine(views[anchor], views[partner]) / 0.5)
        negatives = sum(
            math.exp(cosine(views[anchor], views[k]) / 0.5) for k in range(10) if k not in (anchor, partner)
        )
        losses.append(-math.log(positive / (positive + negatives)))
    assert nt_xent(z1, z2).item() == pytest.approx(sum(losses) / 10, abs=1e-5)


def test_perfect_views_reach_the_least_loss_and_an_indifferent_network_log_2n_minus_1():
    identical = torch.ones(4, 3)
    assert nt_xent(identical, identical).item() == pytest.approx(math.log(7), abs=1e-5)
    z = torch.eye(4)
    assert nt_xent(z, z, 0.01).item() == pytest.approx(0, abs=1e-5)
    assert nt_xent(z, z.roll(1, 0), 0.01).item() == pytest.approx(100, rel=1e-3)


def test_the_order_of_pairs_and_of_views_does_not_matter():
    z1, z2 = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(3))
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    assert nt_xent(z2[order], z1[order]).item() == pytest.approx(nt_xent(z1, z2).item(), abs=1e-6)


def test_autocast_does_not_round_the_similarities():
    z1, z2 = torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = nt_xent(z1, z2, 0.05)
    assert mixed.item() == pytest.approx(nt_xent(z1, z2, 0.05).item(), abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_projections(dtype):
    z1, z2 = (30 * torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(0))).to(dtype)
    assert nt_xent(z1, z2).item() == pytest.approx(algorithm_1(z1, z2, 0.5).item(), abs=1e-5)


def test_non_contiguous_input():
    z = torch.randn(8, 10, generator=torch.Generator().manual_seed(0))
    z1, z2 = z.T[:4], z.T[5:9]
    assert not z1.is_contiguous()
    assert nt_xent(z1, z2).item() == pytest.approx(algorithm_1(z1, z2, 0.5).item(), abs=1e-5)


@pytest.mark.parametrize(
    ("z1", "z2", "options", "message"),
    [
        (torch.zeros(3, 2), torch.zeros(4, 2), {}, "must both be"),
        (torch.zeros(3), torch.zeros(3), {}, "must both be"),
        (torch.zeros(1, 2), torch.zeros(1, 2), {}, "at least two pairs"),
        (torch.zeros(2, 2), torch.zeros(2, 2), {"temperature": 0.0}, "temperature must be positive"),
        (torch.zeros(2, 2), torch.zeros(2, 2), {"backend": "triton-3000"}, "not available"),
    ],
)
def test_bad_input_is_refused(z1, z2, options, message):
    with pytest.raises(ValueError, match=message):
        nt_xent(z1, z2, **options)
