"""NT-Xent against the loops of SimCLR's Algorithm 1, values and gradients."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from histolab_lite.kernels.nt_xent import cpu, nt_xent
from tests.kernels.support import Largest, assert_differentiates_once, randn, value_and_gradients


def algorithm_1(z1: torch.Tensor, z2: torch.Tensor, temperature: float) -> torch.Tensor:
    """Chen et al., Algorithm 1: views 2k-1 and 2k are a pair; s[i, j] the cosine; ℓ(i, j) of equation 1.

    It is Proto2Seg's loss (Pan et al., Sect. 3.1): -log( e⁺ / (e⁺ + Σ e⁻) ) of every anchor, averaged.
    """
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


def square(z1: torch.Tensor, z2: torch.Tensor, temperature: float) -> torch.Tensor:
    """The same from the whole matrix of similarities, for sizes at which loops are too slow."""
    z = torch.nn.functional.normalize(torch.cat([z1, z2]), dim=1)
    logits = (z @ z.T / temperature).fill_diagonal_(float("-inf"))
    return logits.logsumexp(1).mean() - logits.diagonal(len(z1)).mean()


def run(backend, z1: torch.Tensor, z2: torch.Tensor, temperature: float = 0.5, upstream: float = 1.0):
    def function(*views: torch.Tensor) -> torch.Tensor:
        return nt_xent(*views, temperature, backend.name)

    return value_and_gradients(function, z1, z2, upstream=upstream, device=backend.device)


def assert_agrees(backend, oracle, z1: torch.Tensor, z2: torch.Tensor, temperature: float) -> None:
    value, *gradients = run(backend, z1, z2, temperature, upstream=3.0)
    views = z1.double(), z2.double()
    expected, *theirs = value_and_gradients(lambda *z: oracle(*z, temperature), *views, upstream=3.0)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected.item(), abs=1e-5, rel=1e-5)
    for z, ours, slow in zip(views, gradients, theirs, strict=True):
        norm = z.norm(dim=1, keepdim=True)  # a gradient scales with 1/|z|
        torch.testing.assert_close(ours * norm, slow * norm, atol=1e-5, rtol=1e-3, check_dtype=False)


@settings(max_examples=15)
@given(
    n=st.integers(2, 6),
    d=st.integers(1, 9),
    temperature=st.sampled_from([0.1, 0.5, 2.0]),
    scale=st.sampled_from([0.01, 1.0, 50.0]),
    seed=st.integers(0, 1000),
)
def test_value_and_gradients_agree_with_the_loops(backend, n, d, temperature, scale, seed):
    z1, z2 = scale * randn(2, n, d, seed=seed)
    assert_agrees(backend, algorithm_1, z1, z2, temperature)


@pytest.mark.parametrize(("n", "d"), [(63, 1), (63, 257), (140, 3)])  # over several strips and tiles
@pytest.mark.parametrize("temperature", [0.5, 0.01])
def test_many_strips_and_tiles_agree_with_the_square_in_float64(backend, n, d, temperature):
    z1, z2 = randn(2, n, d, seed=n)
    assert_agrees(backend, square, z1, z2, temperature)


@pytest.mark.parametrize("temperature", [0.01, 0.001])
def test_a_view_opposite_to_all_others_does_not_vanish_in_float32(backend, temperature):
    """Its similarities lie 2/τ below the largest possible one: e^-200 is 0 in float32."""
    a = torch.tensor([0.6, 0.8])
    value, *gradients = run(backend, torch.stack([a, -a]), torch.stack([-a, -a]), temperature)
    # L - s⁺ is log 3 for it; 2/τ + log 2 for its partner, log 2 for the other two.
    assert value.item() == pytest.approx((math.log(3) + 2 / temperature + 3 * math.log(2)) / 4, rel=1e-5)
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_autocast_does_not_round_the_similarities(backend):
    z1, z2 = randn(2, 16, 8)
    expected, gradient, _ = run(backend, z1, z2, 0.05)
    z1 = z1.to(backend.device).requires_grad_()
    with torch.autocast(backend.device, torch.bfloat16):
        mixed = nt_xent(z1, z2.to(backend.device), 0.05, backend.name)
    mixed.backward()
    assert mixed.item() == pytest.approx(expected.item(), abs=1e-6)
    torch.testing.assert_close(z1.grad.cpu(), gradient, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_projections_of_any_layout(backend, dtype):
    z1, z2 = (30 * randn(2, 16, 6)).to(dtype).transpose(1, 2)
    value, *gradients = run(backend, z1, z2)
    assert value.item() == pytest.approx(algorithm_1(z1, z2, 0.5).item(), abs=1e-5)
    assert gradients[0].dtype == dtype


def test_only_the_reference_builds_the_square(backend):
    n, d = 160, 8
    with Largest() as largest:
        run(backend, *torch.randn(2, n, d))
    assert (largest.numel >= (2 * n) ** 2) == (backend.name == "reference")


def test_the_fast_backends_refuse_a_second_derivative(backend):
    z1, z2 = torch.randn(2, 4, 3, device=backend.device).requires_grad_()
    assert_differentiates_once(nt_xent(z1, z2, backend=backend.name), z1, backend.name)


def test_a_small_batch_on_the_cpu_takes_the_square(monkeypatch):
    def streamed(*arguments):
        raise LookupError

    monkeypatch.setattr(cpu, "nt_xent", streamed)
    z1, z2 = torch.randn(2, 257, 3)
    assert nt_xent(z1[:256], z2[:256]).isfinite()
    with pytest.raises(LookupError):
        nt_xent(z1, z2)


Z = torch.ones(3, 2)


@pytest.mark.parametrize(
    ("z1", "z2", "options", "message"),
    [
        (Z, torch.zeros(4, 2), {}, "must both be"),
        (Z[0], Z[0], {}, "must both be"),
        (Z[:1], Z[:1], {}, "at least two pairs"),
        (Z[:, :0], Z[:, :0], {}, "at least one number"),
        (Z * float("nan"), Z, {}, "z1 holds NaN"),
        (Z, Z * float("inf"), {}, "z2 holds NaN or infinite"),
        (Z, Z, {"temperature": 0.0}, "temperature"),
        (Z, Z, {"temperature": float("nan")}, "temperature"),
        (Z, Z, {"backend": "triton-3000"}, "not available"),
    ],
)
def test_bad_input_is_refused(z1, z2, options, message):
    with pytest.raises(ValueError, match=message):
        nt_xent(z1, z2, **options)
