"""SIC's loop against Algorithm 1 transcribed without the library, its choices one by one."""

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch

from histolab_lite.methods.sic import best, f1_on_seeds, iterate, segment
from tests.methods.sic.blobs import blobs, clicked, nested, normal


def squares(x: np.ndarray, centers: np.ndarray) -> np.ndarray:
    return ((x[:, None] - centers) ** 2).sum(2)


def lloyd(x: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shift = np.inf
    while shift > 1e-4 * x.var(0).mean():
        labels = squares(x, centers).argmin(1)
        moved = np.stack([x[labels == k].mean(0) for k in range(len(centers))])
        shift, centers = ((moved - centers) ** 2).sum(), moved
    return squares(x, centers).argmin(1), centers


def oracle_plain(x: np.ndarray, y: np.ndarray, positive_mean: np.ndarray) -> np.ndarray:
    """The best of 2-means from every pair of points; 1 is the half with more positive than negative seeds."""
    runs = [lloyd(x, x[[i, j]]) for i, j in combinations(range(len(x)), 2)]
    labels, centers = min(runs, key=lambda run: squares(x, run[1]).min(1).sum())
    votes = [(y[labels == half] == 1).sum() - (y[labels == half] == 0).sum() for half in (0, 1)]
    far = squares(centers, positive_mean[None])[:, 0]
    return labels == max((0, 1), key=lambda half: (votes[half], -far[half]))


def oracle_f1(y: np.ndarray, labels: np.ndarray) -> float:
    true, claimed = y == 1, (labels == 1) & (y >= 0)
    return 2 * (true & claimed).sum() / max(true.sum() + claimed.sum(), 1)


def algorithm_1(x: np.ndarray, y: np.ndarray, plain: str = "negatives") -> tuple[list, list[float]]:
    labels = lloyd(x, np.stack([x[y == k].mean(0) for k in (0, 1)]))[0]
    scores, last = [oracle_f1(y, labels)], False
    while not last:
        inside = labels == 1
        seeds = set(y[inside]) - {-1}
        if seeds == {0, 1}:
            part = lloyd(x[inside], np.stack([x[inside & (y == k)].mean(0) for k in (0, 1)]))[0]
        elif seeds == ({0} if plain == "negatives" else {1}) and inside.sum() > 1:
            part, last = oracle_plain(x[inside], y[inside], x[y == 1].mean(0)), True
        else:
            break
        divided = np.zeros_like(labels)
        divided[inside] = part
        scores.append(oracle_f1(y, divided))
        if not (scores[-1] > scores[-2] or (last and scores[-1] == scores[-2] > 0)):
            break
        labels = divided
    return labels.tolist(), scores


def test_the_loop_is_algorithm_1():
    """Scattered points and seeds without meaning: clusters stay mixed, so the loop runs."""
    lengths = []
    for seed in range(30):
        x, y = normal(24, 3, seed), clicked(24, c0=[0, 1, 2, 3], c1=[4, 5, 6])
        labels, scores = algorithm_1(x.double().numpy(), y.numpy())
        steps = list(iterate(x, y))
        assert [step.score for step in steps] == pytest.approx(scores)
        assert segment(x, y).tolist() == labels
        for before, after in pairwise(steps):
            assert before.kept
            assert after.kept == (after.score > before.score)
            assert ((after.labels == 1) <= (before.labels == 1)).all()  # patches only leave the positive cluster
        lengths.append(len(steps))
    assert min(lengths) <= 2 < max(lengths)


@pytest.mark.parametrize("seed", range(6))
def test_plain_k_means_divides_a_cluster_of_positives_as_algorithm_1_does(seed):
    x, kind = blobs([[0, 0, 0], [6, 0, 0], [6, 3, 0]], [8, 8, 6], seed=seed)
    y = clicked(22, c0=1, c1=[16, 18])
    labels, scores = algorithm_1(x.double().numpy(), y.numpy(), "positives")
    steps = list(iterate(x, y, plain="positives"))
    assert [(step.kind, step.score) for step in steps] == [("start", scores[0]), ("plain", pytest.approx(scores[1]))]
    assert best(steps).labels.tolist() == labels == (kind == 2).int().tolist()
    assert steps[0].labels.tolist() == (kind > 0).int().tolist() == segment(x, y).tolist()


def test_plain_k_means_is_not_kept_where_it_costs_a_positive_seed():
    x, _ = blobs([[0, 0], [6, 0], [6, 3]], [8, 8, 6])
    start, plain = iterate(x, clicked(22, c0=1, c1=[9, 10, 17]), plain="positives")  # positives in both halves
    assert (plain.score, plain.kept) == (pytest.approx(0.8), False)
    assert best([start, plain]) is start


def test_of_halves_with_as_many_seeds_the_nearer_to_the_mean_of_the_seeds_is_positive():
    x = torch.tensor([-40.0, -41, 0, 1, 2, 10, 11, 12])[:, None]  # of the halves the means are 1 and 11, of the seeds 7
    _, plain = iterate(x, clicked(8, c0=0, c1=[4, 7]), plain="positives")
    assert plain.labels.tolist() == [0] * 5 + [1] * 3


@pytest.mark.parametrize("seed", [58, 103, 130])
def test_with_only_negatives_left_plain_k_means_is_shown_and_not_kept(seed):
    x, y = normal(12, 2, seed), clicked(12, c0=[0, 1, 2], c1=3)
    start, plain = iterate(x, y)
    assert (start.kind, start.score, start.kept) == ("start", 0.0, True)
    assert (plain.kind, plain.score, plain.kept) == ("plain", 0.0, False)
    assert algorithm_1(x.double().numpy(), y.numpy()) == (segment(x, y).tolist(), [0.0, 0.0])
    assert len(list(iterate(x, y, plain="positives"))) == 1


def test_the_second_iteration_frees_the_positive_cluster_of_its_neighbour():
    x, truth, y = nested()
    steps = list(iterate(x, y))
    assert [(step.kind, step.score, step.kept) for step in steps[:2]] == [("start", 0.8, True), ("seeded", 1.0, True)]
    assert torch.equal(segment(x, y), truth)
    assert torch.equal(segment(x, y, max_steps=0), (x[:, 0] > 0).long())
    assert len(list(iterate(x, y, max_steps=1))) == 2
    swapped = torch.where(y >= 0, 1 - y, y)
    assert torch.equal(segment(x, swapped, positive=0), 1 - truth)
    assert not torch.equal(segment(x, swapped), 1 - truth)


def test_any_score_on_the_seeds_can_be_used_and_f1_is_by_hand():
    x, _, y = nested()
    seen = []

    def constant(predicted, true, positive):
        seen.append((predicted.tolist(), true.tolist(), tuple(positive)))
        return 0.5

    assert torch.equal(segment(x, y, score=constant), segment(x, y, max_steps=0))
    assert seen == [([0, 0, 1, 1, 1], [0, 0, 0, 1, 1], (1,)), ([0, 0, 0, 1, 1], [0, 0, 0, 1, 1], (1,))]
    predicted, true = torch.tensor([1, 1, 0, 0, 2]), torch.tensor([1, 0, 1, 0, 2])
    assert [f1_on_seeds(predicted, true, k) for k in ((1,), (0, 2), (5,))] == [0.5, 0.75, 0]
