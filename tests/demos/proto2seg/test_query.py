"""A tile and a dictionary give masks, the same every time; a visitor's own tile is brought to the encoder's scale."""

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


def tile(truth: bool = True) -> Tile:
    """Left half like the first prototype, right half like the second, with noise."""
    features = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.1
    features[0, :, :4] += 1
    features[1, :, 4:] += 1
    mask = np.repeat([[0] * 16 + [1] * 16], 32, axis=0).astype(np.uint8)
    return Tile("tile", "Tile", b"jpeg", (32, 32), features, 1.0, mask if truth else None)


def test_masks_and_scores():
    answer = query(tile(), PrototypeDictionary(torch.eye(2), torch.tensor([0, 1]), NAMES), 5, NAMES)
    for ids in (answer.direct, answer.grouped):
        assert ids.dtype == np.uint8
        assert (ids == np.repeat([[0] * 4 + [1] * 4], 8, axis=0)).all()
    assert [scores.macro_dice for scores in answer.scores] == [1, 1]


def test_no_score_without_a_truth_of_these_classes():
    dictionary = PrototypeDictionary(torch.eye(2), torch.tensor([0, 1]), NAMES)
    assert query(tile(truth=False), dictionary, 5, NAMES).scores is None
    assert query(tile(), dictionary, 5, ("bone", "muscle")).scores is None


def test_the_same_question_has_the_same_answer_and_no_number_is_drawn_elsewhere():
    features = torch.randn(6, 12, 12, generator=torch.Generator().manual_seed(1))
    noisy = Tile("noise", "Noise", b"", (48, 48), features)
    dictionary = PrototypeDictionary(
        torch.randn(9, 6, generator=torch.Generator().manual_seed(2)), torch.arange(9) % 2, NAMES
    )
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


def upload(height: int, width: int, mpp: float | None = None) -> Upload:
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[:, :, 0] = np.linspace(0, 255, width).astype(np.uint8)
    return Upload(rgb, "digest", mpp, "")


@pytest.mark.parametrize(
    ("file", "given", "size", "noted"),
    [
        ((200, 300, 0.5), None, (100, 150), ""),
        ((200, 300, 0.5), 2.0, (400, 600), ""),
        ((200, 300, None), None, (200, 300), "not known"),
        ((100, 1500, None), 1.0, (100, LARGEST_SIDE), "middle"),
        ((3000, 3000, 0.5), None, (LARGEST_SIDE, LARGEST_SIDE), "middle"),
    ],
)
def test_an_own_tile_is_brought_to_scale(encoded, file, given, size, noted):
    found = own_tile(upload(*file), given)
    assert found.size == encoded[0].shape[:2] == Image.open(io.BytesIO(found.jpeg)).size[::-1] == size
    assert found.mpp == (1.0 if given or file[2] else None)
    assert noted in found.note
    assert bool(noted) == bool(found.note)


def test_a_large_tile_is_cut_to_its_middle(encoded):
    own_tile(upload(100, 3 * LARGEST_SIDE), 1.0)
    columns = encoded[0][0, :, 0].astype(int)
    assert abs(columns[0] - 85) <= 1
    assert abs(columns[-1] - 170) <= 1


def test_a_tile_smaller_than_a_patch_is_refused(encoded):
    with pytest.raises(UploadError, match="64 on each side"):
        own_tile(upload(100, 100), 0.25)
    assert not encoded
