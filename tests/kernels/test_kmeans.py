"""k-means: what it returns fits together, it never gets worse, and a batch is its problems one by one."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs

from histolab_lite.kernels.kmeans import KMeansResult, cpu, kmeans
from tests.kernels.support import randn

both_inits = pytest.mark.parametrize("init", ["k-means++", "random"])


def blobs(n: int, k: int, d: int = 8, seed: int = 0, spread: float = 1.0) -> torch.Tensor:
    return torch.from_numpy(make_blobs(n, d, centers=k, cluster_std=spread, random_state=seed)[0]).float()


def solve(backend, x: torch.Tensor, k: int | torch.Tensor, seed: int = 0, **options) -> KMeansResult:
    """kmeans by one backend on its device; the result comes back to the CPU."""
    if isinstance(options.get("init"), torch.Tensor):
        options["init"] = options["init"].to(backend.device)
    generator = torch.Generator(backend.device).manual_seed(seed)
    result = kmeans(x.to(backend.device), k, generator=generator, backend=backend.name, **options)
    return KMeansResult(*(field.cpu() for field in result))


def assert_consistent(x: torch.Tensor, result: KMeansResult, k: int) -> None:
    """Labels point to the nearest centre, and the inertia is the sum they give."""
    assert result.labels.shape == (len(x),)
    assert result.labels.dtype == torch.int64
    assert result.centers.shape == (k, x.shape[1])
    assert 0 <= int(result.labels.min())
    assert int(result.labels.max()) < k
    scale = float(x.double().square().sum()) + 1e-6
    squares = torch.cdist(x.double(), result.centers.double()).square()
    for distances in (squares[torch.arange(len(x)), result.labels], squares.min(1).values):
        assert result.inertia.item() == pytest.approx(distances.sum().item(), abs=1e-5 * scale)


@settings(max_examples=20)
@given(
    n=st.integers(1, 25),
    d=st.integers(1, 4),
    share=st.floats(0, 1),
    init=st.sampled_from(["k-means++", "random"]),
    kind=st.sampled_from(["scattered", "duplicates", "one and the same"]),
    seed=st.integers(0, 1000),
)
def test_result_is_consistent_on_anything(backend, n, d, share, init, kind, seed):
    x = {"scattered": randn(n, d, seed=seed), "duplicates": randn(n, d, seed=seed).round()}.get(kind, torch.ones(n, d))
    k = 1 + round(share * (n - 1))
    result = solve(backend, x, np.int64(k), init=init, n_init=2, seed=seed)
    assert_consistent(x, result, k)
    if len(x.unique(dim=0)) <= k:
        assert result.inertia.item() == pytest.approx(0, abs=1e-5)


@settings(max_examples=6)
@given(n=st.integers(6, 40), k=st.integers(1, 6), seed=st.integers(0, 1000))
def test_inertia_never_rises_with_more_iterations(backend, n, k, seed):
    x = randn(n, 3, seed=seed)
    start = 3 * randn(k, 3, seed=seed + 1)  # some centres win no point at first
    inertias = [solve(backend, x, k, init=start, max_iter=i, tol=0).inertia.item() for i in (1, 2, 3, 5, 9)]
    assert all(later <= earlier * (1 + 1e-5) for earlier, later in zip(inertias, inertias[1:], strict=False))


@pytest.mark.parametrize(("n", "k", "spread"), [(300, 6, 1.0), (150, 30, 5.0)])
def test_as_good_as_scikit_learn(backend, n, k, spread):
    x = blobs(n, k, seed=k, spread=spread)
    theirs = KMeans(k, n_init=5, random_state=0).fit(x.numpy()).inertia_
    assert solve(backend, x, k, n_init=5).inertia.item() <= 1.02 * theirs


def test_more_restarts_are_never_worse(backend):
    x = randn(80, 2, seed=4)
    inertias = [solve(backend, x, 8, init="random", n_init=r, seed=9).inertia.item() for r in (1, 3, 8)]
    assert inertias[0] >= inertias[1] >= inertias[2]
    assert inertias[2] < inertias[0]


def test_a_batch_is_its_problems_one_by_one(backend):
    x = torch.stack([blobs(60, 4, d=3, seed=seed, spread=2) for seed in range(5)])
    ks = torch.tensor([1, 4, 2, 7, 3])
    start = x[:, :7].contiguous()
    together = solve(backend, x, ks, init=start)
    for i, k in enumerate(ks.tolist()):
        alone = solve(backend, x[i], k, init=start[i, :k])
        assert torch.equal(together.labels[i], alone.labels)
        torch.testing.assert_close(together.centers[i, :k], alone.centers, atol=1e-4, rtol=1e-5)
        assert not together.centers[i, k:].any()
        assert together.inertia[i].item() == pytest.approx(alone.inertia.item(), rel=1e-4)
        assert together.n_iter[i] == alone.n_iter


@both_inits
def test_a_batch_seeds_every_problem_by_its_own_points(backend, init):
    x = torch.stack([blobs(40, 3, d=2, seed=seed, spread=0.05) + 100 * seed for seed in range(3)])
    result = solve(backend, x, torch.tensor([3, 1, 2]), init=init, n_init=8)
    for i, k in enumerate((3, 1, 2)):
        assert result.labels[i].max() < k
        best = KMeans(k, n_init=8, random_state=0).fit(x[i].numpy()).inertia_
        assert result.inertia[i].item() == pytest.approx(best, rel=0.02)


def test_an_empty_cluster_takes_over_the_far_points(backend):
    x = blobs(90, 2, d=2, spread=0.1)
    best = solve(backend, x, 2, n_init=5).inertia.item()
    lost = torch.stack([x.mean(0), torch.full((2,), 1e4)])  # nobody is near the second centre
    for start in (lost, lost.flip(0), x[:1].expand(2, 2)):
        result = solve(backend, x, 2, init=start)
        assert set(result.labels.tolist()) == {0, 1}
        assert result.inertia.item() == pytest.approx(best, rel=1e-4)


def test_far_from_the_origin_as_good_as_near_it(backend):
    x = blobs(100, 4, d=3, spread=0.5)
    near, far = (solve(backend, points, 4) for points in (x, x + 4096))
    assert far.inertia.item() == pytest.approx(near.inertia.item(), rel=1e-2)
    assert torch.equal(near.labels, far.labels)


@both_inits
def test_deterministic_under_a_generator(backend, init):
    x = randn(50, 3)
    first, again, other = (solve(backend, x, 6, init=init, n_init=2, seed=seed) for seed in (5, 5, 6))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.labels, other.labels)


def test_inputs_are_left_alone_and_record_no_gradient(backend):
    x = blobs(100, 3, d=80).requires_grad_()
    start = x[:4].detach().clone()
    before = x.detach().clone(), start.clone()
    assert not solve(backend, x, 4, init=start).centers.requires_grad
    assert not solve(backend, x, 4).centers.requires_grad
    assert torch.equal(x, before[0])
    assert torch.equal(start, before[1])


def test_non_contiguous_and_half_precision_input(backend):
    x = blobs(40, 3, d=6, spread=0.3)
    expected = solve(backend, x[:, ::2].contiguous(), 3)
    assert torch.equal(solve(backend, x[:, ::2], 3).labels, expected.labels)
    half = solve(backend, x[:, ::2].half(), 3)
    assert half.centers.dtype == torch.float32
    torch.testing.assert_close(half.inertia, expected.inertia, rtol=0.05, atol=0)


@pytest.mark.parametrize(("n", "k", "d"), [(63, 5, 257), (257, 63, 3), (70, 70, 9), (2100, 3, 2), (300, 90, 33)])
def test_from_given_centres_every_backend_goes_the_way_of_the_reference(fast_backend, n, k, d):
    x = blobs(n, min(n, 4), d=d, spread=3.0)
    start = x[torch.linspace(0, n - 1, k).long()]
    rounding = 1e-6 * (x - x.mean(0)).square().sum().item() + 1e-6  # of |x|² - 2 x·c + |c|² where they cancel
    for max_iter in (1, 4):
        result = solve(fast_backend, x, k, init=start, max_iter=max_iter, tol=0)
        expected = kmeans(x, k, init=start, max_iter=max_iter, tol=0, backend="reference")
        # A near-tie may go the other way, and the centres with it; how good they are may not.
        assert result.inertia.item() == pytest.approx(expected.inertia.item(), rel=2e-3, abs=rounding)
        assert (result.labels == expected.labels).float().mean() >= 0.98
        assert result.n_iter == expected.n_iter
        assert_consistent(x, result, k)


def test_a_long_way_to_go(fast_backend):
    """Many iterations with few changes each: bounds that are too tight would freeze a label that must change."""
    x = randn(400, 12, seed=2).cumsum(0) / 10
    options = {"init": x[:6].clone(), "max_iter": 60, "tol": 0}
    result, expected = solve(fast_backend, x, 6, **options), kmeans(x, 6, **options, backend="reference")
    assert expected.n_iter > 10
    assert result.inertia.item() == pytest.approx(expected.inertia.item(), rel=1e-3)
    assert_consistent(x, result, 6)


@both_inits
@pytest.mark.parametrize("d", [20, 300])
def test_seeds_among_few_directions_are_as_good(init, d, monkeypatch):
    """Wide data whose clusters differ in a few directions, a sample smaller than the data, empty seeds and all."""
    monkeypatch.setattr(cpu, "SAMPLE", 500)
    x = blobs(900, 6, d=d, spread=4.0) + 3 * blobs(900, 1, d=3, seed=1) @ randn(3, d)
    x = torch.stack([x, x.flip(0) + 50])
    inertias = [
        kmeans(x, torch.tensor([6, 4]), init, 4, generator=torch.Generator().manual_seed(0), backend=backend).inertia
        for backend in ("cpu", "reference")
    ]
    assert torch.all(inertias[0] <= 1.01 * inertias[1])


def test_leading_directions_hold_nearly_all_that_varies():
    x = randn(700, 10) @ randn(10, 200, seed=1) + 0.01 * randn(700, 200, seed=2)
    x -= x.mean(0)
    basis = cpu.leading_directions(x)
    torch.testing.assert_close(basis.T @ basis, torch.eye(cpu.DIRECTIONS), atol=1e-4, rtol=0)
    assert (x @ basis).square().sum() >= 0.999 * x.square().sum()


X = torch.zeros(4, 3)


@pytest.mark.parametrize(
    ("x", "k", "options", "message"),
    [
        (X[:0], 1, {}, r"number of points \(0\)"),
        (torch.zeros(0, 5, 3), 1, {}, "batch is empty"),
        (X, 5, {}, r"number of points \(4\)"),
        (X, 0, {}, "between 1 and"),
        (torch.zeros(2, 4, 3), torch.tensor([2, 5]), {}, r"number of points \(4\)"),
        (torch.zeros(2, 4, 3), torch.tensor([1, 2, 3]), {}, r"one per problem \(2\)"),
        (X[0], 1, {}, r"\(N, D\)"),
        (X * float("nan"), 1, {}, "x holds NaN"),
        (X, 2, {"init": torch.full((2, 3), float("nan"))}, "init holds NaN"),
        (X, 2, {"init": torch.zeros(1, 3)}, "starting centres"),
        (X, 2, {"init": torch.zeros(2, 2)}, "starting centres"),
        (torch.zeros(2, 4, 3), 2, {"init": torch.zeros(3, 2, 3)}, "starting centres"),
        (X, 2, {"init": "farthest"}, "'farthest'"),
        (X, 2, {"n_init": 0}, "at least 1"),
        (X, 2, {"max_iter": 0}, "at least 1"),
        (X, 2, {"backend": "abacus"}, "abacus"),
    ],
)
def test_bad_input_is_refused(x, k, options, message):
    with pytest.raises(ValueError, match=message):
        kmeans(x, k, **options)
