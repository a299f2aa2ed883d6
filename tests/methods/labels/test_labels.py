"""Kinds of label: what they give for a budget, and what one linear probe makes of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from histolab_lite.data import IGNORE
from histolab_lite.data.tiles import load_tiles
from histolab_lite.methods import cvm, labels, sic
from histolab_lite.methods.labels import kinds, tags
from histolab_lite.methods.labels.images import STRIDE, WINDOW, EncodedImage
from histolab_lite.metrics import segmentation_scores
from histolab_lite.models.encoder import Encoder

N_CLASSES = 3


def encoded(seed: int, shape: tuple[int, int] = (200, 232), mask: np.ndarray | None = None) -> EncodedImage:
    """Three tissues in bands, or a given mask, told apart by their features; two neighbouring seeds are one patient."""
    random = np.random.default_rng(seed)
    edges = shape[1] * np.array([1, 2]) // 3 + random.integers(-12, 13, 2)
    bands = np.broadcast_to(np.searchsorted(edges, np.arange(shape[1]), "right"), shape).astype(np.uint8)
    mask = bands if mask is None else mask
    grid = torch.zeros(N_CLASSES + 2, *(max(1, round(side / STRIDE)) for side in mask.shape))
    image = EncodedImage(np.zeros((*mask.shape, 3), np.uint8), mask, str(seed // 2), grid, grid)
    grid += torch.from_numpy(random.normal(0, 0.02, grid.shape).astype(np.float32))
    for k in range(N_CLASSES):
        grid[k] += torch.from_numpy(mask[np.ix_(*image.centres)] == k)
    grid /= grid.norm(dim=0)
    return replace(image, maps=grid - grid.mean((1, 2), keepdim=True))


@pytest.fixture(scope="module")
def images() -> list[EncodedImage]:
    return [encoded(seed) for seed in range(5)]


def test_shares_are_those_of_the_mirrored_window():
    image = encoded(3, (70, 215))
    found = image.shares(N_CLASSES)
    padded = np.pad(image.mask, WINDOW, mode="symmetric")
    for r, row in enumerate(image.centres[0]):
        for c, col in enumerate(image.centres[1]):
            window = padded[row + WINDOW // 2 :, col + WINDOW // 2 :][:WINDOW, :WINDOW]
            expected = [(window == k).mean() for k in range(N_CLASSES)]
            assert found[:, r, c] == pytest.approx(expected, abs=1e-5)


def test_read_images_gives_features_at_the_scale_asked_for():
    tiles = load_tiles("phantom", n_slides=2, size=160, mpp=1.0)
    found = labels.read_images(tiles, Encoder(1 / 16), mpp=2.0)
    assert [image.image.shape for image in found] == [(80, 80, 3)] * 2
    assert [image.mask.shape for image in found] == [(80, 80)] * 2
    assert found[0].grid.shape == (32, 5, 5)
    assert found[0].maps.shape[1:] == (10, 10)
    assert found[0].group != found[1].group
    assert torch.allclose(found[0].grid.norm(dim=0), torch.ones(5, 5), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "acts", "least"),
    [
        ("cluster names", 12, 0.85),
        ("patch tags", 40, 0.93),
        ("single tags", 40, 0.95),
        ("points", 45, 0.9),
        ("seeds", 45, 0.85),
        ("pixel masks", 2, 1.0),
    ],
)
def test_labels_of_separable_tissue_are_right_and_repeatable(kind, acts, least, images):
    masks, again, other = (np.stack(labels.KINDS[kind](images, acts, N_CLASSES, seed)) for seed in (0, 0, 1))
    assert masks.dtype == np.uint8
    known = masks != IGNORE
    assert (masks == np.stack([image.mask for image in images]))[known].mean() >= least
    assert np.array_equal(masks, again)
    assert kind == "cluster names" or not np.array_equal(masks, other)


def test_patch_tags_stay_in_their_patches_and_name_only_what_was_tagged(images):
    masks = tags.patch_tags(images, 9, N_CLASSES, 4)
    side = tags.SIDE * STRIDE
    assert (np.stack(masks) != IGNORE).sum() == pytest.approx(9 * side**2, rel=0.1)
    for i, box in tags.draw_patches(images, 9, 4):
        tagged = tags.tags_of(images[i], box, N_CLASSES)
        assert set(np.unique(masks[i][images[i].pixels(box)])) <= set(np.flatnonzero(tagged))


def test_single_tags_leave_mixed_patches_out(images):
    masks = tags.single_tags(images, 1000, N_CLASSES, 0)
    left_out = 0
    for i, box in tags.draw_patches(images, 1000, 0):
        tagged = np.flatnonzero(tags.tags_of(images[i], box, N_CLASSES))
        inside = masks[i][images[i].pixels(box)]
        assert (inside == (tagged[0] if len(tagged) == 1 else IGNORE)).all()
        left_out += len(tagged) > 1
    assert left_out


@pytest.mark.parametrize(
    ("ground", "columns", "tagged"),
    [(1, 2, [False, True, False]), (1, 8, [True, True, False]), (IGNORE, 2, [True, False, False])],
)
def test_a_sliver_is_not_tagged_but_the_largest_class_always_is(ground, columns, tagged):
    """2 columns are 3 % of the patch, 8 are an eighth."""
    mask = np.full((200, 232), ground, np.uint8)
    mask[:, :columns] = 0
    assert tags.tags_of(encoded(0, mask=mask), (slice(0, 4), slice(0, 4)), N_CLASSES).tolist() == tagged


def test_image_tags_that_are_the_same_everywhere_teach_nothing(images):
    """As on GlaS, where every image holds gland and other: the maps are flat, and one class takes all."""
    assert len(np.unique(tags.image_tags(images, 5, N_CLASSES, 0))) == 1
    assert sum((mask != IGNORE).all() for mask in tags.image_tags(images, 2, N_CLASSES, 0)) == 2


@pytest.mark.parametrize("acts", [8, 9, 44, 46, pytest.param(1000, marks=pytest.mark.slow)])
def test_no_more_is_clicked_than_there_is_time_for(acts, images, monkeypatch):
    clicked, dropped = [], []
    simulate_points, segment = cvm.simulate_points, sic.segment

    def points(mask, n, classes, seed):
        clicked.append(n * len(classes))
        return simulate_points(mask, n, classes, seed)

    def seeds(embeddings, given, **options):
        dropped.append(int((given >= 0).sum()))
        return segment(embeddings, given, **options)

    monkeypatch.setattr(cvm, "simulate_points", points)
    monkeypatch.setattr(sic, "segment", seeds)
    few = images[:2] if acts == 1000 else images
    kinds.points(few, acts, N_CLASSES, 0)
    kinds.seeds(few, acts, N_CLASSES, 0)
    for spent in (sum(clicked), sum(dropped)):
        assert spent <= acts
        assert acts < 9 or spent > 0
    assert sum(clicked) >= min(acts - 8, 45)


@pytest.mark.parametrize("kind", [kinds.points, kinds.seeds])
def test_an_image_of_one_tissue_is_that_tissue(kind):
    """Two pixels of another one are not room for three points."""
    plain = encoded(9, (100, 116), np.full((100, 116), 2, np.uint8))
    almost = encoded(20, mask=plain.mask.copy())
    almost.mask[50, 50:52] = 0
    masks = kind([encoded(0, (100, 116)), almost, plain], 45, N_CLASSES, 0)
    assert (masks[2] == 2).all()
    assert (masks[1] != IGNORE).all()


@given(st.lists(st.integers(0, 6), min_size=1, max_size=8), st.integers(0, 200), st.integers(0, 3))
def test_rounds_spend_what_fits_and_no_more(classes, acts, seed):
    given_out = dict(kinds.rounds(classes, acts, seed))
    spent = sum(n * classes[place] for place, n in given_out.items())
    assert spent <= acts
    assert all(n > 0 and n % kinds.ROUND == 0 and classes[place] for place, n in given_out.items())
    cheapest = min((kinds.ROUND * c for c in classes if c), default=None)
    assert cheapest is None or acts - spent < cheapest


def test_names_of_nothing_but_mixtures_are_no_masks():
    noise = encoded(1, mask=np.random.default_rng(0).integers(0, 3, (200, 232), np.uint8))
    (mask,) = kinds.cluster_names([noise], 3, N_CLASSES, 0)
    assert (mask == IGNORE).all()


@pytest.mark.parametrize(("kind", "acts"), [("points", 60), ("pixel masks", 3), ("patch tags", 60)])
def test_the_linear_probe_segments_unseen_images(kind, acts, images):
    probe = labels.fit_linear_probe(images, labels.KINDS[kind](images, acts, N_CLASSES, 0))
    unseen = [encoded(50), encoded(51, (133, 250))]
    answers = [labels.predict(probe, image) for image in unseen]
    assert segmentation_scores(answers, [image.mask for image in unseen], N_CLASSES).macro_dice > 0.9


def test_the_probe_answers_in_class_ids_and_needs_two_classes(images):
    def fit(*known: int):
        masks = [np.where(np.isin(image.mask, known), image.mask, IGNORE) for image in images]
        return labels.fit_linear_probe(images, masks)

    assert set(np.unique(labels.predict(fit(1, 2), images[0]))) == {1, 2}
    assert fit(1) is fit() is None


def test_a_budget_buys_whole_acts(images):
    bought = labels.annotate("pixel masks", images, 2 * 530 + 529, N_CLASSES)
    nothing = labels.annotate("pixel masks", images, 529, N_CLASSES)
    assert (bought.acts, bought.empty, nothing.acts, nothing.empty) == (2, False, 0, True)
    assert sorted((mask != IGNORE).mean() for mask in bought.masks) == [0, 0, 0, 1, 1]
    assert (np.stack(nothing.masks) == IGNORE).all()
    assert labels.cost_of_all(images) == 5 * 530
    assert labels.PRICES.keys() == labels.KINDS.keys()
    assert labels.PRICES["patch tags"].seconds == pytest.approx((6.8 + 5.2 + 7) / 3 * 60 / 100, abs=0.01)
    assert labels.annotate("single tags", images, 41.8, N_CLASSES).acts == 11  # of 3.8 s each
    dear = {"points": labels.Price(20, "a point", "me")}
    assert labels.annotate("points", images, 600, N_CLASSES, prices=dear).acts == 30


@pytest.mark.parametrize(
    ("kind", "seconds", "n", "price", "keyword"),
    [
        ("scribbles", 60, 5, 1, "choose one of points"),
        ("seeds", 60, 5, 1, "not a kind of label with a price"),
        ("points", -1, 5, 1, "time of at least 0"),
        ("points", float("nan"), 5, 1, "time of at least 0"),
        ("points", float("inf"), 5, 1, "finite"),
        ("points", 60, 0, 1, "0 images"),
        ("points", 60, 5, 0, "price above 0"),
    ],
)
def test_what_cannot_be_bought_is_said(kind, seconds, n, price, keyword, images):
    prices = {"points": labels.Price(price, "a point", "me")}
    with pytest.raises(ValueError, match=keyword):
        labels.annotate(kind, images[:n], seconds, N_CLASSES, prices=prices)


def test_images_smaller_than_a_patch_are_refused():
    with pytest.raises(ValueError, match="no image is as large as a patch of 64 × 64 pixels"):
        labels.annotate("patch tags", [encoded(0, (200, 50))], 60, N_CLASSES)
