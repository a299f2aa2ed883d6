"""Rare classes repeated, and the mean and spread of colour, against slow counts."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histolab_lite.methods.wsss4luad.ideas.balancing import balanced_indices, channel_statistics


def rows(**counts: int) -> np.ndarray:
    """Tags from their digits: rows(t110=3) has [1, 1, 0] three times."""
    return np.array([[int(digit) for digit in name[1:]] for name, count in counts.items() for _ in range(count)])


def test_single_tags_end_up_equally_frequent_and_evenly_repeated():
    tags = rows(t100=20, t010=7, t001=3)
    chosen = balanced_indices(tags, 0)
    assert chosen.dtype == np.int64
    assert tags[chosen].sum(0).tolist() == [20, 20, 20]
    assert chosen[:30].tolist() == list(range(30))
    times = np.bincount(chosen, minlength=30)
    assert set(times[:20]) == {1}
    assert set(times[20:27]) == {2, 3}
    assert set(times[27:]) == {6, 7}


def test_the_share_says_how_far():
    tags = rows(t100=20, t010=10, t001=3)
    assert tags[balanced_indices(tags, 0, share=0.5)].sum(0).tolist() == [20, 10, 10]
    assert tags[balanced_indices(tags, 0, share=0.51)].sum(0).tolist() == [20, 11, 11]
    assert balanced_indices(tags, 0, share=0).tolist() == list(range(33))
    thirds = rows(t10=30, t01=1)
    assert thirds[balanced_indices(thirds, 0, share=0.1)].sum(0).tolist() == [30, 3]  # 0.1 * 30 > 3 in floats


def test_a_repeated_patch_counts_for_all_of_its_tags():
    tags = rows(t100=10, t011=2, t010=2)
    chosen = balanced_indices(tags, 0)
    assert set(chosen[14:]) <= {10, 11}  # class 2 comes first, and brings class 1 with it
    assert tags[chosen].sum(0).tolist() == [10, 12, 10]


@settings(max_examples=60, deadline=None)
@given(
    tags=st.integers(1, 4).flatmap(
        lambda k: st.lists(st.lists(st.integers(0, 1), min_size=k, max_size=k), min_size=1, max_size=12)
    ),
    share=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 99),
)
def test_every_class_reaches_its_number_and_patches_of_rare_classes_alone_are_repeated(tags, share, seed):
    tags = np.array(tags)
    tags[0] = 1  # no class is without a patch
    chosen = balanced_indices(tags.astype(bool), seed, share=share)
    before, after = tags.sum(0), tags[chosen].sum(0)
    wanted = math.ceil(share * before.max() - 1e-9)
    assert (after >= np.maximum(before, wanted)).all()
    assert sorted(set(chosen)) == list(range(len(tags)))
    rare = before < wanted
    assert all(tags[index, rare].any() for index in chosen[len(tags) :])
    assert np.array_equal(chosen, balanced_indices(tags, seed, share=share))


def test_the_seed_decides_who_is_repeated():
    tags = rows(t10=100, t01=60)
    assert not np.array_equal(balanced_indices(tags, 0), balanced_indices(tags, 1))


def test_tags_that_cannot_be_balanced_are_refused():
    with pytest.raises(ValueError, match=r"no patch shows class \[1\]"):
        balanced_indices(rows(t101=3), 0)
    for wrong in (np.zeros(3), np.zeros((0, 3)), np.full((2, 2), 2), np.full((2, 2), 0.5)):
        with pytest.raises(ValueError, match="of 0 and 1"):
            balanced_indices(wrong, 0)
    with pytest.raises(ValueError, match="share"):
        balanced_indices(rows(t10=1, t01=1), 0, share=1.5)


@pytest.mark.parametrize("sizes", [[(7, 5)] * 3, [(4, 9), (1, 1), (6, 2)]])
def test_statistics_are_those_of_all_pixels_in_one_heap(sizes):
    random = np.random.default_rng(0)
    patches = [random.integers(0, 256, (*size, 3)).astype(np.uint8) for size in sizes]
    pixels = [pixel for patch in patches for pixel in patch.reshape(-1, 3).tolist()]
    mean, std = channel_statistics(patches)
    assert mean.shape == std.shape == (3,)
    for channel in range(3):
        values = [pixel[channel] / 255 for pixel in pixels]
        expected = sum(values) / len(values)
        assert mean[channel] == pytest.approx(expected, rel=1e-12)
        variance = sum((value - expected) ** 2 for value in values) / len(values)
        assert std[channel] == pytest.approx(math.sqrt(variance), rel=1e-12)
    if len(set(sizes)) == 1:
        np.testing.assert_array_equal(channel_statistics(np.stack(patches)[:, ::-1])[0], mean)


def test_a_flat_colour_has_no_spread_and_no_pixel_no_mean():
    mean, std = channel_statistics(np.full((2, 3, 3, 3), 51, np.uint8))
    np.testing.assert_allclose(mean, 0.2)
    np.testing.assert_allclose(std, 0, atol=1e-12)
    with pytest.raises(ValueError, match="no pixel"):
        channel_statistics(np.zeros((0, 4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match="float64"):
        channel_statistics(np.zeros((1, 4, 4, 3)))
    with pytest.raises(ValueError, match=r"\(4, 4\)"):
        channel_statistics(np.zeros((1, 4, 4), np.uint8))
