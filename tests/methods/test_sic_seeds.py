"""What SIC makes of seeds: which it takes, of how many classes, how sure it is, and what it promises of any input."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from histolab_lite.methods.sic import best, iterate, segment
from tests.methods.seeded_blobs import blobs, clicked, seeded


def nested() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two classes of which 0 has two kinds, one far and one beside class 1: patches, classes, seeds."""
    x, kind = blobs([[-9, 0], [4, 0], [4, 3]], [30, 20, 20])
    return x, (kind == 2).long(), clicked(70, c0=[0, 1, 30], c1=[50, 51])


# Seeds


def test_one_seed_a_class_is_enough():
    x, kind = blobs([[0, 0], [5, 5]], [20, 30])
    assert torch.equal(segment(x, clicked(50, c0=3, c1=40)), kind)


def test_every_patch_a_seed():
    x, kind = blobs([[0, 0], [5, 5]], [4, 3])
    assert torch.equal(segment(x, kind), kind)
    assert segment(x[[0, 6]], [1, 0]).tolist() == [1, 0]


def test_seeds_at_one_place_end_all_the_same():
    """Both centres start at the same point: a tie everywhere, and an empty cluster."""
    x, _ = blobs([[0, 0], [5, 5]], [20, 20])
    x[21] = x[1]
    labels = segment(x, clicked(40, c0=1, c1=21))
    assert set(labels.tolist()) == {0, 1}
    alike = segment(torch.ones(6, 2), [0, 1, -1, -1, -1, -1])
    assert set(alike.tolist()) <= {0, 1}


def test_a_withdrawn_seed_leaves_no_trace():
    x = torch.randn(50, 4, generator=seeded())
    y = clicked(50, c0=[0, 1], c1=[2, 3])
    before = segment(x, y)
    y[9] = 1
    segment(x, y)
    y[9] = -1
    assert torch.equal(segment(x, y), before)


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ([-1] * 6, "got 0 seeds, none"),
        ([1, 1, -1, -1, -1, 1], "got 3 seeds, all of class 1"),
        ([0, 1, -2, -1, -1, -1], "the class -2"),
        ([0, 1, 255, -1, -1, -1], "from 0 to 254"),
        ([0, 1, -1], r"one number a patch, \(6,\).*\(3,\)"),
        ([[0, 1, -1, -1, -1, -1]], "one number a patch"),
        ([0.0, 1.0, -1.0, -1.0, -1.0, -1.0], "whole numbers"),
        ([True, False, False, True, True, True], "whole numbers"),
    ],
)
def test_seeds_that_cannot_be_used_are_refused(seeds, message):
    with pytest.raises(ValueError, match=message):
        segment(torch.randn(6, 2), seeds)


@pytest.mark.parametrize(
    "x",
    [torch.randn(6), torch.zeros(6, 0), torch.zeros(0, 3), torch.zeros(6, 2, dtype=torch.int64), torch.randn(6, 2, 1)],
)
def test_what_are_no_embeddings_is_refused(x):
    with pytest.raises(ValueError, match="embeddings must be"):
        segment(x, [0, 1, -1, -1, -1, -1])


@pytest.mark.parametrize("anchor", [0.0, 0.5])
@pytest.mark.parametrize("place", [0, 5])
def test_embeddings_that_are_not_finite_are_refused(place, anchor):
    x = torch.randn(6, 2)
    x[place, 1] = torch.nan
    with pytest.raises(ValueError, match="NaN|finite"):
        segment(x, [0, 1, -1, -1, -1, -1], anchor=anchor)


@pytest.mark.parametrize("options", [{"plain": "always"}, {"max_steps": -1}, {"anchor": 1.1}, {"anchor": -0.1}])
def test_unknown_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        segment(torch.randn(3, 2), [0, 1, -1], **options)


# Several classes


