"""SIC's loop against Algorithm 1 transcribed as slow loops, its choices one by one."""

from itertools import combinations, pairwise

import pytest
import torch

from histolab_lite.methods.sic import best, f1_on_seeds, iterate, segment
from tests.methods.seeded_blobs import blobs, clicked, seeded

# Algorithm 1, transcribed: lists of floats, one patch at a time


def distance(p: list, q: list) -> float:
    return sum((a - b) ** 2 for a, b in zip(p, q, strict=True))


def mean(points: list) -> list:
    return [sum(column) / len(points) for column in zip(*points, strict=True)]


def lloyd(x: list, centers: list) -> tuple[list, list]:
    middle = mean(x)
    tolerance = 1e-4 * sum(distance(p, middle) for p in x) / len(x) / len(middle)
    while True:
        labels = [min(range(len(centers)), key=lambda k: distance(p, centers[k])) for p in x]
        moved = [mean([p for p, label in zip(x, labels, strict=True) if label == k]) for k in range(len(centers))]
        shift = sum(map(distance, moved, centers))
        centers = moved
        if shift <= tolerance:
            return [min(range(len(centers)), key=lambda k: distance(p, centers[k])) for p in x], centers


def oracle_seeded(x: list, y: list) -> list:
    return lloyd(x, [mean([p for p, seed in zip(x, y, strict=True) if seed == k]) for k in (0, 1)])[0]


def oracle_plain(x: list, y: list, positive_mean: list) -> list:
    """The best of 2-means from every pair of points; 1 is the half with more positive than negative seeds."""
    runs = [lloyd(x, [x[i], x[j]]) for i, j in combinations(range(len(x)), 2)]
    labels, centers = min(runs, key=lambda run: sum(distance(p, run[1][k]) for p, k in zip(x, run[0], strict=True)))
    votes = [sum((s == 1) - (s == 0) for s, k in zip(y, labels, strict=True) if k == half) for half in (0, 1)]
    near = [-distance(center, positive_mean) for center in centers]
    return [int(k == max((0, 1), key=lambda half: (votes[half], near[half]))) for k in labels]


def oracle_f1(y: list, labels: list) -> float:
    pairs = [(s, k) for s, k in zip(y, labels, strict=True) if s >= 0]
    hits = sum(s == k == 1 for s, k in pairs)
    return 2 * hits / max(sum((s == 1) + (k == 1) for s, k in pairs), 1)


def algorithm_1(x: list, y: list, plain: str) -> tuple[list, list[float]]:
    labels = oracle_seeded(x, y)
    positive_mean = mean([p for p, seed in zip(x, y, strict=True) if seed == 1])
    scores = [oracle_f1(y, labels)]
    while True:
        inside = [i for i, label in enumerate(labels) if label == 1]
        x_in, y_in = [x[i] for i in inside], [y[i] for i in inside]
        last = False
        if {0, 1} <= set(y_in):
            part = oracle_seeded(x_in, y_in)
        elif ({0} if plain == "negatives" else {1}) <= set(y_in) and len(inside) > 1:
            part = oracle_plain(x_in, y_in, positive_mean)
            last = True
        else:
            return labels, scores
        new = [0] * len(x)
        for i, label in zip(inside, part, strict=True):
            new[i] = label
        scores.append(oracle_f1(y, new))
        if scores[-1] > scores[-2] or (last and scores[-1] == scores[-2] > 0):
            labels = new
            if not last:
                continue
        return labels, scores


@pytest.mark.parametrize("seed", range(30))
def test_equal_to_algorithm_1_from_any_seeds(seed):
    """Scattered points and seeds of no meaning: clusters stay mixed, so the loop runs."""
    x = torch.randn(24, 3, generator=seeded(seed))
    y = clicked(24, c0=[0, 1, 2, 3], c1=[4, 5, 6])
    labels, scores = algorithm_1(x.double().tolist(), y.tolist(), "negatives")
    steps = list(iterate(x, y))
    assert [step.score for step in steps] == pytest.approx(scores)
    assert segment(x, y).tolist() == labels


def test_those_seeds_do_run_the_loop():
    runs = [
        len(list(iterate(torch.randn(24, 3, generator=seeded(s)), clicked(24, c0=[0, 1, 2, 3], c1=[4, 5, 6]))))
        for s in range(30)
    ]
    assert max(runs) >= 3
    assert min(runs) <= 2


@pytest.mark.parametrize("seed", range(6))
def test_equal_to_algorithm_1_where_plain_k_means_divides_a_cluster_of_positives(seed):
    x, kind = blobs([[0, 0, 0], [6, 0, 0], [6, 3, 0]], [8, 8, 6], seed=seed)
    y = clicked(22, c0=1, c1=[16, 18])
    labels, scores = algorithm_1(x.double().tolist(), y.tolist(), "positives")
    steps = list(iterate(x, y, plain="positives"))
    assert [step.kind for step in steps] == ["start", "plain"]
    assert [step.score for step in steps] == pytest.approx(scores)
    assert best(steps).labels.tolist() == labels == (kind == 2).int().tolist()
    assert steps[0].labels.tolist() == (kind > 0).int().tolist() == segment(x, y).tolist()


