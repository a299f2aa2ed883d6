"""Features are computed once per image for all visitors, and use no more memory than allowed."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from demos.cvm.images import LARGEST_VIEW, Prepared, PreparedCache, make_image, prepare


def image(key: str, size=(40, 40), **more):
    return make_image(np.zeros((*size, 3), np.uint8), key, key, **more)


def entry(kilobytes: int = 1) -> Prepared:
    return Prepared(torch.zeros(256 * kilobytes), np.zeros(0, bool))


def test_ten_who_ask_at_once_share_one_answer():
    asked, begun, gate = [], threading.Event(), threading.Event()

    def make(shown):
        asked.append(shown.key)
        begun.set()
        gate.wait(20)
        return entry()

    cache = PreparedCache(10**6, make)
    with ThreadPoolExecutor(10) as pool:
        answers = [pool.submit(cache, image("a")) for _ in range(10)]
        assert begun.wait(20)
        assert cache.ready(image("a")) is None
        gate.set()
        assert len({id(answer.result(20)) for answer in answers}) == 1
    assert asked == ["a"]
    assert cache.ready(image("a")) is not None


def test_those_used_last_are_kept_within_the_limit():
    made = []
    cache = PreparedCache(3 * 1024, lambda shown: made.append(shown.key) or entry(50 if shown.key == "large" else 1))
    for key in "abcab":
        cache(image(key))
    assert made == ["a", "b", "c"]
    cache(image("d"))  # c has waited longest
    assert [key for key in "abcd" if cache.ready(image(key))] == ["a", "b", "d"]
    cache(image("large"))  # larger than the limit, and kept alone
    assert cache.ready(image("large"))
    assert len(cache) == 1


def test_a_failure_is_passed_on_and_not_kept():
    answers = iter([RuntimeError("no memory"), entry()])

    def make(shown):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    cache = PreparedCache(1024, make)
    with pytest.raises(RuntimeError, match="no memory"):
        cache(image("a"))
    assert cache.ready(image("a")) is None
    assert cache(image("a")).nbytes == 1024


def test_large_images_are_shown_smaller_and_another_scale_is_another_entry():
    made = []
    cache = PreparedCache(10**6, lambda shown: made.append(shown.work_size) or entry())
    for mpp in (None, 0.25, 0.62):  # finer than the encoder: half the size; coarser: as it is
        cache(image("a", (80, 120), mpp=mpp))
    assert made == [(80, 120), (40, 60)]
    large = image("a", (3000, 1000), mpp=0.1)
    assert 0.99 * LARGEST_VIEW < np.prod(large.view.shape[:2]) <= LARGEST_VIEW
    assert large.size == (3000, 1000)
    np.testing.assert_allclose(large.downsample, [(3e6 / LARGEST_VIEW) ** 0.5] * 2, rtol=0.01)
    assert large.work_size == pytest.approx((600, 200), abs=1)


def test_features_and_tissue_of_an_image():
    rng = np.random.default_rng(0)
    rgb = np.full((64, 96, 3), 245, np.uint8)
    rgb[:, :48] = rng.integers(80, 200, (64, 48, 3)) * np.array([1, 0.5, 0.9])
    prepared = prepare(make_image(rgb, "a", "A"))
    assert prepared.features.shape[1:] == (16, 24)
    assert prepared.tissue.shape == (64, 96)
    assert prepared.tissue[:, :40].mean() > 0.9
    assert prepared.tissue[:, 56:].mean() < 0.1
    assert prepare(make_image(np.full((40, 40, 3), 250, np.uint8), "b", "B")).tissue.all()  # nothing but glass
