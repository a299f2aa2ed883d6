"""Chan–Vese against equation 6 in loops, against a general minimiser, and the backends against each other."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from histolab_lite.kernels.chan_vese import chan_vese, reference


def discs(height: int, width: int, noise: float = 0.08, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A noisy map (H, W) with bright discs and their mask."""
    generator = torch.Generator().manual_seed(seed)
    row, col = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    mask = torch.zeros(height, width, dtype=torch.bool)
    for y, x, radius in ((0.3, 0.3, 0.2), (0.7, 0.65, 0.25)):
        mask |= (row - y * height) ** 2 + (col - x * width) ** 2 < (radius * max(height, width)) ** 2
    z = 0.3 + 0.4 * mask + noise * torch.randn(height, width, generator=generator)
    return z.clamp(0, 1), mask


def equation_6(u: np.ndarray, z: np.ndarray, lam: float, epsilon: float, edge: float) -> float:
    """The docstring's E of one map, pixel by pixel in float64."""
    height, width = z.shape
    c1 = (z * u).sum() / u.sum() if u.sum() else 0.0
    c2 = (z * (1 - u)).sum() / (1 - u).sum() if (1 - u).sum() else 0.0
    total = 0.0
    for i in range(height):
        for j in range(width):
            z_down = (z[min(i + 1, height - 1), j] - z[max(i - 1, 0), j]) / 2
            z_right = (z[i, min(j + 1, width - 1)] - z[i, max(j - 1, 0)]) / 2
            g = 1 / (1 + edge * (z_down**2 + z_right**2))
            down = u[i + 1, j] - u[i, j] if i + 1 < height else 0.0
            right = u[i, j + 1] - u[i, j] if j + 1 < width else 0.0
            total += g * (math.sqrt(down**2 + right**2 + epsilon**2) - epsilon)
            total += lam * ((z[i, j] - c1) ** 2 * u[i, j] + (z[i, j] - c2) ** 2 * (1 - u[i, j]))
    return total


@pytest.mark.parametrize(("lam", "epsilon", "edge"), [(4.0, 0.05, 30.0), (30.0, 0.2, 0.0)])
def test_the_energy_reported_is_equation_6_and_never_rises(backend, lam, epsilon, edge):
    z = torch.stack([discs(6, 8, seed=seed)[0] for seed in (0, 1)])
    options = {"tolerance": 0, "max_iter": 6, "return_energy": True, "backend": backend.name}
    u, energy = chan_vese(z.to(backend.device), lam, epsilon, edge, **options)
    assert u.dtype == torch.float32
    assert u.min() >= 0
    assert u.max() <= 1
    for index in range(2):
        expected = equation_6(u[index].double().cpu().numpy(), z[index].double().numpy(), lam, epsilon, edge)
        assert energy[-1, index].item() == pytest.approx(expected, rel=2e-6)
    assert (energy.diff(dim=0) <= 1e-6 * energy[1:]).all()
    assert (energy[-1] < energy[0]).all()


def test_it_is_the_minimum(backend):
    """A general minimiser finds nothing lower, from the answer or from elsewhere."""
    z, _ = discs(6, 6, noise=0.1)
    lam, epsilon = 15.0, 0.1
    options = {"tolerance": 1e-6, "max_iter": 50, "return_energy": True, "backend": backend.name}
    u, energy = chan_vese(z[None].to(backend.device), lam, epsilon, **options)
    double = z.double()[None]
    g = reference.edge_weight(double, 1.0)

    def value_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        x = torch.from_numpy(flat).reshape(double.shape).requires_grad_()
        value = reference.energy(x, double, g, lam, epsilon).sum()
        value.backward()
        return value.item(), x.grad.flatten().numpy()

    for start in (u[0].double().cpu(), 0.25 + 0.5 * (z > 0.5).double()):
        bounds = [(0, 1)] * z.numel()
        best = minimize(value_and_gradient, start.flatten().numpy(), jac=True, method="L-BFGS-B", bounds=bounds)
        assert energy[-1].item() <= best.fun * (1 + 3e-4)
        assert np.abs(u[0].cpu().numpy() - best.x.reshape(z.shape)).max() < 0.05


