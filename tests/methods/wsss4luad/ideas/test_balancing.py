"""Rare classes repeated, and the mean and deviation of colour, against slow counts."""

import statistics

import numpy as np
import pytest

from histolab_lite.methods.wsss4luad.ideas.balancing import balanced_indices, channel_statistics
from tests.methods.refused import refused


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
    assert [set(times[:20]), set(times[20:27]), set(times[27:])] == [{1}, {2, 3}, {6, 7}]
    assert np.array_equal(chosen, balanced_indices(tags.astype(bool), 0))
    assert not np.array_equal(chosen, balanced_indices(tags, 1))


@pytest.mark.parametrize(
    ("share", "counts"), [(0.5, [100, 50, 50]), (0.505, [100, 51, 51]), (0.07, [100, 10, 7]), (0, [100, 10, 1])]
)
def test_the_share_says_how_far(share, counts):
    """0.07 * 100 is more than 7 in floats."""
    tags = rows(t100=100, t010=10, t001=1)
    assert tags[balanced_indices(tags, 0, share=share)].sum(0).tolist() == counts


def test_a_repeated_patch_counts_for_all_of_its_tags():
    tags = rows(t100=10, t011=2, t010=2)
    chosen = balanced_indices(tags, 0)
    assert set(chosen[14:]) <= {10, 11}  # class 2 comes first, and brings class 1 with it
    assert tags[chosen].sum(0).tolist() == [10, 12, 10]
    untagged = np.concatenate([tags, np.zeros((2, 3), int)])
    assert np.array_equal(balanced_indices(untagged, 0)[16:], chosen[14:])


def test_statistics_are_those_of_all_pixels():
    random = np.random.default_rng(0)
    patches = [random.integers(0, 256, (*size, 3)).astype(np.uint8) for size in ((4, 9), (1, 1), (6, 2))]
    mean, std = channel_statistics(patches)
    for channel in range(3):
        values = [value / 255 for patch in patches for value in patch[..., channel].ravel().tolist()]
        assert mean[channel] == pytest.approx(statistics.fmean(values), rel=1e-12)
        assert std[channel] == pytest.approx(statistics.pstdev(values), rel=1e-12)


def test_bad_input_is_refused():
    refused(r"no patch shows class \[1\]", lambda: balanced_indices(rows(t101=3), 0))
    wrong = np.zeros(3), np.zeros((0, 3)), np.full((2, 2), 2), np.full((2, 2), 0.5)
    refused("of 0 and 1", lambda tags: balanced_indices(tags, 0), *wrong)
    refused("share", lambda share: balanced_indices(rows(t1=1), 0, share=share), -0.1, 1.5)
    pixels = np.zeros((1, 4, 4, 3), np.uint8)
    refused("no pixel", channel_statistics, pixels[:0])
    refused("expected patches", channel_statistics, pixels / 255, pixels[..., 0], pixels[..., :2])
