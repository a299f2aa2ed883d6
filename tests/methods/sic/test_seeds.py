"""What SIC makes of seeds: several classes, probabilities, anchored centres, and its promises for any input."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from histolab_lite.methods.sic import best, iterate, segment
from tests.methods.refused import refused
from tests.methods.sic.blobs import blobs, clicked, nested, normal


def test_few_and_many_seeds_of_classes_with_any_ids():
    x, kind = blobs([[0, 0], [6, 0], [0, 6]], [15, 10, 20])
    ids = torch.tensor([7, 2, 40])[kind]
    assert torch.equal(segment(x, clicked(45, c7=0, c2=16, c40=30)), ids)
    assert torch.equal(segment(x, ids), ids)
    assert next(iterate(x, ids)).classes == (2, 7, 40)
    assert segment(x[[0, 40]], [1, 0]).tolist() == [1, 0]


def test_seeds_at_the_same_place_end_without_an_error():
    """Both centres start at the same point: a tie everywhere, and an empty cluster."""
    x, _ = blobs([[0, 0], [5, 5]], [20, 20])
    x[21] = x[1]
    assert set(segment(x, clicked(40, c0=1, c1=21)).tolist()) == {0, 1}
    step = next(iterate(torch.ones(6, 2), [0, 1, -1, -1, -1, -1]))
    assert torch.isfinite(step.probabilities(torch.ones(6, 2))).all()


def test_of_several_classes_every_mixed_cluster_is_divided():
    """Classes 0 and 2 have a part each in the other's reach: one iteration puts both right."""
    x, kind = blobs([[0, 0], [0, 20], [3, 20], [20, 0], [20, 3]], [30, 20, 20, 20, 20])
    truth = torch.tensor([0, 0, 1, 2, 1])[kind]
    steps = list(iterate(x, clicked(110, c0=[0, 30], c1=[50, 90], c2=[70, 71])))
    assert best(steps).score == 1 > steps[0].score
    assert (best(steps).labels == truth).float().mean() > (steps[0].labels == truth).float().mean()


def test_all_of_several_classes_are_divided_at_once_in_any_order():
    left = []
    for seed in range(12):
        x, y = normal(60, 3, seed), torch.where(torch.arange(60) < 15, torch.arange(60) % 3, -1)
        steps = list(iterate(x, y))
        for step, again in zip(steps, iterate(x, y, positive=(2, 0, 1)), strict=True):
            assert torch.equal(step.labels, again.labels)
        left += [{k for k in range(3) if ((steps[0].labels == k) & (step.labels != k)).any()} for step in steps[1:2]]
    assert {0, 1, 2} in left


def test_the_half_without_seeds_goes_to_the_nearest_other_class():
    x, _ = blobs([[0, 0], [6, 0], [6, 3], [6, 40]], [8, 8, 8, 8], spread=0.1)
    y = clicked(32, c3=0, c5=8, c8=24)
    assert segment(x, y).tolist() == [3] * 8 + [5] * 16 + [8] * 8
    assert segment(x, y, positive=5, plain="positives").tolist() == [3] * 8 + [5] * 8 + [3] * 8 + [8] * 8
    x[24:, 1] -= 33  # class 8 is now the nearer one
    assert segment(x, y, positive=5, plain="positives").tolist() == [3] * 8 + [5] * 8 + [8] * 16


@pytest.mark.parametrize("anchor", [0.0, 0.3])
@pytest.mark.parametrize("k", [2, 4])
def test_the_most_probable_class_is_the_label_in_every_iteration(k, anchor):
    x = normal(200, 6, seed=k)
    for step in iterate(x, torch.where(torch.arange(200) < 5 * k, torch.arange(200) % k, -1), anchor=anchor):
        p = step.probabilities(x)
        assert p.dtype == torch.float32
        torch.testing.assert_close(p.sum(1), torch.ones(200))
        assert torch.equal(torch.tensor(step.classes)[p.argmax(1)], step.labels)
        top = p.sort(1).values
        torch.testing.assert_close(step.confidence(x), top[:, -1] - top[:, -2])


