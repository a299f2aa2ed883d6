"""Contrast maps against the loops of the paper's equations 4 and 5 and the mean of equation 6."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from histolab_lite.kernels.contrast_maps import contrast_maps, cpu
from tests.kernels.support import Largest, randn


def equations(features: torch.Tensor, inside: list, outside: list, eta: float) -> torch.Tensor:
    """One pixel at a time, in float64: (C, H, W), points (row, col) -> z (P, H, W)."""
    _, h, w = features.shape
    vectors = {(i, j): features[:, i, j].double().tolist() for i in range(h) for j in range(w)}

    def cosine(f: list[float], a: list[float]) -> float:  # eq. 4; 0 for a zero vector
        norms = math.hypot(*f) * math.hypot(*a)
        return sum(x * y for x, y in zip(f, a, strict=True)) / norms if norms else 0.0

    def contrast(p: tuple[int, int], q: tuple[int, int]) -> dict:  # eq. 5
        c = {x: max(cosine(vectors[p], a) - eta * cosine(vectors[q], a), 0) ** 2 for x, a in vectors.items()}
        low, high = min(c.values()), max(c.values())
        return {x: (v - low) / (high - low) if high - low > 1e-6 else 0.0 for x, v in c.items()}

    z = torch.zeros(len(inside), h, w, dtype=torch.float64)
    for number, p in enumerate(inside):
        for q in outside:
            for (i, j), value in contrast(tuple(p), tuple(q)).items():
                z[number, i, j] += value / len(outside)
    return z


def random_case(c: int, h: int, w: int, p: int, q: int) -> tuple[torch.Tensor, list, list]:
    """Features (C, H, W) and p and q points on their grid."""
    generator = torch.Generator().manual_seed(1)
    points = [torch.stack([torch.randint(side, (n,), generator=generator) for side in (h, w)], 1) for n in (p, q)]
    return randn(c, h, w), points[0].tolist(), points[1].tolist()


def maps_by(backend, features: torch.Tensor, inside: list, outside: list, eta: float = 0.6) -> torch.Tensor:
    return contrast_maps(features.to(backend.device), inside, outside, eta, backend.name).cpu()


@settings(max_examples=25)
@given(
    sizes=st.tuples(*[st.integers(1, 6)] * 3, st.integers(1, 3), st.integers(1, 4)),
    eta=st.sampled_from([0.0, 0.6, 1.0]),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    layout=st.sampled_from(["plain", "channels last", "cut out"]),
    zero=st.booleans(),
)
def test_maps_agree_with_the_equations(backend, sizes, eta, dtype, layout, zero):
    features, inside, outside = random_case(*sizes)
    if zero:
        features[:, inside[0][0], inside[0][1]] = 0
    features = features.to(dtype)
    if layout == "channels last":
        features = features.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    elif layout == "cut out":
        features = torch.cat([features, features], 2)[:, :, : sizes[2]]
    z = maps_by(backend, features.requires_grad_(), torch.tensor(inside, dtype=torch.int32), outside, eta)
    assert z.dtype == torch.float32
    assert not z.requires_grad
    expected = equations(features.detach(), inside, outside, eta)
    torch.testing.assert_close(z.double(), expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(257, 3, 63, 17, 5), (16, 1, 2050, 1, 1)])
def test_many_slices_and_tiles_agree_with_the_reference(fast_backend, shape, monkeypatch):
    monkeypatch.setattr(cpu, "SLICE", 3 * shape[1] * shape[2] + 1)
    features, inside, outside = random_case(*shape)
    expected = contrast_maps(features.double(), inside, outside, backend="reference")
    torch.testing.assert_close(maps_by(fast_backend, features, inside, outside), expected, atol=2e-5, rtol=1e-5)


def test_a_constant_map_becomes_zero_and_still_counts_in_the_mean(backend):
    constant = torch.full((3, 5, 7), 0.3)
    parallel = randn(63, 1, 1) * (randn(1, 5, 7).abs() + 0.1)  # cosines of 1 but for rounding
    for features in (constant, parallel):
        assert maps_by(backend, features, [(0, 0)], [(4, 6)]).abs().max() == 0
    features = randn(4, 5, 6)
    assert maps_by(backend, features, [(2, 3)], [(2, 3)], 1.0).abs().max() == 0
    half = maps_by(backend, features, [(2, 3)], [(2, 3), (0, 1)], 1.0)
    torch.testing.assert_close(half, maps_by(backend, features, [(2, 3)], [(0, 1)], 1.0) / 2)


def test_only_the_reference_builds_all_pairs(backend):
    features, inside, outside = random_case(1, 6, 6, 20, 20)
    with Largest() as largest:
        maps_by(backend, features, inside, outside)
    assert (largest.numel >= 400 * 36) == (backend.name == "reference")


FEATURES = torch.ones(2, 3, 4)
POINT = [(0, 0)]


@pytest.mark.parametrize(
    ("features", "inside", "outside", "options", "message"),
    [
        (FEATURES[0], POINT, POINT, {}, r"\(C, H, W\)"),
        (FEATURES.long(), POINT, POINT, {}, "floating point"),
        (FEATURES[:, :0], POINT, POINT, {}, "empty"),
        (FEATURES, [], POINT, {}, "inside holds no point"),
        (FEATURES, POINT, torch.zeros(0, 2, dtype=torch.int64), {}, "outside holds no point"),
        (FEATURES, [(3, 0)], POINT, {}, r"inside: the point \(3, 0\)"),
        (FEATURES, POINT, [(1, 1), (0, -1)], {}, r"outside: the point \(0, -1\)"),
        (FEATURES, [(0, 4)], POINT, {}, r"grid of \(3, 4\)"),
        (FEATURES, [(0.5, 0.0)], POINT, {}, "whole numbers"),
        (FEATURES, [(True, False)], POINT, {}, "whole numbers"),
        (FEATURES, [0, 0], POINT, {}, r"\(N, 2\)"),
        (FEATURES, POINT, POINT, {"eta": 1.5}, "eta"),
        (FEATURES, POINT, POINT, {"eta": -0.1}, "eta"),
        (FEATURES * float("nan"), POINT, POINT, {}, "features holds NaN"),
        (FEATURES, POINT, POINT, {"backend": "numpy"}, "numpy"),
    ],
)
def test_bad_input_is_refused(features, inside, outside, options, message):
    with pytest.raises(ValueError, match=message):
        contrast_maps(features, inside, outside, **options)
