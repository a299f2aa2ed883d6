"""NT-Xent against the loops of SimCLR's Algorithm 1, values and gradients."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

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


def value_and_gradients(z1, z2, temperature, backend, upstream=1.0):
    ours = [z.clone().to(backend.device).requires_grad_() for z in (z1, z2)]
    value = nt_xent(*ours, temperature, backend.name)
    (upstream * value).backward()
    return [t.detach().cpu() for t in (value, ours[0].grad, ours[1].grad)]


class Largest(TorchDispatchMode):
    """Numbers in the largest tensor that any operation makes, backward included."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        made = [t.untyped_storage().nbytes() // t.itemsize for t in tree_leaves(result) if isinstance(t, torch.Tensor)]
        self.numel = max(self.numel, *made, 0)
        return result


@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(2, 6),
    d=st.integers(1, 9),
    temperature=st.sampled_from([0.1, 0.5, 2.0]),
    scale=st.sampled_from([0.01, 1.0, 50.0]),
    seed=st.integers(0, 1000),
)
def test_value_and_gradients_agree_with_the_loops(backend, n, d, temperature, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    z1, z2 = (scale * torch.randn(n, d, generator=generator) for _ in range(2))
    value, *gradients = value_and_gradients(z1, z2, temperature, backend)
    theirs = [z.clone().requires_grad_() for z in (z1, z2)]
    expected = algorithm_1(*theirs, temperature)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected.item(), abs=1e-5, rel=1e-5)
    expected.backward()
    for mine, slow in zip(gradients, theirs, strict=True):
        # A gradient scales with 1/|z|.
        torch.testing.assert_close(mine * scale, slow.grad * scale, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize(("n", "d"), [(2, 1), (63, 1), (63, 257), (257, 3)])
@pytest.mark.parametrize("temperature", [0.5, 0.01])
def test_many_strips_and_tiles_agree_with_the_square_in_float64(backend, n, d, temperature):
    z1, z2 = torch.randn(2, n, d, generator=torch.Generator().manual_seed(n))
    theirs = [z.double().requires_grad_() for z in (z1, z2)]
    z = torch.nn.functional.normalize(torch.cat(theirs), dim=1)
    logits = (z @ z.T / temperature).fill_diagonal_(float("-inf"))
    expected = logits.logsumexp(1).mean() - logits.diagonal(n).mean()
    (3 * expected).backward()
    value, *gradients = value_and_gradients(z1, z2, temperature, backend, upstream=3.0)
    assert value.item() == pytest.approx(expected.item(), abs=1e-5, rel=1e-5)
    for mine, slow in zip(gradients, theirs, strict=True):
        norm = slow.detach().norm(dim=1, keepdim=True)  # a gradient scales with 1/|z|
        torch.testing.assert_close((mine * norm).float(), (slow.grad * norm).float(), atol=1e-5, rtol=1e-3)


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


def test_perfect_views_reach_the_least_loss_and_an_indifferent_network_log_2n_minus_1(backend):
    identical = torch.ones(4, 3, device=backend.device)
    assert nt_xent(identical, identical, backend=backend.name).item() == pytest.approx(math.log(7), abs=1e-5)
    z = torch.eye(4, device=backend.device)
    assert nt_xent(z, z, 0.01, backend.name).item() == pytest.approx(0, abs=1e-5)
    assert nt_xent(z, z.roll(1, 0), 0.01, backend.name).item() == pytest.approx(100, rel=1e-3)


@pytest.mark.parametrize("temperature", [0.01, 0.001])
def test_a_view_opposite_to_all_others_does_not_vanish_in_float32(backend, temperature):
    """Its similarities lie 2/τ below the largest possible one: e^-200 is 0 in float32."""
    a = torch.tensor([0.6, 0.8])
    z1, z2 = torch.stack([a, -a]), torch.stack([-a, -a])
    value, *gradients = value_and_gradients(z1, z2, temperature, backend)
    # L - s⁺ is log 3 for it; 2/τ + log 2 for its partner, log 2 for the other two.
    assert value.item() == pytest.approx((math.log(3) + 2 / temperature + 3 * math.log(2)) / 4, rel=1e-5)
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_the_order_of_pairs_and_of_views_does_not_matter(backend):
    z1, z2 = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(3)).to(backend.device)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    value, other = nt_xent(z1, z2, backend=backend.name), nt_xent(z2[order], z1[order], backend=backend.name)
    assert other.item() == pytest.approx(value.item(), abs=1e-6)