def test_probabilities_of_two_groups_by_hand():
    """On a line, groups at −2 and 2 that spread by ±1: variance 1, so the log odds of a patch at x are 4 x."""
    x = torch.tensor([[place, side] for side in (9.0, -9.0) for place in (-3.0, -1.0, 1.0, 3.0)])
    step = next(iterate(x, [0, 0, 1, 1, 0, 0, 1, 1]))
    torch.testing.assert_close(step.probabilities(x)[:, 1], torch.sigmoid(4 * x[:, 0]))


@pytest.mark.parametrize("anchor", [0.25, 1.0])
def test_anchored_centres_are_held_by_the_means_of_seeds(anchor):
    x, y = normal(40, 3, seed=5), clicked(40, c0=[0, 2], c1=[1, 3])
    means = torch.stack([x[y == k].mean(0) for k in (0, 1)])
    centers = means
    for _ in range(100):
        labels = (x[:, None] - centers).square().sum(2).argmin(1)
        centers = torch.stack([anchor * means[k] + (1 - anchor) * x[labels == k].mean(0) for k in (0, 1)])
    step = next(iterate(x, y, anchor=anchor))
    torch.testing.assert_close(step.decisions[0].centers, centers, atol=0.02, rtol=0)
    assert torch.equal(step.labels, labels)


@settings(max_examples=50)
@given(
    n=st.integers(2, 40),
    d=st.integers(1, 5),
    k=st.integers(2, 4),
    draw=st.integers(0, 10**6),
    anchor=st.sampled_from([0.0, 0.25]),
)
def test_every_patch_gets_a_class_that_has_a_seed(n, d, k, draw, anchor):
    assume(n >= k)
    y = torch.cat([torch.arange(k), torch.from_numpy(np.random.default_rng(draw).integers(-1, k, n - k))])
    labels = segment(normal(n, d, draw), y, anchor=anchor)
    assert (labels.shape, labels.dtype) == ((n,), torch.int64)
    assert set(labels.tolist()) <= set(range(k))


def test_order_types_and_strides_do_not_matter_and_the_input_stays():
    x, truth, y = nested()
    copies = x.clone(), y.clone()
    order = torch.randperm(70, generator=torch.Generator().manual_seed(3))
    assert torch.equal(segment(x[order], y[order]), truth[order])
    wide = torch.stack([x, torch.full_like(x, 7)], 2).flatten(1)[:, ::2]
    for embeddings in (wide, x.double(), x.numpy(), x.half(), np.asfortranarray(x.numpy())):
        for seeds in (y, y.numpy(), y.tolist(), y.to(torch.int8)):
            assert torch.equal(segment(embeddings, seeds), truth)
    for step in iterate(x, y, plain="positives"):
        step.confidence(x)
    assert torch.equal(x, copies[0])
    assert torch.equal(y, copies[1])
    assert not segment(x.requires_grad_(), y).requires_grad


X, Y = normal(6, 2), [0, 1, -1, -1, -1, -1]
HOLED = [torch.where(torch.arange(12).view(6, 2) == place, torch.nan, X) for place in (0, 11)]


def test_bad_input_is_refused():
    refused("got 0 seeds, none", lambda: segment(X, [-1] * 6))
    refused("got 3 seeds, all of class 1", lambda: segment(X, [1, 1, -1, -1, -1, 1]))
    refused("the class -2", lambda: segment(X, [0, 1, -2, -1, -1, -1]))
    refused("0 to 254", lambda: segment(X, [0, 1, 255, -1, -1, -1]))
    refused(r"per patch, \(6,\).*\(3,\)", lambda: segment(X, [0, 1, -1]))
    refused("whole numbers", lambda seeds: segment(X, seeds), [0.0, 1, -1, -1, -1, -1], [True, False] * 3)
    refused("embeddings", lambda x: segment(x, Y), X[0], X[:, :0], X[:0], X.long(), X[..., None])
    for anchor in (0.0, 0.5):
        refused("NaN|finite", lambda x, anchor=anchor: segment(x, Y, anchor=anchor), *HOLED)
    refused("plain", lambda: segment(X, Y, plain="always"))
    refused("max_steps", lambda: segment(X, Y, max_steps=-1))
    refused("anchor", lambda anchor: segment(X, Y, anchor=anchor), 1.1, -0.1)
    refused(r"positive .*\[0, 1\]", lambda positive: segment(X, Y, positive=positive), 2, -1, (), (0, 7))
    refused("no iteration", lambda: best([]))
