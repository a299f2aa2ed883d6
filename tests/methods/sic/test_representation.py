"""The embeddings that SIC clusters, and the images that it makes: whitening, neighbours, colours, cells."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2lab

from histolab_lite.methods.sic import paint, prepare, smooth, umap_colours
from tests.methods.refused import refused
from tests.methods.sic.blobs import normal


def grid(rows: int, columns: int, pitch: int = 128) -> np.ndarray:
    """(x, y) corners, row by row."""
    return np.array([(pitch * j, pitch * i) for i in range(rows) for j in range(columns)])


@settings(max_examples=30)
@given(n=st.integers(3, 60), d=st.integers(2, 20), components=st.integers(1, 15))
def test_rows_have_length_1_and_at_most_so_many_components(n, d, components):
    y = prepare(normal(n, d, seed=n * d) + 0.5, components=components)
    assert y.dtype == torch.float32
    assert len(y) == n
    assert 1 <= y.shape[1] <= min(components, d, n)
    torch.testing.assert_close(y.norm(dim=1), torch.ones(n), atol=1e-4, rtol=0)


@pytest.mark.parametrize("coords", [None, grid(15, 20)])
def test_components_of_smoothed_directions_are_whitened_and_the_widest_kept(coords):
    """Against a plain SVD: cosines between patches are those of its left singular vectors."""
    x = normal(300, 8) * torch.tensor([9.0, 5, 4, 3, 1, 0.5, 0.1, 0.1]) + 1
    unit = F.normalize(x, dim=1) if coords is None else smooth(F.normalize(x, dim=1), coords, 0.7)
    left = F.normalize(torch.linalg.svd(unit - unit.mean(0), full_matrices=False).U[:, :3], dim=1)
    for same in (x, x.numpy(), x.double()):
        y = prepare(same, coords, components=3, smoothing=0.7)
        torch.testing.assert_close(y @ y.T, left @ left.T, atol=1e-4, rtol=0)


def test_directions_without_variance_are_left_out():
    assert prepare(F.pad(normal(50, 3), (0, 4)), components=7).shape == (50, 3)
    assert prepare(normal(4, 30), components=12).shape == (4, 3)


def oracle_smooth(x: torch.Tensor, coords: np.ndarray, share: float, reach: float) -> torch.Tensor:
    """Every patch against every other."""
    out = x.clone()
    for i in range(len(x)):
        around = [j for j in range(len(x)) if j != i and np.hypot(*(coords[i] - coords[j])) <= reach]
        if around:
            out[i] = (1 - share) * x[i] + share * sum(x[j] for j in around) / len(around)
    return out


def test_smoothing_by_slow_loops_on_a_grid_with_holes():
    coords = np.delete(grid(5, 6), [3, 8, 9, 20], axis=0)
    coords = np.concatenate([coords, [[5000, 5000]]])  # far from all others
    x = normal(len(coords), 4)
    for share in (0.0, 0.3, 1.0):
        torch.testing.assert_close(smooth(x, coords, share), oracle_smooth(x, coords, share, 1.5 * 128))
    torch.testing.assert_close(smooth(x, coords, reach=1.0), oracle_smooth(x, coords, 0.5, 128.0))
    for same in (coords * 0.25, coords[:, ::-1], coords + 1000, torch.from_numpy(coords)):
        torch.testing.assert_close(smooth(x, same), smooth(x, coords))
    assert torch.equal(smooth(x[:1], coords[:1]), x[:1])


@pytest.mark.slow
def test_similar_patches_have_similar_colours_on_all_slides_and_the_seed_decides():
    kind = np.arange(90) % 3
    x = 4 * torch.eye(3, 8)[kind] + 0.3 * normal(90, 8)
    slides = [x[:45], x[45:].numpy()]
    colours = umap_colours(slides, neighbours=10, n_fit=60)  # 30 are placed afterwards
    assert [(part.dtype, part.shape) for part in colours] == [(np.uint8, (45, 3))] * 2
    lab = rgb2lab(np.concatenate(colours)[None])[0]
    apart, same = np.linalg.norm(lab[:, None] - lab[None], axis=2), kind[:, None] == kind[None]
    assert np.median(apart[~same]) > max(2 * np.median(apart[same]), 20)  # a step of 2 is just visible
    between = np.stack(
        [[apart[:45, 45:][kind[:45] == i][:, kind[45:] == j].mean() for j in range(3)] for i in range(3)]
    )
    assert between.argmin(1).tolist() == [0, 1, 2]
    assert np.array_equal(np.concatenate(umap_colours(slides, neighbours=10, n_fit=60)), np.concatenate(colours))
    assert not np.array_equal(umap_colours(slides, neighbours=10, n_fit=60, seed=1)[0], colours[0])
    assert [umap_colours([normal(n, 6)])[0].shape for n in (5, 12)] == [(5, 3), (12, 3)]


def test_painting_puts_every_patch_into_its_cell_in_any_order():
    coords = np.array([[300, 50], [428, 50], [300, 306]])  # (x, y), a pitch of 128, one row left out
    image, cells = paint(np.array([4, 5, 6], np.uint8), coords, 128, fill=255)
    assert image.dtype == np.uint8
    assert image.tolist() == [[4, 5], [255, 255], [6, 255]]
    assert cells.tolist() == [[0, 0], [0, 1], [2, 0]]
    colours, order = np.random.default_rng(0).integers(0, 255, (35, 3), np.uint8), np.arange(35)[::-1] * 2 % 35
    assert np.array_equal(paint(colours[order], grid(5, 7)[order] + 11, 128)[0], colours.reshape(5, 7, 3))


X = normal(6, 3)


def test_bad_input_is_refused():
    refused("same direction", prepare, torch.ones(5, 3), torch.zeros(5, 3), X[:1])
    refused("NaN or inf", lambda value: prepare(X * torch.tensor([1, 1, value])), torch.nan, torch.inf)
    refused("floats", prepare, X.long(), X[0], X[:0])
    refused("component", lambda: prepare(X, components=0))
    refused("smoothing", lambda share: prepare(X, grid(1, 6), smoothing=share), 1.5, -0.1)
    refused("pair per patch", lambda coords: smooth(X, coords), np.zeros((6, 3)), np.zeros((5, 2)))
    refused("finite", lambda: smooth(X, np.full((6, 2), np.nan)))
    refused("read twice", lambda: smooth(X, np.repeat(grid(1, 3), 2, axis=0)))
    refused("the same D", umap_colours, [], [X, X[:, :2]], [X[0]])
    refused("five patches", umap_colours, [X[:4]], [X * torch.nan])
    refused("closer together than the pitch of 128", lambda: paint(np.zeros(4), grid(2, 2, 64), 128))
    refused(
        "expected values", lambda coords: paint(np.zeros(len(coords) // 2), coords, 128), grid(1, 2), np.ones((0, 2))
    )
    refused("pitch above 0", lambda: paint(np.zeros(4), grid(2, 2), 0))
