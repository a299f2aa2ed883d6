"""Dropout attention against the loops of the paper's equations 7 to 10 and 4, values and gradients."""

import pytest
import torch

from histolab_lite.kernels.dropout_attention import dropout_attention


def equations(m: torch.Tensor, omega: torch.Tensor, mu: float) -> torch.Tensor:
    """One pixel at a time, in float64, with the ReLU of the authors' code. (B, C, H, W), (K, C) -> (B, C, H, W)."""
    m, omega = m.double(), omega.double()
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


def made(b, c, h, w, k, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(b, c, h, w, generator=generator), torch.randn(k, c, generator=generator)


def run(backend, m, omega, mu, upstream):
    m, omega = (t.detach().to(backend.device).requires_grad_() for t in (m, omega))
    result = dropout_attention(m, omega, mu, backend.name)
    assert result.dtype == m.dtype
    result.backward(upstream.to(result))
    return [t.detach().cpu() for t in (result, m.grad, omega.grad)]


def agree(ours, theirs, tolerance=1e-5):
    for mine, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.double(), expected.double(), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("mu", [0.0, 0.65, 1.0])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1, 1), (2, 3, 4, 5, 2), (1, 4, 1, 7, 6), (1, 2, 9, 1, 17)])
def test_value_and_gradients_agree_with_the_equations(backend, shape, mu):
    m, omega = made(*shape)
    upstream = torch.randn(m.shape, generator=torch.Generator().manual_seed(1))
    slow = [t.double().requires_grad_() for t in (m, omega)]
    expected = equations(*slow, mu)
    expected.backward(upstream.double())
    agree(run(backend, m, omega, mu, upstream), [expected.detach(), slow[0].grad, slow[1].grad])


@pytest.mark.parametrize("shape", [(2, 63, 7, 9, 3), (1, 257, 1, 63, 4), (3, 1, 257, 1, 1), (1, 5, 6, 6, 33)])
def test_odd_sizes_agree_with_the_reference_in_float64(backend, shape):
    from histolab_lite.kernels.dropout_attention import reference

    m, omega = made(*shape, seed=3)
    upstream = torch.randn(m.shape, generator=torch.Generator().manual_seed(1))
    slow = [t.double().requires_grad_() for t in (m, omega)]
    expected = reference.dropout_attention(*slow, 0.7)
    expected.backward(upstream.double())
    ours = run(backend, m, omega, 0.7, upstream)
    scale = [t.abs().max().item() for t in (expected, slow[0].grad, slow[1].grad)]
    theirs = [expected.detach(), slow[0].grad, slow[1].grad]
    agree([t / s for t, s in zip(ours, scale, strict=True)], [t / s for t, s in zip(theirs, scale, strict=True)], 2e-5)


def test_the_references_gradient_is_that_of_its_value():
    m, omega = (t.double().requires_grad_() for t in made(2, 3, 3, 2, 2))
    assert torch.autograd.gradcheck(lambda m, omega: dropout_attention(m, omega, 0.7, "reference"), (m, omega))


def test_one_class_one_channel_by_hand(backend):
    """M = (1, 2, 4), β = 0.6 · 4 = 2.4: the 4 is switched off; A·m = (1·1, 2·2, 0)."""
    m = torch.tensor([1.0, 2.0, 4.0], device=backend.device).view(1, 1, 1, 3)
    omega = torch.ones(1, 1, device=backend.device)
    assert dropout_attention(m, omega, 0.6, backend.name).flatten().tolist() == [1, 4, 0]
    assert dropout_attention(m, omega, 0.5, backend.name).flatten().tolist() == [1, 4, 0]  # M = β stays
    assert dropout_attention(m, omega, 1.0, backend.name).flatten().tolist() == [1, 4, 16]
    assert dropout_attention(m, torch.cat([omega, -omega]), 1.0, backend.name).flatten().tolist() == [0.5, 2, 8]


def test_with_mu_1_no_maximum_is_lost_to_rounding(backend):
    m, omega = made(2, 63, 5, 13, 4)
    kept = dropout_attention(m.to(backend.device), omega.to(backend.device), 1.0, backend.name).cpu()
    attention = torch.einsum("kc,bchw->bkhw", omega, m).relu().mean(1, keepdim=True)
    torch.testing.assert_close(kept, attention * m, atol=1e-4, rtol=1e-4)


