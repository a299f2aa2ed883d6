"""CVM's interactive half against transcriptions of equations 4, 5 and 7."""

import math

import numpy as np
import pytest
import torch

from histolab_lite.kernels.chan_vese import chan_vese
from histolab_lite.methods.cvm import ClassScores, segment, segment_classes
from tests.methods.cvm.examples import halves, seeded


def stretched(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / (values.max() - values.min())


def oracle_contrast(features: torch.Tensor, inside: list, outside: list, eta: float) -> np.ndarray:
    """Eq. 4, eq. 5 and the mean over q: z (P, h, w)."""
    a = features.double().numpy()

    def correlation(at: tuple[int, int]) -> np.ndarray:
        f = a[:, *at]
        return np.tensordot(f, a, 1) / np.sqrt((f @ f) * (a**2).sum(0))

    def contrast(p: tuple[int, int], q: tuple[int, int]) -> np.ndarray:
        return stretched(np.maximum(correlation(p) - eta * correlation(q), 0) ** 2)

    return np.array([sum(contrast(p, q) for q in outside) / len(outside) for p in inside])


def oracle_regression(x: np.ndarray, y: np.ndarray, at: np.ndarray, c: float) -> np.ndarray:
    """Logistic regression by gradient descent on Σ cross-entropy + |W|² / 2c; two classes need one vector only."""
    weights, bias, classes = np.zeros((y.max() + 1, x.shape[1])), np.zeros(y.max() + 1), np.eye(y.max() + 1)[y]
    learnt = slice(1 if len(bias) == 2 else 0, None)
    for _ in range(20000):
        odds = np.exp(x @ weights.T + bias)
        wrong = odds / odds.sum(1, keepdims=True) - classes
        weights[learnt] -= 0.05 * (wrong.T @ x + weights / c)[learnt]
        bias[learnt] -= 0.05 * wrong.sum(0)[learnt]
    odds = np.exp(at @ weights.T + bias)
    return np.moveaxis(odds / odds.sum(-1, keepdims=True), -1, 0)


@pytest.mark.parametrize("eta", [0.0, 0.3, 0.6])
def test_u_is_the_stretched_mean_of_one_segmentation_per_inside_point(eta):
    features = torch.randn(3, 6, 7, generator=seeded())
    inside, outside = [(0, 0), (5, 6), (2, 3)], [(1, 4), (4, 0)]
    z = oracle_contrast(features, inside, outside, eta)
    u = segment(features, inside, outside, eta, 10.0)
    assert u.dtype == torch.float32
    np.testing.assert_allclose(u, stretched(chan_vese(torch.from_numpy(z).float(), 10.0).numpy().mean(0)), atol=2e-3)


@pytest.mark.parametrize(
    "points", [{7: [(0, 0), (1, 1)], 3: [(5, 4)], 0: [(0, 4), (3, 3)]}, {1: [(0, 0), (1, 1)], 0: [(5, 4)]}]
)
def test_class_scores_are_the_mean_of_shares_and_their_segmentation(points):
    features = torch.randn(3, 6, 5, generator=seeded(1))
    answer = segment_classes(features, points, eta=0.5, lam=5.0)
    assert answer.classes == tuple(points)
    z = []
    for name, own in points.items():
        others = [point for key, clicked in points.items() if key != name for point in clicked]
        z.append(stretched(oracle_contrast(features, own, others, 0.5).max(0)))
    np.testing.assert_allclose(answer.contrast, z, atol=1e-4)
    x = np.array([features[:, row, column].tolist() for own in points.values() for row, column in own])
    y = np.repeat(range(len(points)), [len(own) for own in points.values()])
    p = oracle_regression(x, y, np.moveaxis(features.numpy(), 0, 2), 0.3)
    total = np.sum(z, 0)
    shares = (np.where(total > 0, z / np.where(total > 0, total, 1), 1 / len(points)) + p) / 2
    u = chan_vese(torch.from_numpy(shares).float(), 5.0).numpy()
    np.testing.assert_allclose(answer.scores, (shares + u) / 2, atol=0.01)


def test_where_no_class_contrasts_the_regression_decides():
    """Clicks of all classes on one place: the regression knows only how often each was clicked."""
    answer = segment_classes(halves(16, 16), {0: [(3, 3)], 1: [(3, 3), (3, 3), (3, 3)]})
    assert (answer.ids() == 1).all()


def test_a_click_in_each_half_finds_the_halves():
    """With the default settings."""
    u = segment(halves(16, 16), [(8, 3)], [(8, 12)])
    assert (u.min(), u.max()) == (0, 1)
    assert ((u >= 0.5) == (torch.arange(16) < 8)).all()


def test_a_map_without_contrast_gives_no_target():
    assert (segment(torch.ones(4, 8, 8), [(0, 0)], [(7, 7)]) == 0).all()


def test_three_stripes_by_class():
    features = 0.1 * torch.randn(4, 12, 18, generator=seeded())
    for stripe in range(3):
        features[stripe, :, 6 * stripe : 6 * stripe + 6] += 1
    answer = segment_classes(features, {4: [(6, 2)], 1: [(6, 8), (2, 9)], 9: [(6, 15)]})
    expected = torch.tensor([4, 1, 9], dtype=torch.uint8).repeat_interleave(6).expand(12, 18)
    assert torch.equal(answer.ids(), expected)
    assert torch.equal(answer.ids((24, 36))[::2, ::2], expected)


def test_a_tie_goes_to_the_first_class_and_is_unsure_under_any_margin():
    scores = torch.tensor([[[0.5, 0.9, 0.2]], [[0.5, 0.1, 0.4]], [[0.1, 0.0, 0.3]]])
    answer = ClassScores((5, 2, 8), scores, torch.zeros_like(scores))
    assert answer.ids().tolist() == [[5, 5, 2]]
    assert answer.ids(margin=1e-6).tolist() == [[255, 5, 2]]
    assert answer.ids(margin=0.2).tolist() == [[255, 5, 255]]
    assert answer.ids(margin=1.0).tolist() == [[255, 255, 255]]


def ids(margin: float) -> torch.Tensor:
    return ClassScores((0, 1), torch.zeros(2, 1, 1), torch.zeros(2, 1, 1)).ids(margin=margin)


@pytest.mark.parametrize(
    ("call", "arguments", "keyword"),
    [
        (segment, ([(1, 1)], []), "outside holds no point"),
        (segment, ([], [(1, 1)]), "inside holds no point"),
        (segment, ([(1, 16)], [(1, 1)]), "off the feature grid"),
        (segment, ([(0.5, 1.0)], [(1, 1)]), "whole numbers"),
        (segment_classes, ({1: [(1, 1)]},), "at least two classes"),
        (segment_classes, ({1: [(1, 1)], 2: []},), "class 2 has no point"),
        (segment_classes, ({1: [(1, 1)], 255: [(2, 2)]},), "from 0 to 254"),
        (segment_classes, ({1: [(1, 1)], -1: [(2, 2)]},), "from 0 to 254"),
        (segment_classes, ({"tumour": [(1, 1)], 2: [(2, 2)]},), "'tumour'"),
        (segment_classes, ({True: [(1, 1)], 2: [(2, 2)]},), "True"),
        (segment_classes, ({1: [(1, 1)], 2: [(2, 2, 2)]},), "class 2 must be"),
        (ids, -0.1, "margin"),
        (ids, 1.1, "margin"),
        (ids, math.nan, "margin"),
    ],
)
def test_bad_input_is_refused(call, arguments, keyword):
    with pytest.raises(ValueError, match=keyword):
        call(arguments) if call is ids else call(halves(16, 16), *arguments)
