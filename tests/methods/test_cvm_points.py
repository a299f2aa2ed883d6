"""Clicked points: pixels and cells, the simulated annotator, the labels of the partial cross-entropy."""

import numpy as np
import pytest
import torch

from histolab_lite.methods.cvm import point_mask, simulate_points, to_grid, upsample


def test_upsample_and_to_grid_agree_on_where_a_cell_lies():
    """A map that rises by 1 a cell is read off at a pixel as the cell's number, up to half a cell."""
    image, grid = (37, 50), (9, 13)
    row, column = torch.meshgrid(*(torch.arange(float(side)) for side in grid), indexing="ij")
    pixels = torch.tensor([(i, j) for i in range(37) for j in range(50)])
    cells = to_grid(pixels, image, grid)
    rows, columns = upsample(torch.stack([row, column]), image)[:, pixels[:, 0], pixels[:, 1]]
    assert (torch.stack([rows, columns], 1) - cells).abs().max() <= 0.5 + 1e-5
    assert cells.amax(0).tolist() == [8, 12]
    assert to_grid([(0, 0), (36, 49)], image, grid).tolist() == [[0, 0], [8, 12]]
    for point in ((-1, 0), (37, 0), (0, 50)):
        with pytest.raises(ValueError, match="off the image"):
            to_grid([point], image, grid)


def test_points_lie_in_their_class_without_repetition():
    mask = np.random.default_rng(0).choice([0, 2, 255], (20, 30))
    points = simulate_points(mask, 5, seed=3)
    assert list(points) == [0, 2]
    for name, drawn in points.items():
        assert drawn.dtype == torch.int64
        assert len({tuple(point) for point in drawn.tolist()}) == 5
        assert (mask[drawn[:, 0], drawn[:, 1]] == name).all()
    everything = simulate_points(np.eye(6, dtype=int), 6)[1]
    assert sorted(everything.tolist()) == [[i, i] for i in range(6)]


def test_points_are_the_same_for_a_seed_and_grow_with_their_number():
    mask = np.arange(400).reshape(20, 20) % 3
    five, again, three, other = (simulate_points(mask, n, seed=s) for n, s in ((5, 0), (5, 0), (3, 0), (5, 1)))
    for name in range(3):
        assert torch.equal(five[name], again[name])
        assert torch.equal(five[name][:3], three[name])
        assert not torch.equal(five[name], other[name])
    only = simulate_points(mask, 5, classes=[2, 1])
    assert list(only) == [2, 1]
    assert torch.equal(only[1], five[1])


def test_points_are_spread_evenly_over_their_class():
    mask = np.zeros((10, 10), bool)
    mask[:, 4:] = True
    columns = torch.cat([simulate_points(mask, 5, seed=seed)[1][:, 1] for seed in range(200)])
    assert columns.double().mean().item() == pytest.approx(6.5, abs=0.2)


@pytest.mark.parametrize(
    ("mask", "n_pairs", "classes", "message"),
    [
        (np.eye(4, dtype=int), 1, [0, 3], r"class 3 has 0 pixels in this mask, which holds \[0, 1\]"),
        (np.eye(4, dtype=int), 5, None, "class 1 has 4 pixels"),
        (np.zeros((4, 4), int), 1, None, "two classes or more"),
        (np.full((4, 4), 255), 1, None, "two classes or more"),
        (np.ones((4, 4), bool), 1, None, "two classes or more"),
        (np.eye(4, dtype=int), 0, None, "at least one pair"),
        (np.zeros((4, 4, 1), int), 1, None, "a mask"),
    ],
)
def test_points_that_cannot_be_drawn(mask, n_pairs, classes, message):
    with pytest.raises(ValueError, match=message):
        simulate_points(mask, n_pairs, classes)


def test_point_mask_widens_to_3_by_3_and_leaves_what_two_classes_claim():
    mask = point_mask({1: [(0, 0), (3, 3)], 0: [(3, 5)]}, (6, 8))
    n = 255
    assert mask.tolist() == [
        [1, 1, n, n, n, n, n, n],
        [1, 1, n, n, n, n, n, n],
        [n, n, 1, 1, n, 0, 0, n],
        [n, n, 1, 1, n, 0, 0, n],
        [n, n, 1, 1, n, 0, 0, n],
        [n, n, n, n, n, n, n, n],
    ]
    assert mask.dtype == torch.uint8


def test_a_clicked_pixel_keeps_its_class_unless_clicked_as_both():
    mask = point_mask({1: [(1, 1), (4, 4)], 2: [(1, 2), (4, 4)]}, (6, 6))
    assert mask[1, :4].tolist() == [1, 1, 2, 2]
    assert mask[4, 4] == 255
    assert (point_mask({1: [(1, 1)]}, (3, 3), radius=0) != 255).sum() == 1
    with pytest.raises(ValueError, match="off the image"):
        point_mask({1: [(3, 0)]}, (3, 3))
    with pytest.raises(ValueError, match="radius"):
        point_mask({1: [(0, 0)]}, (3, 3), radius=-1)
