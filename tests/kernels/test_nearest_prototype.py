"""The nearest prototype is the one a slow loop finds."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from histolab_lite.kernels.nearest_prototype import nearest_prototype


def similarity(a: list[float], b: list[float]) -> float:
    """Proto2Seg Sect. 3.1: x·y / |x||y|, and 0 for a zero vector."""
    dot = sum(p * q for p, q in zip(a, b, strict=True))
    norms = math.sqrt(sum(p * p for p in a)) * math.sqrt(sum(q * q for q in b))
    return dot / norms if norms else 0.0


def scores_by_loop(x: torch.Tensor, prototypes: torch.Tensor, metric: str) -> list[list[float]]:
    """(N, K), larger is nearer."""
    measure = similarity if metric == "cosine" else lambda a, b: -math.dist(a, b)
    return [[measure(a, b) for b in prototypes.tolist()] for a in x.tolist()]


def assert_nearest(x: torch.Tensor, prototypes: torch.Tensor, metric: str, tolerance: float) -> None:
    index, score = nearest_prototype(x, prototypes, metric)
    expected = scores_by_loop(x, prototypes, metric)
    assert index.dtype == torch.int64
    assert score.dtype == x.dtype
    assert index.shape == score.shape == (len(x),)
    for row, i, s in zip(expected, index.tolist(), score.tolist(), strict=True):
        # Of near-ties either may win: what counts is how near the winner is.
        assert row[i] == pytest.approx(max(row), abs=tolerance)
        assert abs(s) == pytest.approx(abs(row[i]), abs=tolerance)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(0, 12),
    k=st.integers(1, 7),
    d=st.integers(1, 9),
    seed=st.integers(0, 1000),
    duplicates=st.booleans(),
    zeros=st.booleans(),
)
def test_agrees_with_the_loop(metric, n, k, d, seed, duplicates, zeros):
    generator = torch.Generator().manual_seed(seed)
    x, prototypes = torch.randn(n, d, generator=generator), torch.randn(k, d, generator=generator)
    if duplicates:
        prototypes = torch.cat([prototypes, prototypes])
    if zeros and n:
        x[0] = 0
    assert_nearest(x, prototypes, metric, 1e-5)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.half, 4e-3), (torch.bfloat16, 3e-2), (torch.double, 1e-12)])
def test_other_dtypes_including_a_zero_vector(metric, dtype, tolerance):
    generator = torch.Generator().manual_seed(0)
    x, prototypes = (torch.randn(n, 16, generator=generator).to(dtype) for n in (30, 5))
    x[3] = 0
    assert_nearest(x, prototypes, metric, tolerance if metric == "cosine" else 4 * tolerance)


def test_half_precision_features_whose_squares_overflow():
    x = torch.tensor([[300.0, 10.0], [10.0, 300.0]], dtype=torch.float16)
    index, score = nearest_prototype(x, torch.eye(2, dtype=torch.float16))
    assert index.tolist() == [0, 1]
    assert score.tolist() == pytest.approx([0.9995, 0.9995], abs=1e-3)


def test_a_dictionary_of_another_dtype_is_not_rounded_to_the_features_dtype():
    prototypes = torch.tensor([[1.0, 0.0], [1.0, 1e-4]])  # one and the same in float16
    index, _ = nearest_prototype(torch.tensor([[1.0, 1e-4]], dtype=torch.float16), prototypes, "euclidean")
    assert index.tolist() == [1]


def test_a_vector_on_a_prototype_far_from_the_origin_is_at_distance_zero():
    prototypes = torch.tensor([[1e4, 1e4], [1e4, 1e4 + 1]])
    index, score = nearest_prototype(prototypes.clone(), prototypes, "euclidean")
    assert index.tolist() == [0, 1]
    assert score.tolist() == [0, 0]


def test_a_zero_vector_is_similar_to_nothing():
    _, score = nearest_prototype(torch.zeros(2, 3), torch.randn(4, 3))
    assert score.tolist() == [0, 0]


def test_similarity_never_leaves_its_range():
    x = torch.randn(2000, 7, generator=torch.Generator().manual_seed(0))
    _, score = nearest_prototype(x, torch.cat([x, -x]))
    assert score.max() <= 1
    assert score.min() >= 0.999


def test_the_first_of_equal_prototypes_wins():
    prototypes = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    for metric in ("cosine", "euclidean"):
        assert nearest_prototype(torch.tensor([[1.0, 0.0]]), prototypes, metric)[0].tolist() == [1]


def test_one_prototype_takes_everything():
    index, score = nearest_prototype(torch.randn(5, 3), torch.randn(1, 3))
    assert index.tolist() == [0] * 5
    assert score.shape == (5,)


def test_nothing_in_nothing_out():
    index, score = nearest_prototype(torch.zeros(0, 3), torch.randn(2, 3))
    assert index.shape == score.shape == (0,)
    assert index.dtype == torch.int64


def test_non_contiguous_input():
    generator = torch.Generator().manual_seed(1)
    x, prototypes = torch.randn(6, 20, generator=generator).T[::2], torch.randn(12, 4, generator=generator)[:, ::2]
    x = x[:, :2]
    assert not x.is_contiguous()
    assert not prototypes.is_contiguous()
    for metric in ("cosine", "euclidean"):
        assert_nearest(x, prototypes, metric, 1e-5)


@pytest.mark.parametrize(
    ("x", "prototypes", "options", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 4), {}, "must share D"),
        (torch.zeros(3), torch.zeros(2, 3), {}, "must share D"),
        (torch.zeros(2, 3), torch.zeros(0, 3), {}, "dictionary is empty"),
        (torch.zeros(2, 3), torch.zeros(2, 3), {"metric": "manhattan"}, "'manhattan'"),
        (torch.zeros(2, 3), torch.zeros(2, 3), {"backend": "fpga"}, "'fpga' is not available"),
        (torch.tensor([[float("nan")]]), torch.zeros(1, 1), {}, "x holds NaN"),
        (torch.zeros(1, 1), torch.tensor([[float("inf")]]), {}, "prototypes holds NaN"),
        (torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1), {}, "floating point"),
    ],
)
def test_bad_input_is_refused(x, prototypes, options, message):
    with pytest.raises(ValueError, match=message):
        nearest_prototype(x, prototypes, **options)


def test_the_named_backend_runs():
    x, prototypes = torch.randn(5, 3), torch.randn(2, 3)
    assert torch.equal(nearest_prototype(x, prototypes)[0], nearest_prototype(x, prototypes, backend="reference")[0])
