"""Labelling in rounds with networks whose errors are known: who is asked what, what it costs, and that it falls."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histolab_lite.methods.wsss4luad.ideas.labelling_rounds import Costs, simulate_rounds

COSTS = Costs(label=7, verify=1, review=4, correct=3)


def some_tags(n: int, k: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (n, k))


def network(truth: np.ndarray, error, sure: float = 0.95, unsure: float = 0.7):
    """Wrong about a patch with probability error(known), and then it hesitates four times out of five."""
    random = np.random.default_rng(7)

    def train(indices: np.ndarray, tags: np.ndarray):
        np.testing.assert_array_equal(tags, truth[indices])
        rate = error(len(indices))

        def predict(asked: np.ndarray) -> np.ndarray:
            p = np.where(truth[asked] == 1, sure, 1 - sure)
            wrong = random.random(len(asked)) < rate
            p[wrong, 0] = 1 - p[wrong, 0]
            hesitant = random.random(len(asked)) < np.where(wrong, 0.8, 0.1)
            p[hesitant, 0] = np.where(p[hesitant, 0] > 0.5, unsure, 1 - unsure)
            return p

        return predict

    return train


def run(train, truth, **settings):
    chosen = {"n_initial": 50, "batch": 200, "threshold": 0.9, "seed": 0} | settings
    return simulate_rounds(train, truth, COSTS, **chosen)


def test_manual_work_falls_as_the_network_learns():
    truth = some_tags(3050)
    records = run(network(truth, lambda known: 20 / known), truth, batch=1000)
    shares = [record.manual_share for record in records]
    assert shares[0] == 1
    assert shares == sorted(shares, reverse=True)
    assert shares[1] == pytest.approx(0.4, abs=0.05)
    assert shares[3] == pytest.approx(20 / 2050, abs=0.01)
    costs = [record.seconds / len(record.indices) for record in records]
    assert costs[0] > costs[1] > costs[2]  # then it is mostly looking
    better, worse = (run(network(truth, lambda known, e=e: e), truth, batch=3000)[1] for e in (0.1, 0.6))
    assert better.corrected < worse.corrected
    assert better.seconds < worse.seconds


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 40),
    first=st.integers(1, 40),
    batch=st.integers(1, 50),
    error=st.sampled_from([0.0, 0.4, 1.0]),
    seed=st.integers(0, 99),
)
def test_every_patch_is_labelled_once_and_the_books_balance(n, first, batch, error, seed):
    truth, first = some_tags(n), min(first, n)
    records = run(network(truth, lambda known: error), truth, n_initial=first, batch=batch, seed=seed)
    assert sorted(np.concatenate([record.indices for record in records])) == list(range(n))
    assert [record.number for record in records] == list(range(len(records)))
    assert len(records) == 1 + math.ceil((n - first) / batch)
    assert all(len(record.indices) == batch for record in records[1:-1])
    known = 0
    for record in records:
        m = len(record.indices)
        assert record.known == known * (record.number > 0)
        known += m
        assert record.verified + record.confirmed + record.corrected == m
        assert record.verified + record.missed == record.confident.sum()
        assert record.manual_share == record.corrected / m
        looks = record.confident.sum() * 1 + (m - record.confident.sum()) * 4
        assert record.seconds == (7 * m if record.number == 0 else looks + 3 * record.corrected)
    again = run(network(truth, lambda known: error), truth, n_initial=first, batch=batch, seed=seed)
    for a, b in zip(records, again, strict=True):
        assert np.array_equal(a.indices, b.indices)
        assert a.seconds == b.seconds


def test_one_round_by_hand():
    truth = np.array([[1, 0], [1, 0], [1, 1], [0, 1], [0, 1], [1, 0]])
    answers = np.array([[0.9, 0.1], [0.89, 0.1], [0.9, 0.0], [0.5, 1.0], [0.4, 1.0], [1.0, 0.0]])
    #  of patch:         sure, right  unsure      sure, wrong  unsure, wrong  unsure, right  sure, right
    records = run(lambda i, t: lambda asked: answers[asked], truth, n_initial=1, batch=9, threshold=0.9)
    asked = records[1].indices
    expected = np.array([[1, 1], [0, 1], [1, 0], [0, 0], [0, 1], [1, 1]], bool)[asked]
    assert np.array_equal(records[1].confident, expected[:, 0])
    assert np.array_equal(records[1].right, expected[:, 1])
    sure, right = expected.sum(0)
    kinds = [(expected == pair).all(1).sum() for pair in ((True, True), (False, True), (True, False))]
    assert [records[1].verified, records[1].confirmed, records[1].missed] == kinds
    assert records[1].corrected == 5 - right
    assert records[1].seconds == sure * 1 + (5 - sure) * 4 + (5 - right) * 3


def test_the_network_learns_from_what_is_labelled_and_is_asked_about_the_rest():
    truth = some_tags(23, 2)
    seen, asked = [], []

    def train(indices, tags):
        seen.append(indices)
        indices[:] = 0  # a trainer that spoils its input spoils nothing else
        return lambda patches: asked.append(patches.copy()) or np.full((len(patches), 2), 0.5)

    records = run(train, truth, n_initial=5, batch=6, threshold=0.5)
    assert [len(indices) for indices in seen] == [5, 11, 17]
    assert [len(patches) for patches in asked] == [6, 6, 6]
    for record, patches in zip(records[1:], asked, strict=True):
        assert np.array_equal(record.indices, patches)
        assert record.confident.all()  # at a threshold of one half nothing is uncertain
        assert np.array_equal(record.right, truth[patches].all(1))  # a probability of one half is a tag
    assert not np.array_equal(records[0].indices, run(train, truth, n_initial=5, seed=1)[0].indices)


def test_all_by_hand_needs_no_network():
    truth = some_tags(6)
    (record,) = run(None, truth, n_initial=6)
    assert (record.seconds, record.manual_share, record.verified) == (42, 1, 0)


def test_a_perfect_network_leaves_the_looking():
    truth = some_tags(100)
    records = run(lambda i, t: lambda asked: truth[asked].astype(np.float32), truth, threshold=1.0)
    assert records[1].verified == 50
    assert records[1].seconds == 50


def test_what_cannot_be_simulated_is_refused():
    truth = some_tags(10)
    train = network(truth, lambda known: 0)
    for wrong in (truth[0], truth[:0], truth + 1, truth * 0.5):
        with pytest.raises(ValueError, match="true tags"):
            run(train, wrong, n_initial=1)
    for wrong in ({"n_initial": 0}, {"n_initial": 11}, {"n_initial": 3, "batch": 0}):
        with pytest.raises(ValueError, match="of 10 patches"):
            run(train, truth, **wrong)
    for threshold in (0.4, 1.1, math.nan):
        with pytest.raises(ValueError, match="threshold"):
            run(train, truth, n_initial=2, threshold=threshold)
    with pytest.raises(ValueError, match="of 5 patches and 3 tags; got"):
        run(lambda i, t: lambda asked: np.zeros((len(asked), 2)), truth, n_initial=5)
    for value in (1.5, -0.1, math.nan):
        with pytest.raises(ValueError, match="no probabilities"):
            run(lambda i, t, p=value: lambda asked: np.full((len(asked), 3), p), truth, n_initial=5)
    for cost in (-1, math.inf, math.nan):
        with pytest.raises(ValueError, match="seconds"):
            Costs(label=1, verify=cost, review=1, correct=1)
