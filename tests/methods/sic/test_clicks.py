"""Simulated seeds, suggested patches and their scores."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from histolab_lite.methods.sic import best_and_mean, patch_f1, simulate_seeds, suggest
from tests.methods.refused import refused
from tests.methods.sic.blobs import blobs, normal

#: Four patches inside each of three classes, four that show two.
SHARES = np.concatenate([np.repeat(np.eye(3), 4, axis=0), np.tile([0.5, 0.5, 0.0], (4, 1))])


@settings(max_examples=30)
@given(n=st.integers(2, 4), seed=st.integers(0, 10**6))
def test_seeds_lie_inside_their_class_and_grow_with_their_number(n, seed):
    seeds = simulate_seeds(SHARES, n, seed=seed)
    assert seeds.dtype == torch.int64
    assert (seeds[:12].view(3, 4) == torch.arange(3)[:, None]).sum(1).tolist() == [n] * 3
    assert (seeds >= 0).sum() == 3 * n
    fewer = simulate_seeds(torch.from_numpy(SHARES), n - 1, seed=seed)
    assert (seeds == fewer)[fewer >= 0].all()


def test_seeds_are_drawn_evenly_of_chosen_classes_and_of_another_purity():
    draws = torch.stack([simulate_seeds(SHARES, 1, seed=seed) for seed in range(400)])
    assert ((draws >= 0).float().mean(0)[:12] - 0.25).abs().max() < 0.08
    assert set(simulate_seeds(SHARES, 1, classes=[0, 2]).tolist()) == {-1, 0, 2}
    assert (simulate_seeds(SHARES * 0.8, 4, classes=[1], purity=0.8) == 1).sum() == 4


def test_suggestions_start_with_the_most_typical_patch_and_visit_every_cloud_before_any_twice():
    x, _ = blobs([[0, 0, 0]], [30])
    assert suggest(x, [-1] * 30) == int((x - x.mean(0)).norm(dim=1).argmin())
    x, kind = blobs((8 * torch.eye(4)).tolist(), [10, 40, 20, 30])
    seeds, visited = torch.full((100,), -1), []
    seeds[12] = 1  # somebody clicked in the largest cloud
    for _ in range(3):
        place = suggest(x, seeds)
        seeds[place] = kind[place]
        visited.append(kind[place].item())
    assert sorted(visited) == [0, 2, 3]
    assert visited[-1] == 0  # the smallest comes last


def test_no_patch_is_suggested_twice_and_the_start_decides():
    x, seeds, order = normal(12, 3, seed=1), torch.full((12,), -1), []
    x[3:7] = x[3]  # identical patches: clusters stay empty
    for _ in range(12):
        order.append(suggest(x, seeds))
        assert order[-1] == suggest(x, seeds)
        seeds[order[-1]] = 0
    assert sorted(order) == list(range(12))
    assert suggest(torch.ones(5, 2), [0, -1, -1, -1, -1]) != 0
    x, seeds = normal(80, 4), torch.tensor([1] * 5 + [-1] * 75)
    assert len({suggest(x, seeds, start=start) for start in range(20)}) > 1


def test_scores_by_hand():
    predicted, true = torch.tensor([1, 1, 1, 0, 2]), torch.tensor([1, 0, 1, 1, 2])
    assert [patch_f1(predicted, true, k) for k in (1, 2, 0, 9)] == pytest.approx([2 * 2 / 6, 1, 0, 1])
    summary = best_and_mean([[0.2, 0.4, 0.6], [0.8, 0.8, 0.8]])
    assert summary == pytest.approx({"best": 0.7, "best_sd": 0.2 / 2**0.5, "mean": 0.6, "draw_sd": 0.1})


def test_bad_input_is_refused():
    refused("0 patches lie inside class 1", lambda: simulate_seeds(SHARES * 0.8, 2, classes=[1]))
    refused("4 patches lie inside class 0", lambda: simulate_seeds(SHARES, 5))
    refused("fractions", lambda: simulate_seeds(np.ones(5), 1))
    refused("one seed", lambda: simulate_seeds(SHARES, 0))
    refused("purity", lambda purity: simulate_seeds(SHARES, 1, purity=purity), 0.5, 1.1)
    refused("every patch has been clicked", lambda: suggest(torch.ones(3, 2), [0, 1, 0]))
    refused("per patch", lambda: suggest(torch.ones(3, 2), [0, 1]))
    refused("slides, draws", best_and_mean, [0.1, 0.2], [[0.1, 0.2]], [[0.1], [0.2]])
