"""Simulated seeds, advice on where to click, scores, and SIC on phantom tissue."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from histolab_lite.data.patches import grid_patches
from histolab_lite.data.phantom import phantom_slide
from histolab_lite.methods.proto2seg import embed
from histolab_lite.methods.sic import best_and_mean, patch_f1, prepare, segment, simulate_seeds, suggest

TUMOUR = 2


# Simulated seeds


def shares() -> np.ndarray:
    """Four patches inside each of three classes, four that show two."""
    pure = np.repeat(np.eye(3), 4, axis=0)
    return np.concatenate([pure, np.tile([0.5, 0.5, 0.0], (4, 1))])


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 4), seed=st.integers(0, 10**6))
def test_seeds_lie_inside_their_class_and_grow_with_their_number(n, seed):
    seeds = simulate_seeds(shares(), n, seed=seed)
    assert seeds.dtype == torch.int64
    for name in range(3):
        places = (seeds == name).nonzero()[:, 0]
        assert len(places) == n
        assert ((places >= 4 * name) & (places < 4 * name + 4)).all()
    assert (seeds[12:] == -1).all()
    twice = np.concatenate([shares(), shares()])
    few, more = (simulate_seeds(twice, m, seed=seed) for m in (n, n + 1))
    assert (more == few)[few >= 0].all()
    assert torch.equal(simulate_seeds(torch.from_numpy(shares()), n, seed=seed), seeds)


def test_draws_differ_and_are_even():
    draws = torch.stack([simulate_seeds(shares(), 1, seed=s) for s in range(400)])
    assert ((draws >= 0).float().mean(0)[:12] - 0.25).abs().max() < 0.08


def test_classes_and_purity():
    assert set(simulate_seeds(shares(), 1, classes=[0, 2]).tolist()) == {-1, 0, 2}
    mixed = shares() * 0.8
    with pytest.raises(ValueError, match="0 patches lie inside class 1 .*2 seeds cannot be drawn"):
        simulate_seeds(mixed, 2, classes=[1])
    assert (simulate_seeds(mixed, 4, classes=[1], purity=0.8) == 1).sum() == 4
    with pytest.raises(ValueError, match="4 patches lie inside class 0"):
        simulate_seeds(shares(), 5)
    for wrong in ({"n": 0}, {"n": 1, "purity": 0.5}, {"n": 1, "purity": 1.1}):
        with pytest.raises(ValueError, match="expected fractions"):
            simulate_seeds(shares(), **wrong)
    with pytest.raises(ValueError, match="expected fractions"):
        simulate_seeds(np.ones(5), 1)


# Advice


def clouds(sizes: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    kind = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    noise = 0.3 * torch.randn(len(kind), len(sizes), generator=torch.Generator().manual_seed(0))
    return 8 * torch.eye(len(sizes))[kind] + noise, kind


def test_the_first_advice_is_the_most_typical_patch_of_all():
    x, _ = clouds([30])
    assert suggest(x, [-1] * 30) == int((x - x.mean(0)).norm(dim=1).argmin())


def test_advice_visits_every_cloud_once_before_any_twice_the_largest_first():
    x, kind = clouds([10, 40, 20, 30])
    seeds = torch.full((100,), -1)
    seeds[12] = 1  # somebody clicked in the largest
    visited = []
    for _ in range(3):
        place = suggest(x, seeds)
        assert seeds[place] == -1
        seeds[place] = kind[place]
        visited.append(kind[place].item())
    assert sorted(visited[1:] + visited[:1]) == [0, 2, 3]
    assert visited[-1] == 0


def test_advice_never_repeats_a_click_until_all_are_clicked():
    x = torch.randn(12, 3, generator=torch.Generator().manual_seed(1))
    x[3:7] = x[3]  # alike: clusters will be empty
    seeds, order = torch.full((12,), -1), []
    for _ in range(12):
        order.append(suggest(x, seeds))
        seeds[order[-1]] = 0
    assert sorted(order) == list(range(12))
    with pytest.raises(ValueError, match="every patch has been clicked"):
        suggest(x, seeds)
    alike, clicked = torch.ones(5, 2), [0, -1, -1, -1, -1]
    assert suggest(alike, clicked) != 0
    with pytest.raises(ValueError, match="one number a patch"):
        suggest(x, seeds[:5])


def test_the_same_start_gives_the_same_advice():
    x = torch.randn(80, 4, generator=torch.Generator().manual_seed(2))
    seeds = torch.full((80,), -1)
    seeds[:5] = 1
    assert len({suggest(x, seeds, start=3) for _ in range(3)}) == 1
    assert len({suggest(x, seeds, start=s) for s in range(20)}) > 1


# Scores


def test_f1_by_hand():
    predicted, true = torch.tensor([1, 1, 1, 0, 2]), torch.tensor([1, 0, 1, 1, 2])
    assert patch_f1(predicted, true, 1) == pytest.approx(2 * 2 / 6)
    assert patch_f1(predicted, true, 2) == 1
    assert patch_f1(predicted, true, 0) == 0
    assert patch_f1(predicted, true, 9) == 1


def test_best_of_the_draws_and_mean_of_them_all():
    summary = best_and_mean([[0.2, 0.4, 0.6], [0.8, 0.8, 0.8]])
    assert summary["best"] == pytest.approx(0.7)
    assert summary["best_sd"] == pytest.approx(0.2 / 2**0.5)
    assert summary["mean"] == pytest.approx(0.6)
    assert summary["draw_sd"] == pytest.approx(0.1)
    for wrong in ([0.1, 0.2], [[0.1, 0.2]], [[0.1], [0.2]]):
        with pytest.raises(ValueError, match="slides, draws"):
            best_and_mean(wrong)


# Tissue


@pytest.mark.slow
def test_three_seeds_a_class_find_tumour_on_phantom_slides():
    """Two slides, five draws each: a floor, not a result."""
    scores = []
    for slide_seed in (41, 42):
        slide = phantom_slide(slide_seed, 512, 1.0)
        patches, corners = grid_patches(slide.image, 64, 32)
        tumour = (grid_patches(slide.mask, 64, 32)[0] == TUMOUR).mean((1, 2))
        x = prepare(embed(np.ascontiguousarray(patches)), corners)
        truth = torch.from_numpy(tumour >= 0.5).long()
        draws = [simulate_seeds(np.stack([1 - tumour, tumour], 1), 3, seed=seed) for seed in range(5)]
        scores.append([patch_f1(segment(x, seeds), truth, 1) for seeds in draws])
    summary = best_and_mean(scores)
    assert summary["best"] > 0.75
