"""Kinds of label: what they give for a budget, and what one reader makes of them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from histolab_lite.data import IGNORE
from histolab_lite.data.tiles import load_tiles
from histolab_lite.methods import cvm, labels, sic
from histolab_lite.methods.labels import kinds, ticks
from histolab_lite.methods.labels.pictures import STRIDE, WINDOW, Picture
from histolab_lite.metrics import segmentation_scores
from histolab_lite.models.encoder import Encoder

N_CLASSES = 3


def picture(seed: int, shape: tuple[int, int] = (200, 232), group: str | None = None) -> Picture:
    """Three tissues in vertical bands, told apart by their features almost without noise."""
    random = np.random.default_rng(seed)
    edges = shape[1] * np.array([1, 2]) // 3 + random.integers(-12, 13, 2)
    mask = np.broadcast_to(np.searchsorted(edges, np.arange(shape[1]), "right"), shape).astype(np.uint8)
    cells = [max(1, round(side / STRIDE)) for side in shape]
    empty = Picture(
        np.zeros((*shape, 3), np.uint8), mask, group or str(seed), torch.zeros(N_CLASSES + 2, *cells), torch.zeros(0)
    )
    at = np.ix_(*empty.centres)
    grid = torch.from_numpy(random.normal(0, 0.02, (N_CLASSES + 2, *cells)).astype(np.float32))
    for k in range(N_CLASSES):
        grid[k] += torch.from_numpy((mask[at] == k).astype(np.float32))
    grid = torch.nn.functional.normalize(grid, dim=0)
    return Picture(empty.image, mask, empty.group, grid, (grid - grid.mean((1, 2), keepdim=True)))


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    return [picture(seed) for seed in range(5)]


def right(masks: list[np.ndarray], pictures: list[Picture]) -> float:
    """Share of the known pixels that are right."""
    known = [mask != IGNORE for mask in masks]
    hits = sum(int((mask == p.mask)[k].sum()) for mask, p, k in zip(masks, pictures, known, strict=True))
    return hits / sum(int(k.sum()) for k in known)


def test_shares_are_those_of_the_mirrored_window() -> None:
    p = picture(3, (70, 215))
    found = p.shares(N_CLASSES)
    padded = np.pad(p.mask, WINDOW, mode="symmetric")
    for r, row in enumerate(p.centres[0]):
        for c, col in enumerate(p.centres[1]):
            window = padded[row + WINDOW // 2 :, col + WINDOW // 2 :][:WINDOW, :WINDOW]
            for k in range(N_CLASSES):
                assert found[k, r, c] == pytest.approx((window == k).mean(), abs=1e-5)


def test_read_pictures_gives_features_at_the_scale_asked_for() -> None:
    tiles = load_tiles("phantom", n_slides=2, size=160, mpp=1.0)
    found = labels.read_pictures(tiles, Encoder(1 / 16), mpp=2.0)
    assert [p.image.shape for p in found] == [(80, 80, 3)] * 2
    assert found[0].grid.shape == (32, 5, 5)
    assert found[0].maps.shape[1:] == (10, 10)
    assert found[0].group != found[1].group
    assert torch.allclose(found[0].grid.norm(dim=0), torch.ones(5, 5), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "acts", "least"),
    [
        ("cluster names", 12, 0.85),
        ("patch ticks", 40, 0.93),
        ("single ticks", 40, 0.95),
        ("points", 45, 0.9),
        ("seeds", 45, 0.85),
        ("pixel masks", 2, 1.0),
    ],
)
def test_labels_of_separable_tissue_are_right(kind: str, acts: int, least: float, pictures: list[Picture]) -> None:
    masks = labels.KINDS[kind](pictures, acts, N_CLASSES, 0)
    assert [m.shape for m in masks] == [p.mask.shape for p in pictures]
    assert {m.dtype for m in masks} == {np.dtype(np.uint8)}
    assert set(np.unique(masks)) <= {0, 1, 2, IGNORE}
    assert right(masks, pictures) >= least
    again = labels.KINDS[kind](pictures, acts, N_CLASSES, 0)
    assert all(np.array_equal(a, b) for a, b in zip(masks, again, strict=True))
    other = labels.KINDS[kind](pictures, acts, N_CLASSES, 1)
    assert kind == "cluster names" or any(not np.array_equal(a, b) for a, b in zip(masks, other, strict=True))


def test_pixel_masks_are_those_of_as_many_pictures(pictures: list[Picture]) -> None:
    masks = labels.KINDS["pixel masks"](pictures, 3, N_CLASSES, 0)
    assert sum((m != IGNORE).all() for m in masks) == 3
    assert sum((m == IGNORE).all() for m in masks) == 2


def test_ticks_stay_in_their_patches_and_name_only_what_was_ticked(pictures: list[Picture]) -> None:
    masks = ticks.patch_ticks(pictures, 9, N_CLASSES, 4)
    known = sum(int((m != IGNORE).sum()) for m in masks)
    side = ticks.SIDE * STRIDE
    assert 0.9 * 9 * side**2 < known < 1.1 * 9 * side**2
    for i, box in ticks.draw_patches(pictures, 9, 4):
        ticked = ticks.ticks_of(pictures[i], box, N_CLASSES)
        inside = masks[i][pictures[i].pixels(box)]
        assert set(np.unique(inside)) <= set(np.flatnonzero(ticked))


def test_single_ticks_leave_mixed_patches_out(pictures: list[Picture]) -> None:
    masks = ticks.single_ticks(pictures, 1000, N_CLASSES, 0)
    left_out = 0
    for i, box in ticks.draw_patches(pictures, 1000, 0):
        inside = masks[i][pictures[i].pixels(box)]
        if ticks.ticks_of(pictures[i], box, N_CLASSES).sum() == 1:
            assert len(np.unique(inside)) == 1
            assert inside[0, 0] != IGNORE
        else:
            assert (inside == IGNORE).all()
            left_out += 1
    assert left_out


def test_a_sliver_is_not_ticked_and_the_largest_always_is() -> None:
    p = picture(0)
    p.mask[:] = 1
    p.mask[:64, :2] = 0  # 3 % of the patch
    box = (slice(0, ticks.SIDE), slice(0, ticks.SIDE))
    assert ticks.ticks_of(p, box, N_CLASSES).tolist() == [False, True, False]
    p.mask[:64, :8] = 0
    assert ticks.ticks_of(p, box, N_CLASSES).tolist() == [True, True, False]


def test_ticks_that_are_the_same_everywhere_teach_nothing() -> None:
    """As on GlaS, where every picture holds gland and other: its maps are flat, and one class takes all."""
    some = [picture(seed) for seed in range(4)]
    masks = ticks.picture_ticks(some, 4, N_CLASSES, 0)
    assert len(np.unique(masks)) == 1


@pytest.mark.parametrize("acts", [1, 8, 9, 17, 44, 45, 46, pytest.param(1000, marks=pytest.mark.slow)])
def test_no_more_is_clicked_than_there_is_time_for(acts: int, pictures: list[Picture], monkeypatch) -> None:
    clicked, dropped = [], []
    real_points, real_seeds = cvm.simulate_points, sic.segment
    monkeypatch.setattr(
        cvm,
        "simulate_points",
        lambda mask, n, classes, seed: clicked.append(n * len(classes)) or real_points(mask, n, classes, seed),
    )
    monkeypatch.setattr(
        sic, "segment", lambda x, y, **options: dropped.append(int((y >= 0).sum())) or real_seeds(x, y, **options)
    )
    few = pictures[:2] if acts == 1000 else pictures
    kinds.points(few, acts, N_CLASSES, 0)
    kinds.seeds(few, acts, N_CLASSES, 0)
    assert sum(clicked) <= acts
    assert sum(dropped) <= acts
    if acts >= 9:
        assert sum(clicked) >= min(acts - 8, 45)
        assert sum(dropped) > 0


def test_a_picture_of_one_tissue_is_that_tissue(pictures: list[Picture]) -> None:
    plain = picture(9)
    plain.mask[:] = 2
    for kind in (kinds.points, kinds.seeds):
        masks = kind([*pictures, plain], 1000, N_CLASSES, 0)
        assert (masks[-1] == 2).all()


@given(st.lists(st.integers(0, 6), min_size=1, max_size=8), st.integers(0, 200), st.integers(0, 3))
def test_rounds_spend_what_fits_and_no_more(classes: list[int], acts: int, seed: int) -> None:
    given_out = dict(kinds.rounds(classes, acts, seed))
    spent = sum(n * classes[place] for place, n in given_out.items())
    assert spent <= acts
    assert all(n > 0 and n % kinds.ROUND == 0 and classes[place] for place, n in given_out.items())
    cheapest = min((kinds.ROUND * c for c in classes if c), default=None)
    assert cheapest is None or acts - spent < cheapest


def test_the_mean_of_a_linear_heads_maps_is_its_answer() -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(30, 7, generator=random)
    told = (x[:, :3] > 0).float()
    head = ticks.fit_head(x, told)
    assert ((head(x) > 0) == told.bool()).float().mean() > 0.95
    assert torch.allclose(head(x).mean(0), head(x.mean(0)), atol=1e-5)


def test_names_of_nothing_but_mixtures_are_no_masks() -> None:
    p = picture(1)
    p.mask[:] = np.random.default_rng(0).integers(0, 3, p.mask.shape)
    (mask,) = kinds.cluster_names([p], 3, N_CLASSES, 0)
    assert (mask == IGNORE).all()


@pytest.mark.parametrize("kind", ["points", "pixel masks", "patch ticks"])
def test_the_reader_reads_unseen_pictures(kind: str, pictures: list[Picture]) -> None:
    masks = labels.KINDS[kind](pictures, 3 if kind == "pixel masks" else 60, N_CLASSES, 0)
    reader = labels.learn(pictures, masks)
    assert reader is not None
    unseen = [picture(50), picture(51, (133, 250))]
    answers = [labels.read(reader, p) for p in unseen]
    assert [a.shape for a in answers] == [p.mask.shape for p in unseen]
    assert segmentation_scores(answers, [p.mask for p in unseen], N_CLASSES).macro_dice > 0.9


def test_the_reader_answers_in_class_ids_though_one_is_missing(pictures: list[Picture]) -> None:
    masks = [np.where(p.mask == 0, IGNORE, p.mask) for p in pictures]
    reader = labels.learn(pictures, masks)
    assert reader is not None
    assert set(np.unique(labels.read(reader, pictures[0]))) == {1, 2}


def test_one_class_or_none_teaches_no_reader(pictures: list[Picture]) -> None:
    assert labels.learn(pictures, [np.full_like(p.mask, IGNORE) for p in pictures]) is None
    assert labels.learn(pictures, [np.where(p.mask == 1, p.mask, IGNORE) for p in pictures]) is None


def test_a_budget_buys_whole_acts(pictures: list[Picture]) -> None:
    bought = labels.annotate("pixel masks", pictures, 2 * 530 + 529, N_CLASSES)
    assert bought.acts == 2
    assert sum((m != IGNORE).any() for m in bought.masks) == 2
    nothing = labels.annotate("pixel masks", pictures, 529, N_CLASSES)
    assert nothing.empty
    assert all((m == IGNORE).all() for m in nothing.masks)
    assert labels.cost_of_all(pictures) == 5 * 530
    dear = {"points": labels.Price(20, "a point", "me")}
    assert labels.annotate("points", pictures, 600, N_CLASSES, prices=dear).acts == 30


@pytest.mark.parametrize(
    ("kind", "seconds", "n", "price", "complaint"),
    [
        ("scribbles", 60, 5, 1, "no kind of label"),
        ("seeds", 60, 5, 1, "no kind of label with a price"),
        ("points", -1, 5, 1, "time of at least 0"),
        ("points", 60, 0, 1, "pictures"),
        ("points", 60, 5, 0, "price above 0"),
        ("points", float("nan"), 5, 1, "time of at least 0"),
    ],
)
def test_what_cannot_be_bought_is_said(kind, seconds, n, price, complaint, pictures: list[Picture]) -> None:
    prices = {"points": labels.Price(price, "a point", "me")}
    with pytest.raises(ValueError, match=complaint):
        labels.annotate(kind, pictures[:n], seconds, N_CLASSES, prices=prices)


def test_every_kind_has_a_price() -> None:
    assert labels.PRICES.keys() == labels.KINDS.keys()
    assert labels.PRICES["patch ticks"].seconds == pytest.approx((6.8 + 5.2 + 7) / 3 * 60 / 100, abs=0.01)
