"""Where patches and images are cut, against counting pixels."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histolab_lite.methods.wsss4luad.challenge.placing import SHARES, Place, place_images, place_patches
from tests.methods.refused import refused


def slides(n: int) -> list[np.ndarray]:
    """Blocks of the three classes, tumour and stroma in stripes, and white around them."""
    labels = []
    for number in range(n):
        label = np.full((150, 170), 3, np.uint8)
        label[8:-5, 6:90] = np.arange(84) // 28 % 2
        label[8:-5, 95:] = 2
        label[60:64] = 1  # a strip of stroma through the normal tissue
        labels.append(label[:, ::-1] if number % 2 else label)
    return labels


def assert_inside(labels: list[np.ndarray], places: list[Place], least: int, most: int) -> None:
    for place in places:
        window = place.cut(labels[place.slide])
        assert window.shape == (place.height, place.width)
        assert least <= min(window.shape) <= max(window.shape) <= most
        assert (window < 3).mean() >= 0.5


@settings(max_examples=15)
@given(st.integers(1, 3), st.integers(1, 60), st.integers(0, 10**6))
def test_patches_lie_in_their_slide_and_show_what_their_tags_say(n_slides, n, seed):
    labels = slides(n_slides)
    places = place_patches(labels, n, (12, 23), seed)
    assert len({place[:3] for place in places}) == len(places) == n  # no corner twice
    assert_inside(labels, places, 12, 23)
    for place in places:
        window = place.cut(labels[place.slide])
        assert place.tags == tuple(int((window == k).sum() > 0.05 * (window < 3).sum()) for k in range(3))
    spread = Counter(place.slide for place in places)
    assert max(spread.values()) - min(spread[slide] for slide in range(n_slides)) <= 1
    assert place_patches(labels, n, (12, 23), seed) == places


def test_tags_are_as_frequent_as_in_the_paper_and_sizes_do_not_tell_them():
    """A network that sees all patches at one size would read the tags from the scale."""
    places = place_patches(slides(4), 200, (12, 23), 1)
    counts = Counter(place.tags for place in places)
    mixed = sum(counts[tags] for tags in ((0, 1, 1), (1, 0, 1), (1, 1, 1)))
    assert [*(counts[tags] for tags in ((1, 1, 0), (1, 0, 0), (0, 0, 1), (0, 1, 0))), mixed] == [100, 40, 32, 26, 2]
    assert sum(share for _, share in SHARES) == pytest.approx(1)
    sizes = {tags: np.mean([p.height + p.width for p in places if p.tags == tags]) for tags in ((1, 1, 0), (0, 0, 1))}
    assert abs(sizes[1, 1, 0] - sizes[0, 0, 1]) < 2


def test_patches_keep_apart():
    def nearest(points: np.ndarray) -> float:
        apart = np.linalg.norm(points[:, None] - points[None], axis=-1) + 1e9 * np.eye(len(points))
        return float(apart.min(1).mean())

    random = np.random.default_rng(0)
    corners = np.array([place[1:3] for place in place_patches(slides(1), 12, (12, 12), 4)])
    assert nearest(corners) > np.mean([nearest(random.integers(0, 130, (12, 2))) for _ in range(20)])


def test_images_show_tissue_of_all_classes_and_lie_in_their_slide():
    labels = slides(2)
    places = place_images(labels, 18, (30, 60), 3)
    assert places == place_images(labels, 18, (30, 60), 3)
    assert len(set(places)) == 18
    assert Counter(place.slide for place in places) == {0: 9, 1: 9}
    assert_inside(labels, places, 30, 60)
    pixels = sum(np.bincount(place.cut(labels[place.slide]).ravel(), minlength=4) for place in places)[:3]
    assert (pixels > 0.15 * pixels.sum()).all()


def test_a_class_is_tagged_by_its_share_of_the_tissue_on_a_patch_as_large_as_its_slide():
    label = np.full((20, 20), 3, np.uint8)
    label[:12] = 1  # 240 pixels of tissue in 400
    label[0, :14] = 0  # 5.8 % of the tissue, 3.5 % of the patch
    assert place_patches([label], 1, (20, 20), 0) == [Place(0, 0, 0, 20, 20, (1, 1, 0))]
    assert place_images([label], 1, (20, 20), 0) == [Place(0, 0, 0, 20, 20)]


def test_slides_without_a_place_are_refused():
    no_normal = [np.where(label == 2, 3, label) for label in slides(2)]
    refused("no place for another one", lambda: place_patches(no_normal, 20, (12, 23), 0))
    refused("shows no tissue", lambda: place_images([np.full((50, 50), 3, np.uint8)], 1, (10, 20), 0))
    refused("no place for another image", lambda: place_images([slides(1)[0][:60, :60]], 2, (60, 60), 0))
