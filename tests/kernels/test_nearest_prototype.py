"""The nearest prototype is the one a slow loop finds, whichever implementation looks for it."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from histolab_lite.kernels.nearest_prototype import cpu, nearest_prototype
from tests.kernels.support import randn

both_metrics = pytest.mark.parametrize("metric", ["cosine", "euclidean"])


def similarity(a: list[float], b: list[float]) -> float:
    """Proto2Seg Sect. 3.1: x·y / |x||y|, and 0 for a zero vector."""
    dot = sum(p * q for p, q in zip(a, b, strict=True))
    norms = math.sqrt(sum(p * p for p in a)) * math.sqrt(sum(q * q for q in b))
    return dot / norms if norms else 0.0


def nearest(x: torch.Tensor, prototypes: torch.Tensor, metric: str, backend) -> tuple[torch.Tensor, torch.Tensor]:
    index, score = nearest_prototype(x.to(backend.device), prototypes.to(backend.device), metric, backend.name)
    assert index.dtype == torch.int64
    assert score.dtype == x.dtype
    assert index.shape == score.shape == (len(x),)
    return index.cpu(), score.cpu()


def assert_nearest(x: torch.Tensor, prototypes: torch.Tensor, metric: str, tolerance: float, backend) -> None:
    """By a loop over all pairs. Of near-ties either may win: what counts is how near the winner is."""
    measure = similarity if metric == "cosine" else lambda a, b: -math.dist(a, b)  # larger is nearer
    index, score = nearest(x, prototypes, metric, backend)
    for vector, i, s in zip(x.tolist(), index.tolist(), score.tolist(), strict=True):
        row = [measure(vector, prototype) for prototype in prototypes.tolist()]
        assert row[i] == pytest.approx(max(row), abs=tolerance)
        assert (s if metric == "cosine" else -s) == pytest.approx(row[i], abs=tolerance)


@both_metrics
@settings(max_examples=25)
@given(
    n=st.integers(0, 12),
    k=st.integers(1, 7),
    d=st.integers(1, 9),
    dtype=st.sampled_from([torch.float32, torch.half, torch.bfloat16]),
    duplicates=st.booleans(),
    zeros=st.booleans(),
    contiguous=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_agrees_with_the_loop(backend, metric, n, k, d, dtype, duplicates, zeros, contiguous, seed):
    x, prototypes = randn(n, d, seed=seed).to(dtype), randn(k, d, seed=seed + 1).to(dtype)
    if duplicates:
        prototypes = torch.cat([prototypes, prototypes])
    if zeros:
        x[:1] = 0
    if not contiguous:
        x, prototypes = (torch.stack([t, t], -1)[..., 0] for t in (x, prototypes))
    tolerance = 1e-5 if dtype == torch.float32 else 16 * torch.finfo(dtype).eps
    assert_nearest(x, prototypes, metric, tolerance, backend)


@both_metrics
@pytest.mark.parametrize(("n", "k", "d"), [(63, 5, 257), (257, 63, 3), (1, 130, 33)])
def test_sizes_that_fill_no_block(backend, metric, n, k, d):
    assert_nearest(randn(n, d), randn(k, d, seed=1), metric, 1e-4, backend)


@both_metrics
def test_rows_over_several_blocks_of_the_cpu(metric):
    x, prototypes = randn(2 * cpu.ROWS + cpu.IMAGE + 63, 6), randn(5, 6, seed=1)
    index, score = nearest_prototype(x, prototypes, metric, "cpu")
    expected_index, expected_score = nearest_prototype(x, prototypes, metric, "reference")
    torch.testing.assert_close(score, expected_score, atol=1e-5, rtol=1e-5)
    assert (index != expected_index).float().mean() < 1e-3


@both_metrics
def test_double_precision(backend, metric):
    x, prototypes = randn(30, 16).double(), randn(5, 16, seed=1).double()
    if backend.name == "triton":
        with pytest.raises(ValueError, match="float32"):
            nearest(x, prototypes, metric, backend)
    else:
        assert_nearest(x, prototypes, metric, 1e-12, backend)


def test_half_precision_features_whose_squares_overflow(backend):
    x = torch.tensor([[300.0, 10.0], [10.0, 300.0]], dtype=torch.float16)
    index, score = nearest(x, torch.eye(2, dtype=torch.float16), "cosine", backend)
    assert index.tolist() == [0, 1]
    assert score.tolist() == pytest.approx([0.9995, 0.9995], abs=1e-3)


def test_a_dictionary_of_another_dtype_is_not_rounded_to_the_features_dtype(backend):
    prototypes = torch.tensor([[1.0, 0.0], [1.003, 0.0]])  # one and the same in bfloat16
    x = torch.tensor([[1.0078125, 0.0]]).bfloat16()
    assert nearest(x, prototypes, "euclidean", backend)[0].tolist() == [1]


def test_a_vector_on_a_prototype_far_from_the_origin_is_at_distance_zero(backend):
    prototypes = torch.tensor([[1e4, 1e4], [1e4, 1e4 + 30]])
    index, score = nearest(prototypes.clone(), prototypes, "euclidean", backend)
    assert index.tolist() == [0, 1]
    assert score.tolist() == [0, 0]


def test_a_tiny_vector_has_a_direction_and_a_zero_vector_none(backend):
    x = torch.tensor([[0.0, 1e-10], [-1e-10, 0.0], [0.0, 0.0]])
    index, score = nearest(x, torch.eye(2), "cosine", backend)
    assert index[:2].tolist() == [1, 1]
    assert score.tolist() == pytest.approx([1, 0, 0], abs=1e-5)


def test_similarity_never_leaves_its_range(backend):
    x = randn(300, 7)
    _, score = nearest(x, torch.cat([x, -x]), "cosine", backend)
    assert score.max() <= 1
    assert score.min() >= 0.999


@both_metrics
@pytest.mark.parametrize("copies", [2, 100])  # within a block of prototypes, and over several
def test_the_first_of_equal_prototypes_wins(backend, metric, copies):
    prototypes = torch.tensor([[0.0, 1.0], *[[1.0, 0.0]] * copies])
    assert nearest(torch.tensor([[1.0, 0.0]] * 300), prototypes, metric, backend)[0].tolist() == [1] * 300


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of NumPy, under the interpreter
@both_metrics
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("where", [(0, 0), (299, 35)])
def test_a_feature_that_is_not_finite_is_refused(backend, metric, value, where):
    x, prototypes = randn(300, 36), randn(3, 36, seed=1)
    prototypes[1] = 0
    x[where] = value
    with pytest.raises(ValueError, match="x holds NaN or infinite"):
        nearest(x, prototypes, metric, backend)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")  # of NumPy, under the interpreter
def test_a_distance_that_the_dtype_cannot_hold_is_refused(backend):
    x, prototypes = torch.full((1, 4), 6e4).half(), torch.full((1, 4), -6e4).half()
    with pytest.raises(ValueError, match="overflow torch.float16"):
        nearest(x, prototypes, "euclidean", backend)


X = torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("x", "prototypes", "options", "message"),
    [
        (X, torch.zeros(2, 4), {}, "must share D"),
        (X[0], X, {}, "must share D"),
        (X, X[:0], {}, "dictionary is empty"),
        (X, X, {"metric": "manhattan"}, "'manhattan'"),
        (X, X, {"backend": "fpga"}, "'fpga' is not available"),
        (X, X.to("meta"), {}, "on one device"),
        (X, X + float("inf"), {}, "prototypes holds NaN"),
        (X.long(), X, {}, "floating point"),
        (X, X.long(), {}, "floating point"),
    ],
)
def test_bad_input_is_refused(x, prototypes, options, message):
    with pytest.raises(ValueError, match=message):
        nearest_prototype(x, prototypes, **options)
