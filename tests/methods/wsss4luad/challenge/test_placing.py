"""Where patches and pictures are cut, against counting pixels."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histolab_lite.methods.wsss4luad.challenge.placing import SHARES, Place, place_patches, place_pictures


def slides(n: int, size: tuple[int, int] = (150, 170), seed: int = 0) -> list[np.ndarray]:
    """Blocks of the three classes, tumour and stroma in stripes, and white around them."""
    labels = []
    for number in range(n):
        label = np.full(size, 3, np.uint8)
        label[8:-5, 6:90] = np.arange(84) // 28 % 2
        label[8:-5, 95:] = 2
        label[60:64] = 1  # a strip of stroma through the normal tissue
        labels.append(label[:, ::-1] if number % 2 else label)
    return labels


def tags_of(window: np.ndarray) -> tuple[int, ...]:
    tissue = sum(int(v) < 3 for v in window.flat)
    return tuple(int(sum(int(v) == k for v in window.flat) > 0.05 * tissue) for k in range(3))


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 3), st.integers(1, 60), st.integers(0, 10**6))
def test_patches_lie_in_their_slide_and_show_what_their_tags_say(n_slides, n, seed):
    labels = slides(n_slides)
    places = place_patches(labels, n, (12, 23), seed)
    assert len(places) == n
    assert len({place[:3] for place in places}) == n  # no corner twice
    for place in places:
        window = place.cut(labels[place.slide])
        assert window.shape == (place.height, place.width)
        assert 12 <= min(window.shape)
        assert max(window.shape) <= 23
        assert (window < 3).mean() >= 0.5
        assert tags_of(window) == place.tags
    spread = Counter(place.slide for place in places)
    assert max(spread.values()) - min(spread.get(slide, 0) for slide in range(n_slides)) <= 1
    assert place_patches(labels, n, (12, 23), seed) == places


def test_tags_are_as_unequal_as_in_the_paper():
    counts = Counter(place.tags for place in place_patches(slides(3), 200, (12, 23), 1))
    mixed = sum(counts[tags] for tags in ((0, 1, 1), (1, 0, 1), (1, 1, 1)))
    named = [counts[tags] for tags in ((1, 1, 0), (1, 0, 0), (0, 0, 1), (0, 1, 0))]
    assert [*named, mixed] == [100, 40, 32, 26, 2]
    assert sum(share for _, share in SHARES) == pytest.approx(1)
    assert named == sorted(named, reverse=True)  # the order of Sect. III-D1


def test_patches_keep_apart():
    places = place_patches(slides(1), 12, (12, 12), 4)
    random = np.random.default_rng(0)
    corners = np.array([place[1:3] for place in places])

    def nearest(points: np.ndarray) -> float:
        apart = np.linalg.norm(points[:, None] - points[None], axis=-1) + 1e9 * np.eye(len(points))
        return float(apart.min(1).mean())

    chance = [nearest(random.integers(0, 130, (12, 2))) for _ in range(20)]
    assert nearest(corners) > np.mean(chance)


def test_sizes_do_not_tell_the_tags():
    """A network that sees all patches at one size would read the tag off the scale."""
    places = place_patches(slides(4), 300, (12, 23), 2)
    sizes = {tags: np.mean([p.height + p.width for p in places if p.tags == tags]) for tags in ((1, 1, 0), (0, 0, 1))}
    assert abs(sizes[1, 1, 0] - sizes[0, 0, 1]) < 2


def test_slides_without_a_tissue_are_refused():
    labels = [np.where(label == 2, 3, label) for label in slides(2)]
    with pytest.raises(ValueError, match=r"no place for another one tagged \(0, 0, 1\)"):
        place_patches(labels, 20, (12, 23), 0)
    with pytest.raises(ValueError, match="shows no tissue"):
        place_pictures([np.full((50, 50), 3, np.uint8)], 1, (10, 20), 0)


def test_pictures_show_tissue_of_all_classes_and_lie_in_their_slide():
    labels = slides(2)
    places = place_pictures(labels, 18, (30, 60), 3)
    assert places == place_pictures(labels, 18, (30, 60), 3)
    assert len(set(places)) == 18
    assert Counter(place.slide for place in places) == {0: 9, 1: 9}
    pixels = np.zeros(4, int)
    for place in places:
        window = place.cut(labels[place.slide])
        assert window.shape == (place.height, place.width)
        assert 30 <= min(window.shape)
        assert max(window.shape) <= 60
        assert (window < 3).mean() >= 0.5
        pixels += np.bincount(window.ravel(), minlength=4)
    assert (pixels[:3] > 0.15 * pixels[:3].sum()).all()


def test_a_picture_as_large_as_its_slide():
    label = slides(1, (60, 170))[0]
    assert place_pictures([label], 1, (60, 60), 0)[0][1] == 0
    with pytest.raises(ValueError, match="no place for another picture"):
        place_pictures([label[:, :60]], 2, (60, 60), 0)
    assert place_patches([label], 1, (60, 60), 0)[0].row == 0


def test_a_place_cuts_pictures_and_masks():
    array = np.arange(60).reshape(5, 4, 3)
    assert (Place(0, 1, 2, 3, 2).cut(array) == array[1:4, 2:4]).all()


def test_a_class_is_ticked_by_its_share_of_the_tissue_not_of_the_patch():
    label = np.full((20, 20), 3, np.uint8)
    label[:12] = 1  # 240 pixels of tissue in 400
    label[0, :14] = 0  # 5.8 % of the tissue, 3.5 % of the patch
    assert place_patches([label], 1, (20, 20), 0) == [Place(0, 0, 0, 20, 20, (1, 1, 0))]
