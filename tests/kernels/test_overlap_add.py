"""Overlap-add against a loop over pixels; the streamed form also in its rows, its memory and its errors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from histolab_lite.kernels.overlap_add import overlap_add, overlap_add_bands
from tests.kernels.support import Largest, randn


def probabilities(n: int, c: int, h: int, w: int, seed: int = 0) -> torch.Tensor:
    return randn(n, c, h, w, seed=seed).softmax(1)


def pixel_by_pixel(tiles: torch.Tensor, coords: torch.Tensor, canvas: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Means (C, H, W) and covered (H, W), every pixel asking every tile."""
    n, c, h, w = tiles.shape
    mean, covered = np.zeros((c, *canvas)), np.zeros(canvas, dtype=bool)
    for row in range(canvas[0]):
        for col in range(canvas[1]):
            over = []
            for tile, (x, y) in zip(tiles.double().cpu().numpy(), coords.tolist(), strict=True):
                if y <= row < y + h and x <= col < x + w:
                    over.append(tile[:, row - y, col - x])
            if over:
                mean[:, row, col], covered[row, col] = np.mean(over, 0), True
    return mean, covered


def grid(canvas: tuple[int, int], h: int, w: int, stride_y: int, stride_x: int) -> torch.Tensor:
    """Corners (x, y) row-major, the last ones flush with the border."""
    ys = [*range(0, canvas[0] - h, stride_y), canvas[0] - h]
    xs = [*range(0, canvas[1] - w, stride_x), canvas[1] - w]
    return torch.tensor([[x, y] for y in ys for x in xs])


def joined(backend, batches, canvas: tuple[int, int], output: str = "ids") -> torch.Tensor:
    """The bands one below the other; they must follow each other without a gap."""
    row, bands = 0, []
    batches = [(tiles.to(backend.device), coords) for tiles, coords in batches]
    for start, band in overlap_add_bands(batches, canvas, output, backend.name):
        assert start == row
        row += band.shape[-2]
        bands.append(band.cpu())
    assert row == canvas[0]
    return torch.cat(bands, -2)