def test_plain_k_means_is_not_kept_where_it_costs_a_positive_seed():
    x, _ = blobs([[0, 0], [6, 0], [6, 3]], [8, 8, 6])
    y = clicked(22, c0=1, c1=[9, 10, 17])  # positives in both halves
    steps = list(iterate(x, y, plain="positives"))
    assert [step.kept for step in steps] == [True, False]
    assert steps[1].score == pytest.approx(0.8)
    assert torch.equal(best(steps).labels, steps[0].labels)


@pytest.mark.parametrize("seed", [58, 103, 130])
def test_with_only_negatives_left_plain_k_means_is_shown_and_not_kept(seed):
    x = torch.randn(12, 2, generator=seeded(seed))
    y = clicked(12, c0=[0, 1, 2], c1=3)
    start, plain = iterate(x, y)
    assert (start.kind, start.score, start.kept) == ("start", 0.0, True)
    assert (plain.kind, plain.score, plain.kept) == ("plain", 0.0, False)
    assert start.labels[3] == 0  # the positive seed went to the negatives, a negative one came instead
    assert (start.labels[:3] == 1).any()
    labels, scores = algorithm_1(x.double().tolist(), y.tolist(), "negatives")
    assert (scores, segment(x, y).tolist()) == ([0.0, 0.0], labels)
    assert len(list(iterate(x, y, plain="positives"))) == 1


# The loop


def nested() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two classes of which 0 has two kinds, one far and one beside class 1: patches, classes, seeds."""
    x, kind = blobs([[-9, 0], [4, 0], [4, 3]], [30, 20, 20])
    return x, (kind == 2).long(), clicked(70, c0=[0, 1, 30], c1=[50, 51])


def test_the_second_iteration_frees_the_positive_cluster_of_its_neighbour():
    x, truth, y = nested()
    steps = list(iterate(x, y))
    assert [(step.kind, step.score, step.kept) for step in steps[:2]] == [("start", 0.8, True), ("seeded", 1.0, True)]
    assert torch.equal(segment(x, y), truth)
    assert torch.equal(segment(x, y, max_steps=0), (x[:, 0] > 0).long())


def test_every_iteration_only_takes_from_the_positive_cluster_and_every_kept_one_raises_the_score():
    for s in range(40):
        x = torch.randn(60, 3, generator=seeded(s))
        steps = list(iterate(x, clicked(60, c0=[0, 1, 2, 3, 4], c1=[5, 6, 7, 8])))
        for before, after in pairwise(steps):
            assert ((after.labels == 1) <= (before.labels == 1)).all()
            assert before.kept
            assert after.kept == (after.score > before.score)
        assert best(steps).score == max(step.score for step in steps)


def test_iterations_come_one_by_one_and_no_more_than_asked_for():
    x, _, y = nested()
    steps = iterate(x, y)
    assert next(steps).kind == "start"
    assert len(list(iterate(x, y, max_steps=1))) == 2
    with pytest.raises(ValueError, match="no iteration"):
        best([])


def test_which_class_is_positive():
    x, truth, y = nested()
    swapped = torch.where(y >= 0, 1 - y, y)
    assert torch.equal(segment(x, swapped, positive=0), 1 - truth)
    assert not torch.equal(segment(x, swapped), 1 - truth)  # class 1 alone is divided, and it has no stranger in it
    for positive in (2, -1, (), (0, 7)):
        with pytest.raises(ValueError, match=r"positive must name classes that have seeds, \[0, 1\]"):
            segment(x, y, positive=positive)


def test_any_metric_on_the_seeds_will_do():
    x, truth, y = nested()
    seen = []

    def worthless(predicted, true, positive):
        seen.append((predicted.tolist(), true.tolist(), tuple(positive)))
        return 0.5

    assert torch.equal(segment(x, y, score=worthless), segment(x, y, max_steps=0))
    assert seen[0] == ([0, 0, 1, 1, 1], [0, 0, 0, 1, 1], (1,))
    assert seen[1] == ([0, 0, 0, 1, 1], [0, 0, 0, 1, 1], (1,))


def test_score_by_hand():
    predicted, true = torch.tensor([1, 1, 0, 0, 2]), torch.tensor([1, 0, 1, 0, 2])
    assert f1_on_seeds(predicted, true, (1,)) == pytest.approx(0.5)
    assert f1_on_seeds(predicted, true, (0, 2)) == pytest.approx((0.5 + 1) / 2)
    assert f1_on_seeds(predicted, true, (5,)) == 0