def test_three_classes_with_ids_of_their_own():
    x, kind = blobs([[0, 0], [6, 0], [0, 6]], [15, 10, 20])
    ids = torch.tensor([7, 2, 40])
    y = torch.full((45,), -1)
    y[[0, 16, 30]] = ids
    assert torch.equal(segment(x, y), ids[kind])
    assert next(iterate(x, y)).classes == (2, 7, 40)


def test_of_several_classes_every_mixed_cluster_is_divided():
    """Classes 0 and 2 have a part each in the other's reach: one iteration puts both right."""
    x, kind = blobs([[0, 0], [0, 20], [3, 20], [20, 0], [20, 3]], [30, 20, 20, 20, 20])
    truth = torch.tensor([0, 0, 1, 2, 1])[kind]
    y = clicked(110, c0=[0, 30], c1=[50, 90], c2=[70, 71])
    steps = list(iterate(x, y))
    assert best(steps).score > steps[0].score
    assert best(steps).score == 1
    assert (segment(x, y) == truth).float().mean() > (steps[0].labels == truth).float().mean()


def test_by_default_all_of_several_classes_are_divided_and_in_whichever_order():
    changed = False
    for seed in range(20):
        x = torch.randn(60, 3, generator=seeded(seed))
        y = torch.where(torch.arange(60) < 15, torch.arange(60) % 3, -1)
        steps = list(iterate(x, y))
        for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
            for step, again in zip(steps, iterate(x, y, positive=order), strict=True):
                assert torch.equal(step.labels, again.labels)
        if len(steps) > 1:  # patches have left the cluster of every class at once
            left = [((steps[0].labels == k) & (steps[1].labels != k)).any() for k in range(3)]
            changed = changed or all(left)
    assert changed


def test_the_half_without_seeds_goes_to_the_nearest_other_class():
    x, _ = blobs([[0, 0], [6, 0], [6, 3], [6, 40]], [8, 8, 8, 8], spread=0.1)
    y = clicked(32, c3=0, c5=8, c8=24)
    assert segment(x, y).tolist() == [3] * 8 + [5] * 16 + [8] * 8
    divided = segment(x, y, positive=5, plain="positives")
    assert divided.tolist() == [3] * 8 + [5] * 8 + [3] * 8 + [8] * 8
    far = x.clone()
    far[24:, 1] -= 33  # class 8 is now the nearer one
    assert segment(far, y, positive=5, plain="positives").tolist() == [3] * 8 + [5] * 8 + [8] * 16


# Soft assignment


@pytest.mark.parametrize("anchor", [0.0, 0.3])
@pytest.mark.parametrize("k", [2, 4])
def test_the_likeliest_class_is_the_label_in_every_iteration(k, anchor):
    x = torch.randn(200, 6, generator=seeded(k))
    for step in iterate(x, torch.where(torch.arange(200) < 5 * k, torch.arange(200) % k, -1), anchor=anchor):
        p = step.probabilities(x)
        assert p.shape == (200, k)
        assert p.dtype == torch.float32
        torch.testing.assert_close(p.sum(1), torch.ones(200))
        assert torch.equal(torch.tensor(step.classes)[p.argmax(1)], step.labels)
        top = p.sort(1).values
        torch.testing.assert_close(step.confidence(x), top[:, -1] - top[:, -2])


def test_probabilities_of_two_groups_by_hand():
    """On a line, groups at −2 and 2 that spread by ±1: variance 1, so the log odds of a patch at x are 4 x."""
    x = torch.tensor(
        [[-3.0, 9.0], [-1.0, 9.0], [1.0, 9.0], [3.0, 9.0], [-3.0, -9.0], [-1.0, -9.0], [1.0, -9.0], [3.0, -9.0]]
    )
    step = next(iterate(x, [0, 0, 1, 1, 0, 0, 1, 1]))
    torch.testing.assert_close(step.probabilities(x)[:, 1], torch.sigmoid(4 * x[:, 0]))


