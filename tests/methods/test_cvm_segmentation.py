"""CVM's interactive half against slow transcriptions of equations 4 to 7, and on phantom tissue."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from histolab_lite.data.phantom import phantom_slide
from histolab_lite.kernels.chan_vese import chan_vese
from histolab_lite.methods.cvm import (
    ClassScores,
    encode,
    segment,
    segment_classes,
    simulate_points,
    to_grid,
    upsample,
)

TUMOUR = 2


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def halves(h: int = 16, w: int = 16, noise: float = 0.1) -> torch.Tensor:
    """Features (4, h, w): one direction in the left half, another in the right one."""
    features = noise * torch.randn(4, h, w, generator=seeded())
    features[0, :, : w // 2] += 1
    features[1, :, w // 2 :] += 1
    return features


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


# The paper's equations, transcribed


def oracle_contrast(features: list, inside: list, outside: list, eta: float) -> list:
    """Eq. 4, eq. 5 and the mean over q: z[p][i][j], from features[c][i][j]."""
    height, width = len(features[0]), len(features[0][0])

    def vector(i: int, j: int) -> list[float]:
        return [channel[i][j] for channel in features]

    def correlation(at: tuple[int, int], i: int, j: int) -> float:
        f, a = vector(*at), vector(i, j)
        return sum(x * y for x, y in zip(f, a, strict=True)) / (math.hypot(*f) * math.hypot(*a))

    z = []
    for p in inside:
        total = [[0.0] * width for _ in range(height)]
        for q in outside:
            c = [
                [max(correlation(p, i, j) - eta * correlation(q, i, j), 0.0) ** 2 for j in range(width)]
                for i in range(height)
            ]
            low, high = min(map(min, c)), max(map(max, c))
            for i in range(height):
                for j in range(width):
                    total[i][j] += (c[i][j] - low) / (high - low) / len(outside)
        z.append(total)
    return z


def oracle_regression(x: np.ndarray, y: np.ndarray, at: np.ndarray, c: float) -> np.ndarray:
    """Multinomial logistic regression by gradient descent on Σ cross-entropy + |W|² / 2c; probabilities first."""
    weights, bias, classes = np.zeros((y.max() + 1, x.shape[1])), np.zeros(y.max() + 1), np.eye(y.max() + 1)[y]
    for _ in range(20000):
        odds = np.exp(x @ weights.T + bias)
        wrong = odds / odds.sum(1, keepdims=True) - classes
        weights -= 0.05 * (wrong.T @ x + weights / c)
        bias -= 0.05 * wrong.sum(0)
    odds = np.exp(at @ weights.T + bias)
    return np.moveaxis(odds / odds.sum(-1, keepdims=True), -1, 0)


def oracle_energy(u: np.ndarray, z: np.ndarray, lam: float) -> float:
    """Eq. 6 on pixels, c1 and c2 as in the paper, plus λ Σ (z - c2)²; forward differences, g from central ones."""
    height, width = z.shape
    c1 = (z * u).sum() / max(u.sum(), 1e-12)
    c2 = (z * (1 - u)).sum() / max((1 - u).sum(), 1e-12)
    energy = 0.0
    for i in range(height):
        for j in range(width):
            down = u[i + 1, j] - u[i, j] if i + 1 < height else 0
            right = u[i, j + 1] - u[i, j] if j + 1 < width else 0
            slope_down = (z[min(i + 1, height - 1), j] - z[max(i - 1, 0), j]) / 2
            slope_right = (z[i, min(j + 1, width - 1)] - z[i, max(j - 1, 0)]) / 2
            g = 1 / (1 + slope_down**2 + slope_right**2)
            energy += g * math.hypot(down, right)
            energy += lam * ((z[i, j] - c1) ** 2 * u[i, j] + (z[i, j] - c2) ** 2 * (1 - u[i, j]))
    return energy


@pytest.mark.parametrize("eta", [0.0, 0.3, 0.6])
def test_u_is_the_stretched_mean_of_one_segmentation_an_inside_point(eta):
    features = torch.randn(3, 6, 7, generator=seeded())
    inside, outside = [(0, 0), (5, 6), (2, 3)], [(1, 4), (4, 0)]
    z = np.array(oracle_contrast(features.tolist(), inside, outside, eta))
    parts = chan_vese(torch.from_numpy(z).float(), 10.0)
    mean = [[sum(part[i, j].item() for part in parts) / 3 for j in range(7)] for i in range(6)]
    low, high = min(map(min, mean)), max(map(max, mean))
    expected = [[(value - low) / (high - low) for value in row] for row in mean]
    u = segment(features, inside, outside, eta, 10.0)
    assert u.shape == (6, 7)
    assert u.dtype == torch.float32
    np.testing.assert_allclose(u, expected, atol=2e-3)


def test_no_binary_map_has_less_energy_than_u():
    """On 3 × 3 cells all 512 segmentations can be tried; u, relaxed, must not lie above the best of them."""
    features = torch.randn(3, 3, 3, generator=seeded(4))
    z = np.array(oracle_contrast(features.tolist(), [(0, 0)], [(2, 2)], 0.6))[0]
    parts = chan_vese(torch.from_numpy(z)[None].float(), 10.0)[0].double().numpy()
    tried = (np.array(list(np.binary_repr(n, 9)), dtype=float).reshape(3, 3) for n in range(512))
    best = min(oracle_energy(u, z, 10.0) for u in tried)
    assert oracle_energy(parts, z, 10.0) <= best * 1.01
    u = segment(features, [(0, 0)], [(2, 2)], lam=10.0)
    np.testing.assert_allclose(u, (parts - parts.min()) / (parts.max() - parts.min()), atol=1e-3)


def test_multi_class_scores_are_the_mean_of_shares_and_their_segmentation():
    features = torch.randn(3, 6, 5, generator=seeded(1))
    points = {7: [(0, 0), (1, 1)], 3: [(5, 4)], 0: [(0, 4), (3, 3)]}
    answer = segment_classes(features, points, lam=5.0)
    assert answer.classes == (7, 3, 0)
    z = []
    for name in answer.classes:
        others = [point for key, clicked in points.items() if key != name for point in clicked]
        best = np.array(oracle_contrast(features.tolist(), points[name], others, 0.6)).max(0)
        z.append((best - best.min()) / (best.max() - best.min()))
    x = np.array([features[:, row, column].tolist() for name in answer.classes for row, column in points[name]])
    p = oracle_regression(x, np.array([0, 0, 1, 2, 2]), np.moveaxis(features.numpy(), 0, 2), 0.3)
    np.testing.assert_allclose(answer.contrast, z, atol=1e-4)
    shares = (np.array(z) / np.sum(z, 0) + p) / 2
    u = chan_vese(torch.from_numpy(shares).float(), 5.0).numpy()
    np.testing.assert_allclose(answer.scores, (shares + u) / 2, atol=0.01)


def test_where_no_class_contrasts_the_regression_decides():
    """Clicks of all classes on one place: no contrast, and a regression that knows only how often each was clicked."""
    answer = segment_classes(halves(), {0: [(3, 3)], 1: [(3, 3), (3, 3), (3, 3)]})
    assert (answer.ids() == 1).all()


# Clicks


def test_a_click_in_each_half_finds_the_halves():
    u = segment(halves(), [(8, 3)], [(8, 12)])
    assert u.min() == 0
    assert u.max() == 1
    assert ((u >= 0.5) == (torch.arange(16) < 8)).all()


def test_transposing_the_image_transposes_u():
    features = F.avg_pool2d(torch.randn(6, 18, 14, generator=seeded(2)), 5, 1)
    inside, outside = torch.tensor([(2, 3), (9, 1)]), torch.tensor([(12, 8), (0, 9)])
    u = segment(features, inside, outside)
    v = segment(features.transpose(1, 2), inside.flip(1), outside.flip(1))
    torch.testing.assert_close(u, v.T, atol=0.01, rtol=0)


def test_swapping_mirrored_sides_mirrors_the_segmentation():
    left = halves()[:, :, :8]
    features = torch.cat([left, left[[1, 0, 2, 3]].flip(2)], 2)
    u, v = segment(features, [(4, 1)], [(4, 14)]), segment(features, [(4, 14)], [(4, 1)])
    assert ((u >= 0.5) == (v.flip(1) >= 0.5)).all()
    assert ((u >= 0.5) == (torch.arange(16) < 8)).all()


def test_the_order_of_points_does_not_matter():
    features = torch.randn(8, 10, 10, generator=seeded(3))
    inside, outside = torch.randint(10, (2, 4, 2), generator=seeded(3))
    torch.testing.assert_close(
        segment(features, inside, outside), segment(features, inside.flip(0), outside.flip(0)), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("corner", [(0, 0), (0, 15), (15, 0), (15, 15)])
def test_points_may_lie_in_the_corners(corner):
    opposite = (15 - corner[0], 15 - corner[1])
    u = segment(halves(), [corner], [opposite])
    assert u[corner] > 0.9
    assert u[opposite] < 0.1


def test_a_map_without_contrast_gives_no_target():
    u = segment(torch.ones(4, 8, 8), [(0, 0)], [(7, 7)])
    assert (u == 0).all()


@pytest.mark.parametrize(
    ("inside", "outside", "message"),
    [
        ([(1, 1)], [], "outside holds no point"),
        ([], [(1, 1)], "inside holds no point"),
        ([(1, 16)], [(1, 1)], "off the feature grid"),
        ([(0.5, 1.0)], [(1, 1)], "whole numbers"),
    ],
)
def test_clicks_that_cannot_be_used_are_refused(inside, outside, message):
    with pytest.raises(ValueError, match=message):
        segment(halves(), inside, outside)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ({1: [(1, 1)]}, "at least two classes"),
        ({1: [(1, 1)], 2: []}, "class 2 has no point"),
        ({1: [(1, 1)], 255: [(2, 2)]}, "from 0 to 254"),
        ({"tumour": [(1, 1)], 2: [(2, 2)]}, "'tumour'"),
        ({1: [(1, 1)], 2: [(2, 2, 2)]}, "class 2 must be"),
        ({1: [(1, 16)], 2: [(2, 2)]}, "off the feature grid"),
    ],
)
def test_clicks_by_class_that_cannot_be_used_are_refused(points, message):
    with pytest.raises(ValueError, match=message):
        segment_classes(halves(), points)


# Several classes


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
    for margin in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="margin"):
            answer.ids(margin=margin)


def test_classes_clicked_at_the_same_places_tie_everywhere():
    points = {3: [(8, 3), (2, 12)], 6: [(8, 3), (2, 12)]}
    answer = segment_classes(halves(), points)
    assert (answer.ids() == 3).all()
    assert (answer.ids(margin=0.01) == 255).all()


# Tissue


@pytest.mark.slow
@pytest.mark.parametrize(("form", "floor"), [("u", 0.60), ("classes", 0.70)])
def test_five_pairs_of_clicks_outline_tumour(form, floor):
    """Three phantom tiles, three draws of points: a floor, not a result."""
    scores = []
    for tile_seed in (33, 34, 35):
        tile = phantom_slide(tile_seed, 384, 0.5)
        truth = tile.mask == TUMOUR
        features = encode(tile.image, stride=8)
        for seed in range(3):
            points = simulate_points(truth, 5, seed=seed)
            cells = {name: to_grid(drawn, truth.shape, features.shape[1:]) for name, drawn in points.items()}
            if form == "u":
                found = upsample(segment(features, cells[1], cells[0]), truth.shape).numpy() >= 0.5
            else:
                found = segment_classes(features, cells).ids(truth.shape).numpy() == 1
            scores.append(dice(found, truth))
    assert np.mean(scores) > floor, scores
