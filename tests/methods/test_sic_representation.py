"""What SIC clusters, and what it paints: whitened components, neighbours, colours, pictures."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2lab

from histolab_lite.methods.sic import paint, prepare, smooth, umap_colours


def draw(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def grid(rows: int, columns: int, pitch: int = 128) -> np.ndarray:
    """(x, y) corners, row by row."""
    return np.array([(pitch * j, pitch * i) for i in range(rows) for j in range(columns)])


# Whitened components


@settings(max_examples=30, deadline=None)
@given(n=st.integers(3, 60), d=st.integers(2, 20), components=st.integers(1, 15))
def test_rows_have_length_1_and_at_most_so_many_components(n, d, components):
    x = draw(n, d, seed=n * d) + 0.5
    y = prepare(x, components=components)
    assert y.dtype == torch.float32
    assert y.shape[0] == n
    assert 1 <= y.shape[1] <= min(components, d, n)
    torch.testing.assert_close(y.norm(dim=1), torch.ones(n), atol=1e-4, rtol=0)


def test_before_the_rows_are_scaled_components_are_white_and_the_widest_are_taken():
    """Against a plain SVD: cosines between patches are those of its left singular vectors."""
    x = draw(300, 8) * torch.tensor([9.0, 5, 4, 3, 1, 0.5, 0.1, 0.1])
    unit = torch.nn.functional.normalize(x, dim=1)
    left = torch.linalg.svd(unit - unit.mean(0), full_matrices=False).U[:, :3]
    left = torch.nn.functional.normalize(left, dim=1)
    y = prepare(x, components=3)
    torch.testing.assert_close(y @ y.T, left @ left.T, atol=1e-4, rtol=0)


def test_lengths_scales_and_units_of_the_embeddings_do_not_matter():
    x = draw(100, 6) + 1
    y = prepare(x, components=4)
    cosines = y @ y.T
    for other in (7 * x, x * torch.rand(100, 1), x.numpy(), x.double(), x @ torch.linalg.qr(draw(6, 6)).Q):
        again = prepare(other, components=4)
        torch.testing.assert_close(again @ again.T, cosines, atol=1e-3, rtol=0)


def test_directions_without_variance_are_left_out():
    x = torch.cat([draw(50, 3), torch.zeros(50, 4)], 1)
    assert prepare(x, components=7).shape == (50, 3)
    assert prepare(draw(4, 30), components=12).shape == (4, 3)


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (torch.ones(5, 3), {}, "all embeddings have the same direction"),
        (torch.zeros(5, 3), {}, "all embeddings have the same direction"),
        (draw(1, 3), {}, "all embeddings have the same direction"),
        (torch.tensor([[1.0, torch.nan], [0.0, 1.0]]), {}, "NaN"),
        (torch.tensor([[1.0, torch.inf], [0.0, 1.0]]), {}, "NaN or infinite"),
        (torch.ones(5, 3, dtype=torch.int64), {}, "floats"),
        (torch.ones(5), {}, r"\(N, D\)"),
        (draw(5, 3), {"components": 0}, "component"),
        (draw(5, 3), {"coords": np.zeros((4, 2))}, "coords"),
        (draw(5, 3), {"coords": grid(1, 5), "smoothing": 1.5}, "smoothing"),
    ],
)
def test_what_cannot_be_prepared_is_refused(x, options, message):
    with pytest.raises(ValueError, match=message):
        prepare(x, **options)


# Neighbours


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
    x = draw(len(coords), 4)
    for share in (0.0, 0.3, 1.0):
        torch.testing.assert_close(smooth(x, coords, share), oracle_smooth(x, coords, share, 1.5 * 128))
    torch.testing.assert_close(smooth(x, coords, 0.5, reach=1.0), oracle_smooth(x, coords, 0.5, 128.0))
    assert torch.equal(smooth(x, coords)[-1], x[-1])


def test_eight_neighbours_in_the_middle_three_in_a_corner():
    x = torch.zeros(25, 1)
    x[12] = 1
    around = smooth(x, grid(5, 5), 1.0)[:, 0].view(5, 5)
    expected = torch.zeros(5, 5)
    expected[1:4, 1:4] = 1 / 8
    expected[2, 2] = 0
    torch.testing.assert_close(around, expected)
    corner = torch.zeros(25, 1)
    corner[0] = 1
    assert smooth(corner, grid(5, 5), 1.0)[1, 0] == pytest.approx(1 / 5)


def test_order_unit_and_axes_of_coordinates_do_not_matter():
    coords, x = grid(4, 7), draw(28, 3)
    expected = smooth(x, coords)
    order = np.random.default_rng(0).permutation(28)
    torch.testing.assert_close(smooth(x[order], coords[order]), expected[order])
    for same in (coords * 0.25, coords[:, ::-1], coords + 1000, torch.from_numpy(coords)):
        torch.testing.assert_close(smooth(x, same), expected)


def test_neighbours_pull_a_stray_patch_to_their_side():
    """Two halves of a slide with a patch of the wrong look in each."""
    left = grid(8, 8)[:, 0] < 4 * 128
    x = torch.where(torch.from_numpy(left)[:, None], torch.tensor([1.0, 0.2]), torch.tensor([0.2, 1.0])) + 0.05 * draw(
        64, 2
    )
    x[[26, 29]] = x[[29, 26]]
    side = torch.from_numpy(left)
    alone, together = prepare(x), prepare(x, grid(8, 8), smoothing=0.7)
    for y, right in ((alone, False), (together, True)):
        middle = y[side].mean(0), y[~side].mean(0)
        assert (torch.dist(y[26], middle[0]) < torch.dist(y[26], middle[1])).item() is right


def test_coordinates_that_do_not_fit_are_refused():
    x = draw(6, 2)
    for coords in (np.zeros((6, 3)), np.zeros((5, 2)), np.full((6, 2), np.nan)):
        with pytest.raises(ValueError, match="a pair a patch"):
            smooth(x, coords)
    with pytest.raises(ValueError, match="read twice"):
        smooth(x, np.repeat(grid(1, 3), 2, axis=0))
    assert torch.equal(smooth(x[:1], [[3, 4]]), x[:1])


# Colours


def bundles(n: int = 60) -> tuple[torch.Tensor, np.ndarray]:
    kind = np.repeat(np.arange(3), n // 3)
    return 4 * torch.eye(3, 8)[kind] + 0.3 * draw(n, 8), kind


@pytest.mark.slow
def test_alike_patches_have_like_colours_and_the_seed_decides():
    x, kind = bundles()
    (colours,) = umap_colours([x], neighbours=10)
    assert colours.dtype == np.uint8
    assert colours.shape == (60, 3)
    lab = rgb2lab(colours[None])[0]
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    same = kind[:, None] == kind[None]
    assert np.median(apart[~same]) > 2 * np.median(apart[same])
    assert np.median(apart[~same]) > 20  # a step of 2 is just seen
    assert np.array_equal(umap_colours([x], neighbours=10)[0], colours)
    assert not np.array_equal(umap_colours([x], neighbours=10, seed=1)[0], colours)


@pytest.mark.slow
def test_one_colour_means_the_same_on_slides_laid_out_together():
    x, kind = bundles(90)
    first, second = umap_colours([x[::2], x[1::2].numpy()], neighbours=10, n_fit=60)  # 30 are placed afterwards
    assert [len(first), len(second)] == [45, 45]
    lab_1, lab_2 = rgb2lab(first[None])[0], rgb2lab(second[None])[0]
    middles = [
        np.stack([lab[k == j].mean(0) for j in range(3)]) for lab, k in ((lab_1, kind[::2]), (lab_2, kind[1::2]))
    ]
    between = np.linalg.norm(middles[0][:, None] - middles[1][None], axis=2)
    assert between.argmin(1).tolist() == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 12])
def test_few_patches_have_colours_too(n):
    assert umap_colours([draw(n, 6)])[0].shape == (n, 3)


@pytest.mark.parametrize(
    "parts", [[], [draw(4, 3)], [draw(9, 3), draw(9, 4)], [torch.full((9, 3), torch.nan)], [draw(9, 3)[0]]]
)
def test_what_cannot_be_coloured_is_refused(parts):
    with pytest.raises(ValueError, match="expected a list|five patches"):
        umap_colours(parts)


# Pictures


def test_painting_puts_every_patch_into_its_cell():
    coords = np.array([[300, 50], [428, 50], [300, 306]])  # (x, y), a pitch of 128, one row left out
    picture, cells = paint(np.array([4, 5, 6], np.uint8), coords, 128, fill=255)
    assert picture.dtype == np.uint8
    assert picture.tolist() == [[4, 5], [255, 255], [6, 255]]
    assert cells.tolist() == [[0, 0], [0, 1], [2, 0]]


def test_painting_colours_of_a_whole_grid_in_any_order():
    colours = np.random.default_rng(0).integers(0, 255, (35, 3), np.uint8)
    order = np.random.default_rng(1).permutation(35)
    picture, cells = paint(colours[order], grid(5, 7)[order] + 11, 128)
    assert np.array_equal(picture, colours.reshape(5, 7, 3))
    assert np.array_equal(picture[cells[:, 0], cells[:, 1]], colours[order])


@pytest.mark.parametrize(
    ("values", "coords", "pitch", "message"),
    [
        (np.zeros(4), grid(2, 2, 64), 128, "closer together than the pitch of 128"),
        (np.zeros(3), grid(2, 2), 128, "expected values"),
        (np.zeros(0), np.zeros((0, 2)), 128, "expected values"),
        (np.zeros(4), grid(2, 2), 0, "pitch above 0"),
    ],
)
def test_what_cannot_be_painted_is_refused(values, coords, pitch, message):
    with pytest.raises(ValueError, match=message):
        paint(values, coords, pitch)