def test_images_do_not_see_each_others_maximum(backend):
    m, omega = made(2, 4, 5, 5, 3)
    m[1] *= 100
    together = dropout_attention(m.to(backend.device), omega.to(backend.device), 0.7, backend.name)
    alone = dropout_attention(m[:1].to(backend.device), omega.to(backend.device), 0.7, backend.name)
    torch.testing.assert_close(together[:1], alone)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features_keep_float32_sums(backend, dtype):
    m, omega = made(1, 64, 4, 5, 3)
    upstream = torch.randn(m.shape, generator=torch.Generator().manual_seed(1))
    m, upstream = m.to(dtype), upstream.to(dtype)
    slow = [t.double().requires_grad_() for t in (m, omega)]
    expected = equations(*slow, 0.7)
    expected.backward(upstream.double())
    value, gradient, weights_gradient = run(backend, m, omega, 0.7, upstream)
    step = torch.finfo(dtype).eps
    torch.testing.assert_close(value.double(), expected.detach(), atol=step, rtol=step)
    torch.testing.assert_close(gradient.double(), slow[0].grad, atol=4 * step, rtol=2 * step)
    torch.testing.assert_close(weights_gradient.double(), slow[1].grad, atol=1e-3, rtol=1e-4)


def test_autocast_does_not_round_the_maps(backend):
    m, omega = (t.to(backend.device) for t in made(1, 64, 6, 5, 3))
    expected = dropout_attention(m, omega, 0.7, backend.name)
    with torch.autocast(backend.device, torch.bfloat16):
        mixed = dropout_attention(m, omega, 0.7, backend.name)
    torch.testing.assert_close(mixed, expected)


def test_non_contiguous_input_and_gradient(backend):
    m, omega = made(2, 6, 5, 4, 3)
    m, omega = m.permute(0, 1, 3, 2)[:, ::2], omega[:, ::2]
    upstream = torch.randn(2, 5, 4, 3, generator=torch.Generator().manual_seed(1)).permute(0, 3, 2, 1)
    assert not m.is_contiguous()
    assert not upstream.is_contiguous()
    expected = run(backend, m.contiguous(), omega.contiguous(), 0.7, upstream.contiguous())
    agree(run(backend, m, omega, 0.7, upstream), expected, 1e-6)


def test_an_empty_batch(backend):
    m, omega = made(0, 3, 4, 4, 2)
    value, gradient, weights_gradient = run(backend, m, omega, 0.7, torch.zeros_like(m))
    assert value.shape == gradient.shape == (0, 3, 4, 4)
    assert weights_gradient.abs().max() == 0


def test_the_fast_backends_say_that_they_differentiate_once(backend):
    m, omega = (t.to(backend.device).requires_grad_() for t in made(1, 2, 3, 3, 2))
    total = dropout_attention(m, omega, 0.7, backend.name).sum()
    if backend.name == "reference":
        torch.autograd.grad(total, m, create_graph=True)[0].sum().backward()
    else:
        with pytest.raises(RuntimeError, match="backend='reference'"):
            torch.autograd.grad(total, m, create_graph=True)


@pytest.mark.parametrize(
    ("m", "omega", "options", "message"),
    [
        (torch.ones(1, 3, 2, 2), torch.ones(2, 4), {}, "share C"),
        (torch.ones(3, 2, 2), torch.ones(2, 3), {}, "share C"),
        (torch.ones(1, 3, 0, 2), torch.ones(2, 3), {}, "nothing to attend to"),
        (torch.ones(1, 3, 2, 2), torch.ones(0, 3), {}, "nothing to attend to"),
        (torch.ones(1, 3, 2, 2, dtype=torch.int64), torch.ones(2, 3), {}, "floating point"),
        (torch.ones(1, 3, 2, 2), torch.ones(2, 3), {"mu": 1.5}, "mu must lie"),
        (torch.ones(1, 3, 2, 2), torch.ones(2, 3), {"mu": float("nan")}, "mu must lie"),
        (torch.full((1, 3, 2, 2), float("nan")), torch.ones(2, 3), {}, "features holds NaN"),
        (torch.ones(1, 3, 2, 2), torch.full((2, 3), float("inf")), {}, "class_weights holds NaN or infinite"),
        (torch.ones(1, 3, 2, 2), torch.ones(2, 3), {"backend": "cuda"}, "not available"),
    ],
)
def test_bad_input_is_refused(m, omega, options, message):
    with pytest.raises(ValueError, match=message):
        dropout_attention(m, omega, **{"mu": 0.7, **options})
