"""Contrast maps against the loops of the paper's equations 4 and 5 and the mean of equation 6."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from histolab_lite.kernels.contrast_maps import contrast_maps


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


def made(c, h, w, p, q, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(c, h, w, generator=generator)
    clicks = [
        torch.stack([torch.randint(side, (n,), generator=generator) for side in (h, w)], 1).tolist() for n in (p, q)
    ]
    return features, *clicks


class Largest(TorchDispatchMode):
    """Numbers in the largest tensor that any operation makes."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.numel = max([self.numel, *(t.numel() for t in tree_leaves(result) if isinstance(t, torch.Tensor))])
        return result


@pytest.mark.parametrize(
    "shape",  # C, H, W, P, Q
    [(1, 1, 1, 1, 1), (4, 5, 6, 2, 3), (3, 1, 63, 1, 2), (63, 9, 1, 3, 1), (2, 4, 4, 17, 2), (5, 3, 4, 1, 20)],
)
@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_maps_agree_with_the_equations(backend, shape, eta):
    features, inside, outside = made(*shape)
    z = contrast_maps(features.to(backend.device), inside, outside, eta, backend.name).cpu()
    assert z.dtype == torch.float32
    assert z.shape == (shape[3], *shape[1:3])
    torch.testing.assert_close(z.double(), equations(features, inside, outside, eta), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(257, 7, 63, 5, 5), (8, 63, 63, 2, 3), (16, 1, 2050, 1, 1)])
def test_many_slices_and_tiles_agree_with_the_reference(backend, shape, monkeypatch):
    from histolab_lite.kernels.contrast_maps import cpu

    monkeypatch.setattr(cpu, "SLICE", 3 * shape[1] * shape[2] + 1)
    features, inside, outside = made(*shape)
    expected = contrast_maps(features.double(), inside, outside, backend="reference")
    z = contrast_maps(features.to(backend.device), inside, outside, backend=backend.name)
    torch.testing.assert_close(z.cpu(), expected, atol=2e-5, rtol=1e-5)


def test_two_kinds_of_tissue_are_told_apart(backend):
    features = torch.zeros(2, 4, 6, device=backend.device)
    features[0, :, :3], features[1, :, 3:] = 2, 5
    z = contrast_maps(features, [(0, 0), (3, 5)], [(1, 4)], backend=backend.name)
    assert z[0].tolist() == [[1, 1, 1, 0, 0, 0]] * 4
    assert z[1].tolist() == [[0, 0, 0, 1, 1, 1]] * 4  # 0.4² where both resemble it, stretched to 1


def test_a_constant_map_says_nothing(backend):
    same = torch.full((3, 5, 7), 0.3, device=backend.device)
    assert contrast_maps(same, [(0, 0)], [(4, 6)], backend=backend.name).tolist() == torch.zeros(1, 5, 7).tolist()
    generator = torch.Generator().manual_seed(0)
    direction, lengths = torch.randn(63, 1, 1, generator=generator), torch.rand(1, 5, 7, generator=generator) + 0.1
    parallel = (direction * lengths).to(backend.device)  # cosines 1 but for rounding, which is not to be stretched
    assert contrast_maps(parallel, [(0, 0)], [(4, 6)], backend=backend.name).abs().max() == 0
    features, _, _ = made(4, 5, 6, 1, 1)
    on_itself = contrast_maps(features.to(backend.device), [(2, 3)], [(2, 3)], 1.0, backend.name)
    assert on_itself.abs().max() == 0
    # Among maps of other pairs it counts as 0, and still counts.
    half = contrast_maps(features.to(backend.device), [(2, 3)], [(2, 3), (0, 1)], 1.0, backend.name)
    alone = contrast_maps(features.to(backend.device), [(2, 3)], [(0, 1)], 1.0, backend.name)
    torch.testing.assert_close(half, alone / 2)


