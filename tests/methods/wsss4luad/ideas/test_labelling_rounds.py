"""Labelling in rounds with networks whose predictions are known: who is asked what, and what it costs."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from histolab_lite.methods.wsss4luad.ideas.labelling_rounds import Costs, simulate_rounds
from tests.methods.refused import refused

COSTS = Costs(label=7, verify=1, review=4, correct=3)


def some_tags(n: int, k: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, (n, k))


def always(probability: float, k: int = 3):
    return lambda indices, tags: lambda asked: np.full((len(asked), k), probability)


def run(train, truth, **settings):
    return simulate_rounds(
        train, truth, COSTS, **{"n_initial": 50, "batch": 200, "threshold": 0.9, "seed": 0} | settings
    )


@settings(max_examples=60)
@given(
    n=st.integers(1, 40),
    first=st.integers(1, 40),
    batch=st.integers(1, 50),
    threshold=st.sampled_from([0.5, 0.7, 0.9, 1.0]),
    seed=st.integers(0, 99),
)
def test_every_patch_is_labelled_once_and_the_numbers_are_those_of_a_loop(n, first, batch, threshold, seed):
    truth, first = some_tags(n, 2), min(first, n)
    p = np.random.default_rng(seed).choice([0, 0.1, 0.5, 0.7, 0.9, 1], (n, 2))
    records = run(
        lambda i, t: lambda asked: p[asked], truth, n_initial=first, batch=batch, threshold=threshold, seed=seed
    )
    assert sorted(np.concatenate([record.indices for record in records])) == list(range(n))
    assert [record.number for record in records] == list(range(1 + math.ceil((n - first) / batch)))
    assert [record.known for record in records] == [0, *range(first, n, batch)]
    assert (records[0].seconds, records[0].manual_share, records[0].verified) == (7 * first, 1, 0)
    for record in records[1:]:
        kinds = {(sure, right): 0 for sure in (True, False) for right in (True, False)}
        for patch in record.indices:
            sure = all(max(q, 1 - q) >= threshold for q in p[patch])
            kinds[sure, all((q >= 0.5) == tag for q, tag in zip(p[patch], truth[patch], strict=True))] += 1
        found = [record.verified, record.missed, record.confirmed, record.corrected]
        corrected = kinds[True, False] + kinds[False, False]
        assert found == [kinds[True, True], kinds[True, False], kinds[False, True], corrected]
        assert record.manual_share == corrected / len(record.indices)
        assert (
            record.seconds
            == (found[0] + found[1]) * 1 + (len(record.indices) - found[0] - found[1]) * 4 + corrected * 3
        )


def test_the_network_learns_from_what_is_labelled_and_is_asked_about_the_rest():
    truth = some_tags(23, 2)
    seen, asked = [], []

    def train(indices, tags):
        seen.append(len(indices))
        indices[:] = 0  # a trainer that spoils its input spoils nothing else
        return lambda patches: asked.append(patches.copy()) or np.full((len(patches), 2), 0.5)

    records = run(train, truth, n_initial=5, batch=6, threshold=0.5)
    assert seen == [5, 11, 17]
    for record, patches in zip(records[1:], asked, strict=True):
        assert np.array_equal(record.indices, patches)
        assert record.confident.dtype == record.right.dtype == bool
    assert np.array_equal(records[0].indices, run(train, truth, n_initial=5)[0].indices)
    assert not np.array_equal(records[0].indices, run(train, truth, n_initial=5, seed=1)[0].indices)


def test_bad_input_is_refused():
    truth = some_tags(10)
    refused("true tags", lambda truth: run(None, truth, n_initial=1), truth[0], truth[:0], truth + 1, truth * 0.5)
    refused("n_initial is 1 to 10", lambda n: run(None, truth, n_initial=n), 0, 11)
    refused("batch", lambda: run(None, truth, n_initial=3, batch=0))
    refused("threshold", lambda value: run(None, truth, n_initial=2, threshold=value), 0.4, 1.1, math.nan)
    refused("of 5 patches and 3 tags", lambda: run(always(0, k=2), truth, n_initial=5))
    refused("no probabilities", lambda value: run(always(value), truth, n_initial=5), 1.5, -0.1, math.nan)
    refused("seconds", lambda cost: Costs(label=1, verify=cost, review=1, correct=1), -1, math.inf, math.nan)
