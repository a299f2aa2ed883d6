"""Dropout attention against the loops of the paper's equations 7 to 10 and 4, values and gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from histolab_lite.kernels.dropout_attention import dropout_attention, reference
from tests.kernels.support import assert_differentiates_once, randn, value_and_gradients


def equations(m: torch.Tensor, omega: torch.Tensor, mu: float) -> torch.Tensor:
    """One pixel at a time, with the ReLU of the authors' code. (B, C, H, W), (K, C) -> (B, C, H, W)."""
    (b, _, h, w), classes = m.shape, len(omega)
    pixels = [(i, j) for i in range(h) for j in range(w)]
    images = []
    for n in range(b):
        attention = {pixel: torch.zeros((), dtype=torch.float64) for pixel in pixels}
        for k in range(classes):
            cam = {(i, j): (omega[k] * m[n, :, i, j]).sum().relu() for i, j in pixels}  # eq. 7
            beta = mu * max(value.item() for value in cam.values())  # eq. 9
            for pixel, value in cam.items():
                if value <= beta:  # eq. 8
                    attention[pixel] = attention[pixel] + value / classes  # eq. 10
        columns = [attention[i, j] * m[n, :, i, j] for i, j in pixels]  # eq. 4
        images.append(torch.stack(columns, 1).view(m.shape[1:]))
    return torch.stack(images)


def random_case(b: int, c: int, h: int, w: int, k: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features, class weights and the gradient of the result."""
    return randn(b, c, h, w), randn(k, c, seed=1), randn(b, c, h, w, seed=2)


def run(backend, m: torch.Tensor, omega: torch.Tensor, mu: float, upstream: torch.Tensor) -> list[torch.Tensor]:
    def function(*inputs: torch.Tensor) -> torch.Tensor:
        return dropout_attention(*inputs, mu, backend.name)

    results = value_and_gradients(function, m, omega, upstream=upstream, device=backend.device)
    assert results[0].dtype == m.dtype
    return results


def assert_agrees(backend, oracle, m: torch.Tensor, omega: torch.Tensor, mu: float, upstream: torch.Tensor) -> None:
    expected = value_and_gradients(lambda *x: oracle(*x, mu), m.double(), omega.double(), upstream=upstream)
    for ours, theirs in zip(run(backend, m, omega, mu, upstream), expected, strict=True):
        scale = theirs.abs().max().clamp(min=1)
        torch.testing.assert_close(ours.double() / scale, theirs / scale, atol=2e-5, rtol=2e-5)


@settings(max_examples=20)
@given(
    sizes=st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(1, 17)),
    mu=st.sampled_from([0.0, 0.65, 1.0]),
    contiguous=st.booleans(),
)
def test_value_and_gradients_agree_with_the_equations(backend, sizes, mu, contiguous):
    m, omega, upstream = random_case(*sizes)
    if not contiguous:
        m, omega, upstream = (torch.stack([x, x], -1)[..., 0] for x in (m, omega, upstream))
    assert_agrees(backend, equations, m, omega, mu, upstream)


@pytest.mark.parametrize("mu", [0.7, 1.0])
@pytest.mark.parametrize("shape", [(2, 63, 7, 9, 3), (1, 257, 1, 63, 4), (3, 1, 257, 1, 1), (1, 5, 6, 6, 33)])
def test_odd_sizes_agree_with_the_reference_in_float64(fast_backend, shape, mu):
    m, omega, upstream = random_case(*shape)
    assert_agrees(fast_backend, reference.dropout_attention, m, omega, mu, upstream)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features_keep_float32_sums(backend, dtype):
    m, omega, upstream = random_case(1, 64, 4, 5, 3)
    m, upstream = m.to(dtype), upstream.to(dtype)
    step = torch.finfo(dtype).eps
    tolerances = [(step, step), (4 * step, 2 * step), (1e-3, 1e-4)]  # of the value and of the two gradients
    inputs = m.double(), omega.double()
    expected = value_and_gradients(lambda *x: equations(*x, 0.7), *inputs, upstream=upstream)
    for ours, theirs, (atol, rtol) in zip(run(backend, m, omega, 0.7, upstream), expected, tolerances, strict=True):
        torch.testing.assert_close(ours.double(), theirs, atol=atol, rtol=rtol)


def test_autocast_does_not_round_the_maps(backend):
    m, omega = (x.to(backend.device) for x in random_case(1, 64, 6, 5, 3)[:2])
    expected = dropout_attention(m, omega, 0.7, backend.name)
    with torch.autocast(backend.device, torch.bfloat16):
        mixed = dropout_attention(m, omega, 0.7, backend.name)
    torch.testing.assert_close(mixed, expected)


def test_an_empty_batch(backend):
    value, gradient, weights_gradient = run(backend, torch.zeros(0, 3, 4, 4), randn(2, 3), 0.7, torch.zeros(0, 3, 4, 4))
    assert value.shape == gradient.shape == (0, 3, 4, 4)
    assert weights_gradient.abs().max() == 0


def test_the_fast_backends_refuse_a_second_derivative(backend):
    m, omega = (x.to(backend.device).requires_grad_() for x in random_case(1, 2, 3, 3, 2)[:2])
    assert_differentiates_once(dropout_attention(m, omega, 0.7, backend.name).sum(), m, backend.name)


M, OMEGA = torch.ones(1, 3, 2, 2), torch.ones(2, 3)


@pytest.mark.parametrize(
    ("m", "omega", "options", "message"),
    [
        (M, torch.ones(2, 4), {}, "share C"),
        (M[0], OMEGA, {}, "share C"),
        (M[:, :, :0], OMEGA, {}, "nothing to attend to"),
        (M, OMEGA[:0], {}, "nothing to attend to"),
        (M.long(), OMEGA, {}, "floating point"),
        (M, OMEGA.long(), {}, "floating point"),
        (M, OMEGA, {"mu": 1.5}, "mu"),
        (M, OMEGA, {"mu": -0.5}, "mu"),
        (M, OMEGA, {"mu": float("nan")}, "mu"),
        (M * float("nan"), OMEGA, {}, "features holds NaN"),
        (M, OMEGA * float("inf"), {}, "class_weights holds NaN"),
        (M, OMEGA, {"backend": "cuda"}, "not available"),
    ],
)
def test_bad_input_is_refused(m, omega, options, message):
    with pytest.raises(ValueError, match=message):
        dropout_attention(m, omega, **{"mu": 0.7, **options})