def test_the_gradient_of_the_specification_is_that_of_its_energy():
    z = torch.stack([discs(7, 5, seed=seed)[0] for seed in (0, 1)]).double()
    u = torch.rand(z.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    g = reference.edge_weight(z, 2.0)
    reference.energy(u, z, g, 8.0, 0.05).sum().backward()
    torch.testing.assert_close(reference.gradient(u.detach(), z, g, 8.0, 0.05), u.grad, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", [(33, 35), (1, 34), (34, 1), (5, 4)])  # past one tile of 32
def test_odd_sizes_agree_with_the_specification(fast_backend, size):
    z = discs(*size)[0][None]
    options, other = {"lam": 15.0, "epsilon": 0.1, "tolerance": 1e-5, "return_energy": True}, "reference"
    if fast_backend.interpreted:  # too slow for a minimum; every step is that of cpu.py
        options, other = {"epsilon": 0.05, "tolerance": 0, "max_iter": 3, "return_energy": True}, "cpu"
    u, energy = chan_vese(z.to(fast_backend.device), backend=fast_backend.name, **options)
    expected, expected_energy = chan_vese(z, backend=other, **options)
    torch.testing.assert_close(energy[-1].cpu(), expected_energy[-1], rtol=1e-4, atol=1e-6)
    clear = (expected - 0.5).abs() > 0.1
    assert torch.equal((u.cpu() >= 0.5)[clear], (expected >= 0.5)[clear])


def test_a_long_run_never_rises_though_steps_are_undone(fast_backend):
    """At this ε the plain iteration does rise, from about its 20th step on."""
    size = 6 if fast_backend.interpreted else 48
    z = discs(size, size, noise=0.12)[0][None].to(fast_backend.device)
    options = {"tolerance": 0, "max_iter": 4 * size, "return_energy": True, "backend": fast_backend.name}
    _, energy = chan_vese(z, 12.0, 0.3, **options)
    assert (energy.diff(dim=0) <= 0).all()
    assert (energy.diff(dim=0) == 0).any()  # a step was undone


def test_the_planted_mask_is_found_in_noise():
    z, mask = discs(96, 96, noise=0.2)
    wrong, wrong_by_threshold = (
        ((found != mask).float().mean()) for found in (chan_vese(z[None])[0] >= 0.5, z > z.mean())
    )
    assert wrong < 0.02
    assert wrong_by_threshold > 0.1


def test_a_batch_is_its_maps_and_one_that_stops_early_repeats_its_energy(backend):
    options = {"epsilon": 0.6, "tolerance": 0.01, "return_energy": True, "backend": backend.name}
    maps = [discs(5, 4, noise=noise)[0][None] for noise in (0.0, 0.25)]
    u, energy = (result.cpu() for result in chan_vese(torch.cat(maps).to(backend.device), **options))
    if backend.name == "triton":
        options["backend"] = "cpu"  # the same steps, sooner
    lengths = []
    for index, z in enumerate(maps):
        alone, its_energy = chan_vese(z, **options)
        lengths.append(len(its_energy))
        torch.testing.assert_close(u[index], alone[0], rtol=0, atol=0.01)
        torch.testing.assert_close(energy[: lengths[-1], index], its_energy[:, 0], rtol=1e-5, atol=1e-5)
        assert (energy[lengths[-1] :, index] == energy[lengths[-1] - 1, index]).all()
    assert len(energy) == max(lengths)


def test_max_iter_and_tolerance_end_the_search():
    z = discs(40, 40, noise=0.2)[0][None]
    limits = [(3, 0.0), (400, 1e-2), (400, 1e-5)]
    few, coarse, fine = (len(chan_vese(z, max_iter=n, tolerance=t, return_energy=True)[1]) for n, t in limits)
    assert few == 4
    assert coarse < fine < 401


def test_constant_maps_stay_flat(backend):
    z = torch.tensor([0.0, 0.4, 1.0]).view(3, 1, 1).expand(3, 2, 3)
    u, energy = chan_vese(z.to(backend.device), epsilon=0.1, max_iter=4, return_energy=True, backend=backend.name)
    assert (u == u[:, :1, :1]).all()
    assert energy.abs().max() < 1e-4


def test_maps_of_any_layout_and_precision_are_left_alone_and_record_no_gradient(backend):
    z = discs(8, 10)[0].to(backend.device)
    options = {"epsilon": 0.2, "max_iter": 4, "backend": backend.name}
    expected = chan_vese(z.T.contiguous()[None], **options)
    turned = z.clone().requires_grad_()
    u = chan_vese(turned.T[None], **options)
    torch.testing.assert_close(u, expected)
    assert not u.requires_grad
    assert torch.equal(turned.detach(), z)
    coarse = chan_vese(z.T[None].to(torch.bfloat16), **options)
    assert coarse.dtype == torch.float32
    torch.testing.assert_close(coarse, expected, rtol=0, atol=0.1)


@pytest.mark.parametrize("shape", [(0, 4, 4), (2, 0, 4)])
def test_nothing_in_nothing_out(backend, shape):
    u, energy = chan_vese(torch.zeros(shape).to(backend.device), return_energy=True, backend=backend.name)
    assert u.shape == shape
    assert energy.shape == (1, shape[0])


def test_several_callers_at_once():
    maps = [torch.stack([discs(48, 40, seed=seed + k)[0] for k in range(3)]) for seed in range(6)]
    expected = [chan_vese(z) for z in maps]
    with ThreadPoolExecutor(6) as pool:
        for u, alone in zip(pool.map(chan_vese, maps), expected, strict=True):
            assert torch.equal(u, alone)


@pytest.mark.parametrize(
    ("z", "options", "message"),
    [
        (torch.zeros(4, 4), {}, r"z\[None\]"),
        (torch.zeros(1, 4, 4, dtype=torch.int64), {}, "floating point"),
        (torch.full((1, 2, 2), float("nan")), {}, "z holds NaN"),
        (torch.full((1, 2, 2), 1.5), {}, "spans 1.5 to 1.5"),
        (torch.full((1, 2, 2), -0.5), {}, "Rescale"),
        (torch.zeros(1, 2, 2), {"lam": 0.0}, "positive"),
        (torch.zeros(1, 2, 2), {"epsilon": float("nan")}, "positive"),
        (torch.zeros(1, 2, 2), {"edge": -1.0}, "at least 0"),
        (torch.zeros(1, 2, 2), {"tolerance": -1.0}, "at least 0"),
        (torch.zeros(1, 2, 2), {"max_iter": 0}, "at least 1"),
        (torch.zeros(1, 2, 2), {"backend": "abacus"}, "abacus"),
    ],
)
def test_bad_input_is_refused(z, options, message):
    with pytest.raises(ValueError, match=message):
        chan_vese(z, **options)