def test_duplicates_share_their_gradient(backend):
    z = torch.randn(1, 5, generator=torch.Generator().manual_seed(1)).expand(70, 5)
    other = torch.randn(1, 5, generator=torch.Generator().manual_seed(2)).expand(70, 5)
    _, first, second = value_and_gradients(z, other, 0.5, backend)
    torch.testing.assert_close(first, first[:1].expand(70, 5), atol=1e-7, rtol=1e-4)
    torch.testing.assert_close(second, second[:1].expand(70, 5), atol=1e-7, rtol=1e-4)


def test_autocast_does_not_round_the_similarities(backend):
    z1, z2 = torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0))
    expected, gradient, _ = value_and_gradients(z1, z2, 0.05, backend)
    z1 = z1.to(backend.device).requires_grad_()
    with torch.autocast(backend.device, torch.bfloat16):
        mixed = nt_xent(z1, z2.to(backend.device), 0.05, backend.name)
    mixed.backward()
    assert mixed.item() == pytest.approx(expected.item(), abs=1e-6)
    torch.testing.assert_close(z1.grad.cpu(), gradient, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_projections(backend, dtype):
    z1, z2 = (30 * torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(0))).to(dtype)
    value, *gradients = value_and_gradients(z1, z2, 0.5, backend)
    assert value.item() == pytest.approx(algorithm_1(z1, z2, 0.5).item(), abs=1e-5)
    assert gradients[0].dtype == dtype


def test_non_contiguous_input(backend):
    z = torch.randn(8, 10, generator=torch.Generator().manual_seed(0)).to(backend.device)
    z1, z2 = z.T[:4], z.T[5:9]
    assert not z1.is_contiguous()
    value = nt_xent(z1, z2, backend=backend.name)
    assert value.item() == pytest.approx(algorithm_1(z1.cpu(), z2.cpu(), 0.5).item(), abs=1e-5)


def test_only_the_reference_builds_the_square(backend):
    n, d = 160, 8
    with Largest() as largest:
        value_and_gradients(*torch.randn(2, n, d), 0.5, backend)
    assert (largest.numel >= (2 * n) ** 2) == (backend.name == "reference")


def test_the_fast_backends_say_that_they_differentiate_once(backend):
    z1, z2 = torch.randn(2, 4, 3, device=backend.device).requires_grad_()
    value = nt_xent(z1, z2, backend=backend.name)
    if backend.name == "reference":
        torch.autograd.grad(value, z1, create_graph=True)[0].sum().backward()
    else:
        with pytest.raises(RuntimeError, match="backend='reference'"):
            torch.autograd.grad(value, z1, create_graph=True)


def test_a_small_batch_on_the_cpu_takes_the_square(monkeypatch):
    from histolab_lite.kernels.nt_xent import cpu

    def streamed(*arguments):
        raise LookupError

    monkeypatch.setattr(cpu, "nt_xent", streamed)
    z1, z2 = torch.randn(2, 257, 3)
    assert nt_xent(z1[:256], z2[:256]).isfinite()
    with pytest.raises(LookupError):
        nt_xent(z1, z2)


@pytest.mark.parametrize(
    ("z1", "z2", "options", "message"),
    [
        (torch.zeros(3, 2), torch.zeros(4, 2), {}, "must both be"),
        (torch.zeros(3), torch.zeros(3), {}, "must both be"),
        (torch.zeros(1, 2), torch.zeros(1, 2), {}, "at least two pairs"),
        (torch.zeros(0, 2), torch.zeros(0, 2), {}, "at least two pairs"),
        (torch.zeros(2, 0), torch.zeros(2, 0), {}, "at least one number"),
        (torch.tensor([[1.0], [float("nan")]]), torch.zeros(2, 1), {}, "z1 holds NaN"),
        (torch.zeros(2, 1), torch.tensor([[1.0], [float("inf")]]), {}, "z2 holds NaN or infinite"),
        (torch.zeros(2, 2), torch.zeros(2, 2), {"temperature": 0.0}, "temperature must be positive"),
        (torch.zeros(2, 2), torch.zeros(2, 2), {"backend": "triton-3000"}, "not available"),
    ],
)
def test_bad_input_is_refused(z1, z2, options, message):
    with pytest.raises(ValueError, match=message):
        nt_xent(z1, z2, **options)
