"""Clicked points: their cells, the simulated annotator, the labels of the partial cross-entropy."""

import numpy as np
import pytest
import torch

from histolab_lite.methods.cvm import point_mask, simulate_points, to_grid, upsample


def test_upsample_and_to_grid_agree_on_where_a_cell_lies():
    """At a pixel, a map that rises by 1 per cell has the number of the cell, up to half a cell."""
    image, grid = (37, 50), (9, 13)
    row, column = torch.meshgrid(*(torch.arange(float(side)) for side in grid), indexing="ij")
    pixels = torch.cartesian_prod(torch.arange(37), torch.arange(50))
    cells = to_grid(pixels, image, grid)
    rows, columns = upsample(torch.stack([row, column]), image)[:, pixels[:, 0], pixels[:, 1]]
    assert (torch.stack([rows, columns], 1) - cells).abs().max() <= 0.5 + 1e-5
    assert to_grid([(0, 0), (36, 49)], image, grid).tolist() == [[0, 0], [8, 12]]
    assert to_grid([], image, grid).shape == (0, 2)


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
    some = simulate_points(mask, 5, classes=[2, 1])
    assert list(some) == [2, 1]
    assert torch.equal(some[1], five[1])


def test_a_point_labels_a_square_except_what_two_classes_claim():
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
    assert (point_mask({1: [(1, 1)]}, (3, 3), radius=0) != n).sum() == 1


def test_a_clicked_pixel_keeps_its_class_unless_clicked_as_both():
    mask = point_mask({1: [(1, 1), (4, 4)], 2: [(1, 2), (4, 4)]}, (6, 6))
    assert mask[1, :4].tolist() == [1, 1, 2, 2]
    assert mask[4, 4] == 255


DIAGONAL = np.eye(4, dtype=int)


@pytest.mark.parametrize(
    ("call", "arguments", "keyword"),
    [
        (simulate_points, (DIAGONAL, 1, [0, 3]), r"class 3 has 0 pixels .* holds \[0, 1\]"),
        (simulate_points, (DIAGONAL, 5), "class 1 has 4 pixels"),
        (simulate_points, (0 * DIAGONAL, 1), "two classes"),
        (simulate_points, (np.where(DIAGONAL, 255, 0), 1), "two classes"),
        (simulate_points, (DIAGONAL, 1, [1]), "two classes"),
        (simulate_points, (DIAGONAL, 0), "at least one pair"),
        (simulate_points, (DIAGONAL[..., None], 1), "a mask"),
        (to_grid, ([(-1, 0)], (37, 50), (9, 13)), "off the image"),
        (to_grid, ([(37, 0)], (37, 50), (9, 13)), "off the image"),
        (to_grid, ([(0, 50)], (37, 50), (9, 13)), "off the image"),
        (to_grid, ([(1, 2, 3), (4, 5, 6)], (37, 50), (9, 13)), r"\(N, 2\)"),
        (point_mask, ({1: [(3, 0)]}, (3, 3)), "off the image"),
        (point_mask, ({1: [(0, 0)]}, (3, 3), -1), "radius"),
    ],
)
def test_bad_input_is_refused(call, arguments, keyword):
    with pytest.raises(ValueError, match=keyword):
        call(*arguments)