def test_zero_vectors_resemble_nothing(backend):
    features, inside, outside = made(3, 4, 5, 2, 2)
    features[:, 1, 2] = 0
    inside[0] = [1, 2]
    z = contrast_maps(features.to(backend.device), inside, outside, backend=backend.name).cpu()
    torch.testing.assert_close(z.double(), equations(features, inside, outside, 0.6), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features(backend, dtype):
    features, inside, outside = made(32, 5, 6, 2, 2)
    features = features.to(dtype)
    z = contrast_maps(features.to(backend.device), inside, outside, backend=backend.name).cpu()
    torch.testing.assert_close(z.double(), equations(features, inside, outside, 0.6), atol=2e-5, rtol=1e-5)


def test_features_with_channels_last_and_cut_out(backend):
    features, inside, outside = made(6, 5, 7, 2, 2)
    expected = contrast_maps(features.to(backend.device), inside, outside, backend=backend.name)
    last = features.permute(1, 2, 0).contiguous().permute(2, 0, 1).to(backend.device)
    wide = torch.cat([features, features], 2).to(backend.device)[:, :, :7]
    assert not last.is_contiguous()
    for other in (last, wide):
        torch.testing.assert_close(contrast_maps(other, inside, outside, backend=backend.name), expected)


def test_points_in_any_whole_number_type_and_order(backend):
    features, inside, outside = made(3, 5, 7, 3, 4)
    features = features.to(backend.device)
    expected = contrast_maps(features, inside, outside, backend=backend.name)
    as_int32 = contrast_maps(features, torch.tensor(inside, dtype=torch.int32), outside[::-1], backend=backend.name)
    torch.testing.assert_close(as_int32, expected)


def test_no_gradient_flows(backend):
    features, inside, outside = made(3, 4, 4, 1, 1)
    z = contrast_maps(features.to(backend.device).requires_grad_(), inside, outside, backend=backend.name)
    assert not z.requires_grad


def test_only_the_reference_builds_all_pairs(backend):
    features, inside, outside = made(1, 6, 6, 20, 20)
    with Largest() as largest:
        contrast_maps(features.to(backend.device), inside, outside, backend=backend.name)
    assert (largest.numel >= 400 * 36) == (backend.name == "reference")


FEATURES = torch.ones(2, 3, 4)


@pytest.mark.parametrize(
    ("features", "inside", "outside", "options", "message"),
    [
        (FEATURES[0], [(0, 0)], [(0, 0)], {}, "must be floating point"),
        (FEATURES.long(), [(0, 0)], [(0, 0)], {}, "must be floating point"),
        (FEATURES[:, :0], [(0, 0)], [(0, 0)], {}, "is empty"),
        (FEATURES, [], [(0, 0)], {}, "inside holds no point"),
        (FEATURES, [(0, 0)], torch.zeros(0, 2, dtype=torch.int64), {}, "outside holds no point"),
        (FEATURES, [(3, 0)], [(0, 0)], {}, r"inside: the point \(3, 0\) lies off the feature grid of \(3, 4\)"),
        (FEATURES, [(0, 0)], [(1, 1), (0, -1)], {}, r"outside: the point \(0, -1\) lies off"),
        (FEATURES, [(0.5, 0.0)], [(0, 0)], {}, "whole numbers"),
        (FEATURES, [0, 0], [(0, 0)], {}, r"inside must be \(N, 2\)"),
        (FEATURES, [(0, 0)], [(0, 0)], {"eta": 1.5}, "eta must lie"),
        (torch.full((2, 3, 4), float("nan")), [(0, 0)], [(0, 0)], {}, "features holds NaN"),
        (FEATURES, [(0, 0)], [(0, 0)], {"backend": "numpy"}, "not available"),
    ],
)
def test_bad_input_is_refused(features, inside, outside, options, message):
    with pytest.raises(ValueError, match=message):
        contrast_maps(features, inside, outside, **options)
