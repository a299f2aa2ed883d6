"""A tile and a dictionary give masks, the same every time; a visitor's own tile is brought to the encoder's scale."""

import dataclasses
import io

import numpy as np
import pytest
import torch
from PIL import Image

from demos.proto2seg import query as module
from demos.proto2seg.query import LARGEST_SIDE, own_tile, query
from demos.proto2seg.samples import Tile
from demos.shared.uploads import Upload, UploadError
from histolab_lite.methods.proto2seg import PrototypeDictionary

NAMES = ("fat", "muscle")
DICTIONARY = PrototypeDictionary(torch.eye(2), torch.tensor([0, 1]), NAMES)


def tile() -> Tile:
    """Left half like the first prototype, right half like the second, with noise."""
    features = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.1
    features[0, :, :4] += 1
    features[1, :, 4:] += 1
    truth = np.repeat([[0] * 16 + [1] * 16], 32, axis=0).astype(np.uint8)
    return Tile("tile", "Tile", b"jpeg", (32, 32), features, 1.0, truth)


def test_masks_and_scores_where_the_truth_has_these_classes():
    answer = query(tile(), DICTIONARY, 5, NAMES)
    for ids in (answer.direct, answer.grouped):
        assert ids.dtype == np.uint8
        assert (ids == np.repeat([[0] * 4 + [1] * 4], 8, axis=0)).all()
    assert [scores.macro_dice for scores in answer.scores] == [1, 1]
    assert query(dataclasses.replace(tile(), truth=None), DICTIONARY, 5, NAMES).scores is None
    assert query(tile(), DICTIONARY, 5, ("bone", "muscle")).scores is None


def test_the_same_question_has_the_same_answer_and_no_number_is_drawn_elsewhere():
    generator = torch.Generator().manual_seed(1)
    noisy = Tile("noise", "Noise", b"", (48, 48), torch.randn(6, 12, 12, generator=generator))
    dictionary = PrototypeDictionary(torch.randn(9, 6, generator=generator), torch.arange(9) % 2, NAMES)
    state = torch.get_rng_state()
    first, again = (query(noisy, dictionary, 3, NAMES).grouped for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.fixture
def encoded(monkeypatch):
    """The images that the encoder sees."""
    seen = []

    def encode(rgb, patch, stride):
        seen.append(rgb)
        return torch.zeros(2, round(rgb.shape[0] / stride), round(rgb.shape[1] / stride))

    monkeypatch.setattr(module, "encode", encode)
    return seen


def upload(height: int, width: int, mpp: float | None = None, note: str = "") -> Upload:
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[:, :, 0] = np.linspace(0, 255, width).astype(np.uint8)
    return Upload(rgb, "digest", mpp, note)


@pytest.mark.parametrize(
    ("file", "given", "size", "noted"),
    [
        ((200, 300, 0.5), None, (100, 150), ""),
        ((200, 300, 0.5, "As read."), 2.0, (400, 600), "As read."),
        ((200, 300, None), None, (200, 300), "not known"),
        ((100, 1500, None), 1.0, (100, LARGEST_SIDE), "middle, 1024 × 100 µm"),
        ((100, 1500, None), None, (100, LARGEST_SIDE), "middle, 1024 × 100 pixels"),
        ((3000, 3000, 0.5), None, (LARGEST_SIDE, LARGEST_SIDE), "middle"),
    ],
)
def test_an_own_tile_is_brought_to_scale(encoded, file, given, size, noted):
    found = own_tile(upload(*file), given)
    assert found.size == encoded[0].shape[:2] == Image.open(io.BytesIO(found.jpeg)).size[::-1] == size
    assert found.mpp == (1.0 if given or file[2] else None)
    assert noted in found.note
    assert bool(noted) == bool(found.note)


def test_a_large_tile_is_cut_to_its_middle_and_a_small_one_is_refused(encoded):
    own_tile(upload(100, 3 * LARGEST_SIDE), 1.0)
    columns = encoded.pop()[0, :, 0].astype(int)
    assert abs(columns[0] - 85) <= 1
    assert abs(columns[-1] - 170) <= 1
    with pytest.raises(UploadError, match="64 on each side"):
        own_tile(upload(100, 252), 0.25)
    assert not encoded
    assert own_tile(upload(256, 256), 0.25).size == (64, 64)
