"""The random fields and point sets that phantom slides are built from."""

from __future__ import annotations

import numpy as np
import pytest

from histolab_lite.data.phantom.fields import scatter


@pytest.mark.parametrize("crowding", [0.5, 4.0, 40.0])
@pytest.mark.parametrize("seed", range(4))
def test_points_are_the_darts_thrown_one_after_another(seed, crowding):
    where, spacing, pixel = np.random.default_rng(seed).random((17, 29)) < 0.6, 5.0, 2.0
    points = scatter(np.random.default_rng(seed), where, spacing, pixel, crowding)

    rng = np.random.default_rng(seed)
    rows, cols = np.nonzero(where)
    darts = int(crowding * len(rows) * pixel**2 / spacing**2 + rng.random())
    cells = rng.integers(0, len(rows), darts)
    within = rng.random((darts, 2))
    standing: list[np.ndarray] = []
    for cell, (down, right) in zip(cells, within, strict=True):
        dart = np.array([rows[cell] + down, cols[cell] + right]) * pixel
        if all(np.linalg.norm(dart - other) > spacing for other in standing):
            standing.append(dart)
    assert 1 < len(standing) < darts
    np.testing.assert_array_equal(points, standing)


def test_nowhere_to_stand_gives_no_points():
    assert scatter(np.random.default_rng(0), np.zeros((9, 9), bool), 5.0, 2.0).shape == (0, 2)