def test_confidence_is_low_between_the_clusters_and_high_within():
    x, _ = blobs([[0, 0], [4, 0]], [50, 50], spread=0.6)
    x = torch.cat([x, torch.tensor([[2.0, 0.0]])])
    step = next(iterate(x, clicked(101, c0=0, c1=60)))
    confidence = step.confidence(x)
    assert confidence[100] < 0.6
    assert confidence[:100].median() > 0.95


def test_patches_all_alike_have_probabilities():
    x = torch.ones(6, 3)
    step = next(iterate(x, [0, 1, -1, -1, -1, -1]))
    assert torch.isfinite(step.probabilities(x)).all()


# Anchored centres


def distance(p: list, q: list) -> float:
    return sum((a - b) ** 2 for a, b in zip(p, q, strict=True))


def mean(points: list) -> list:
    return [sum(column) / len(points) for column in zip(*points, strict=True)]


def test_anchored_centres_by_slow_loops():
    x = torch.randn(40, 3, generator=seeded(5))
    seeds = [0, 1, 0, 1] + [-1] * 36
    means = [mean([p for p, s in zip(x.tolist(), seeds, strict=True) if s == k]) for k in (0, 1)]
    centers = means
    for _ in range(100):
        labels = [int(distance(p, centers[1]) < distance(p, centers[0])) for p in x.tolist()]
        inside = [mean([p for p, k in zip(x.tolist(), labels, strict=True) if k == c]) for c in (0, 1)]
        centers = [
            [0.25 * s + 0.75 * m for s, m in zip(*pair, strict=True)] for pair in zip(means, inside, strict=True)
        ]
    step = next(iterate(x, seeds, anchor=0.25))
    torch.testing.assert_close(step.decisions[0].centers, torch.tensor(centers), atol=0.02, rtol=0)
    assert step.labels.tolist() == labels


def test_anchored_fully_a_patch_goes_to_the_nearest_mean_of_seeds():
    x = torch.randn(60, 3, generator=seeded(6))
    y = clicked(60, c0=[0, 1, 2], c1=[3, 4], c2=5)
    means = torch.stack([x[y == k].mean(0) for k in range(3)])
    assert torch.equal(segment(x, y, anchor=1.0, max_steps=0), torch.cdist(x, means).argmin(1))


# Any input


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(2, 40),
    d=st.integers(1, 5),
    k=st.integers(2, 4),
    draw=st.integers(0, 10**6),
    anchor=st.sampled_from([0.0, 0.25]),
)
def test_every_patch_gets_a_class_that_has_a_seed(n, d, k, draw, anchor):
    assume(n >= k)
    rng = np.random.default_rng(draw)
    x = torch.from_numpy(rng.normal(size=(n, d)).astype(np.float32))
    y = torch.full((n,), -1)
    y[:k] = torch.arange(k)
    y[k:] = torch.from_numpy(rng.integers(-1, k, n - k))
    labels = segment(x, y, anchor=anchor)
    assert labels.shape == (n,)
    assert labels.dtype == torch.int64
    assert set(labels.tolist()) <= set(range(k))


def test_order_of_patches_does_not_matter():
    x, _, y = nested()
    order = torch.randperm(70, generator=seeded(3))
    assert torch.equal(segment(x[order], y[order]), segment(x, y)[order])


def test_strides_types_and_arrays_do_not_matter_and_nothing_is_written_to():
    x, truth, y = nested()
    wide = torch.stack([x, torch.full_like(x, 7)], 2).flatten(1)[:, ::2]
    assert not wide.is_contiguous()
    for embeddings in (wide, x.double(), x.numpy(), x.half(), np.asfortranarray(x.numpy())):
        for seeds in (y, y.numpy(), y.tolist(), y.to(torch.int8)):
            assert torch.equal(segment(embeddings, seeds), truth)
    copies = x.clone(), y.clone()
    [step.confidence(x) for step in iterate(x, y, plain="positives")]
    assert torch.equal(x, copies[0])
    assert torch.equal(y, copies[1])
    x.requires_grad_()
    assert not segment(x, y).requires_grad