@settings(max_examples=8)
@given(
    canvas=st.tuples(st.integers(5, 20), st.integers(5, 20)),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    c=st.integers(1, 3),
    n=st.integers(1, 7),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16]),
    seed=st.integers(0, 1000),
)
def test_the_mean_of_the_tiles_over_a_pixel(backend, canvas, size, c, n, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    tiles = probabilities(n, c, *size[::-1], seed=seed).to(dtype).transpose(2, 3)
    ys = torch.randint(canvas[0] - size[0] + 1, (n,), generator=generator)
    xs = torch.randint(canvas[1] - size[1] + 1, (n,), generator=generator)
    coords = torch.stack([xs, ys], 1)
    mean = overlap_add(tiles.to(backend.device), coords, canvas, backend=backend.name)
    expected, covered = pixel_by_pixel(tiles, coords, canvas)
    assert mean.dtype == torch.float32
    np.testing.assert_allclose(mean.cpu().numpy(), expected, atol=1e-6)

    batches = [(tiles[part], coords[part]) for part in ys.argsort(stable=True).split(3)]
    np.testing.assert_allclose(joined(backend, batches, canvas, "mean").numpy(), expected, atol=1e-6)
    ids = joined(backend, batches, canvas)
    assert ids.dtype == torch.uint8
    assert ((ids == 255).numpy() == ~covered).all()
    chosen = np.take_along_axis(expected, ids.long().clamp(max=c - 1)[None].numpy(), 0)[0]
    assert (chosen >= expected.max(0) - 1e-6).all()  # another class passes only as a tie


@pytest.mark.parametrize("canvas", [(63, 150), (150, 63), (1, 63), (63, 1)])
def test_odd_canvases_in_half_overlapping_tiles_the_same_twice(backend, canvas):
    h, w = min(canvas[0], 40), min(canvas[1], 48)
    coords = grid(canvas, h, w, max(1, h // 2), max(1, w // 2))
    tiles = probabilities(len(coords), 2, h, w)
    mean, again = (overlap_add(tiles.to(backend.device), coords, canvas, backend=backend.name).cpu() for _ in range(2))
    assert torch.equal(mean, again)
    torch.testing.assert_close(mean, overlap_add(tiles, coords, canvas, backend="reference"))
    torch.testing.assert_close(mean.sum(0), torch.ones(canvas))
    torch.testing.assert_close(joined(backend, [(tiles, coords)], canvas, "mean"), mean)


def test_equal_classes_give_the_first_and_uncovered_pixels_none(backend):
    tile = torch.full((1, 3, 2, 2), 1 / 3)
    tile[0, 1, 0, 0] = 0.4
    ids = joined(backend, [(tile, torch.tensor([[1, 0]]))], (3, 4))
    assert ids.tolist() == [[255, 1, 0, 255], [255, 0, 0, 255], [255, 255, 255, 255]]


def test_a_band_is_yielded_before_the_next_row_of_tiles_is_asked_for():
    asked = []

    def batches():
        for x, y in grid((100, 60), 20, 20, 10, 10).tolist():
            asked.append(y)
            yield probabilities(1, 2, 20, 20), torch.tensor([[x, y]])

    for row, band in overlap_add_bands(batches(), (100, 60)):
        assert row + len(band) <= max(asked) or max(asked) == 80


@pytest.mark.parametrize("height", [64, 500])
def test_memory_is_one_row_of_tiles_whatever_the_height(height):
    """Of all tensors that are made on the way, the sums of 4 classes over one row of tiles are the largest."""
    tile = probabilities(1, 4, 32, 32)
    batches = ((tile, corner[None]) for corner in grid((height, 400), 32, 32, 16, 16))
    with Largest() as largest:
        for _ in overlap_add_bands(batches, (height, 400)):
            pass
    assert largest.numel == 4 * 32 * 400


def test_a_slide_without_tiles_and_a_long_gap():
    bands = list(overlap_add_bands([], (700, 3)))
    assert torch.cat([band for _, band in bands]).eq(255).all()
    assert sum(len(band) for _, band in bands) == 700
    tile, far = probabilities(1, 2, 4, 3), torch.tensor([[0, 500]])
    bands = list(overlap_add_bands([(tile, far)], (700, 3)))
    assert max(len(band) for _, band in bands) <= 4
    ids = torch.cat([band for _, band in bands])
    assert ids.ne(255).any(1).nonzero()[:, 0].tolist() == [500, 501, 502, 503]


def test_no_tiles_give_zeros_and_an_empty_batch_is_passed_over(backend):
    none = torch.zeros(0, 2, 3, 3), torch.zeros(0, 2, dtype=torch.int64)
    assert overlap_add(none[0].to(backend.device), none[1], (5, 4), backend=backend.name).eq(0).all()
    some = torch.ones(1, 2, 3, 3), torch.tensor([[0, 0]])
    assert joined(backend, [none, some, none], (5, 4)).eq(0).sum() == 9


ZERO = torch.tensor([[0, 0]])
TILE = torch.full((1, 2, 3, 3), 0.5)


@pytest.mark.parametrize(
    ("tiles", "coords", "canvas", "message"),
    [
        (TILE[0], ZERO, (5, 5), "tiles must be floats"),
        (TILE.to(torch.uint8), ZERO, (5, 5), "tiles must be floats"),
        (TILE[:, :0], ZERO, (5, 5), "tiles must be floats"),
        (TILE, ZERO.float(), (5, 5), "coords must be integers"),
        (TILE, ZERO[0], (5, 5), r"coords must be integers \(1, 2\)"),
        (TILE, torch.tensor([[3, 0]]), (5, 5), r"\(3, 0\) reaches outside"),
        (TILE, torch.tensor([[0, 3]]), (5, 9), "outside the canvas of 5 × 9"),
        (TILE, torch.tensor([[-1, 0]]), (5, 5), "reaches outside"),
        (TILE, torch.tensor([[0, -1]]), (5, 5), "reaches outside"),
        (TILE, ZERO, (5,), "canvas must be"),
        (TILE * float("nan"), ZERO, (5, 5), r"\(0, 0\) holds NaN"),
        (TILE * float("inf"), ZERO, (5, 5), "holds NaN or infinite"),
    ],
)
def test_bad_input_is_refused(tiles, coords, canvas, message):
    with pytest.raises(ValueError, match=message):
        overlap_add(tiles, coords, canvas)
    with pytest.raises(ValueError, match=message):
        list(overlap_add_bands([(tiles, coords)], canvas))


LOW = TILE, torch.tensor([[0, 4]])
HIGH = TILE, ZERO


@pytest.mark.parametrize(
    ("batches", "options", "message"),
    [
        ([LOW, HIGH], {}, "y = 0 came after one at y = 4"),
        ([(TILE.repeat(2, 1, 1, 1), torch.tensor([[0, 4], [4, 0]]))], {}, "y = 0 came after one at y = 4"),
        ([HIGH, (TILE[:, :1], ZERO)], {}, r"got \(1, 3, 3\)"),
        ([HIGH, (TILE[:, :, :2], ZERO)], {}, r"got \(2, 2, 3\)"),
        ([(torch.ones(1, 256, 1, 1), ZERO)], {}, "at most 255 classes"),
        ([], {"output": "mean"}, "no tiles came"),
        ([HIGH], {"output": "argmax"}, "'argmax'"),
        ([HIGH], {"backend": "abacus"}, "'abacus' is not available"),
    ],
)
def test_bad_streams_are_refused(batches, options, message):
    with pytest.raises(ValueError, match=message):
        list(overlap_add_bands(batches, (9, 9), **options))
