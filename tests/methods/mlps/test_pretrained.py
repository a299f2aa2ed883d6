"""The networks that ship for MLPS: found by name, true to the tags they are given, and better than chance."""

import numpy as np
import pytest
import torch

from histolab_lite.data import phantom
from histolab_lite.methods.mlps import LAYERS, classify, predict, tags_of_masks
from histolab_lite.methods.mlps.pretrained import CLASSES, DEFAULT_WEIGHTS, PALETTE, TISSUES, load_mlps, to_classes
from histolab_lite.models.checkpoint import save_weights


@pytest.fixture(scope="module")
def networks():
    return load_mlps()


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Four patches of 112 pixels and their masks, of a slide that was not trained on."""
    slide = phantom.phantom_slide(2, 448, 0.5)
    image, mask = slide.image.reshape(224, 2, 224, 2, 3).mean((1, 3)).round().astype(np.uint8), slide.mask[::2, ::2]
    corners = [(row, column) for row in (0, 112) for column in (0, 112)]
    patches, masks = (np.stack([array[r : r + 112, c : c + 112] for r, c in corners]) for array in (image, mask))
    return patches, to_classes(masks)


def test_classes_by_hand():
    assert CLASSES == ("stroma", "tumour", "lymphocytes", "necrosis", "normal gland", "background")
    ids = to_classes(np.arange(6, dtype=np.uint8)[None])[0]
    assert ids.tolist() == [5, 0, 1, 2, 3, 4]
    assert [CLASSES[i] for i in ids] == list(phantom.CLASS_NAMES)
    assert [PALETTE[i] for i in ids] == list(phantom.PALETTE)
    assert DEFAULT_WEIGHTS.stat().st_size <= 6e6


def test_a_class_without_a_tag_does_not_appear(networks, drawn):
    tags = np.array([[1, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 1], [1, 1, 0, 1, 0]], np.uint8)
    masks = networks.pseudo_masks(drawn[0], tags)
    assert set(masks) == set(LAYERS)
    for found in masks.values():
        assert found.shape == drawn[1].shape
        for mask, row, patch in zip(found, tags, drawn[0], strict=True):
            assert set(np.unique(mask)) <= {*np.flatnonzero(row), 5}
            np.testing.assert_array_equal(mask == 5, (patch / np.float32(255) >= np.float32(0.9)).all(-1))


def test_batches_change_nothing(networks, drawn):
    patches = np.concatenate([drawn[0]] * 5)  # 20: two batches of ten
    once = networks.segment(drawn[0])
    assert (networks.segment(patches) == np.concatenate([once] * 5)).mean() > 0.999
    np.testing.assert_allclose(networks.presence(patches), np.tile(networks.presence(drawn[0]), (5, 1)), atol=1e-5)


def test_the_gate_is_the_papers(networks, drawn):
    x = torch.from_numpy(drawn[0]).permute(0, 3, 1, 2).float() / 255
    o, present = predict(networks.segmenter, x).clone(), classify(networks.classifier, x)
    np.testing.assert_array_equal(networks.segment(drawn[0], gated=False), o.argmax(1))
    for k in range(len(TISSUES)):
        o[:, k] *= ((present[:, k] > 0.1) | (present.argmax(1) == k))[:, None, None]
    np.testing.assert_array_equal(networks.segment(drawn[0]), o.argmax(1))


def test_drawn_tissue_is_known(networks, drawn):
    patches, truth = drawn
    tags = tags_of_masks(truth, len(TISSUES), 0.01)
    shares = np.bincount(truth.ravel(), minlength=6) / truth.size
    for masks in (networks.pseudo_masks(patches, tags, ["bn7"])["bn7"], networks.segment(patches)):
        assert (masks == truth).mean() > max(0.6, shares.max())


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({}, "does not hold the networks of MLPS"),
        ({"width": "wide", "encoder": "resnet18", "decoder": "16"}, "does not hold the networks of MLPS"),
        (
            {"width": "0.0625", "encoder": "tu-tf_mobilenetv3_small_minimal_100", "decoder": "16"},
            "do not fit Classifier",
        ),
    ],
)
def test_other_weights_are_refused(tmp_path, about, message):
    path = save_weights({"classifier.x": torch.zeros(1)}, tmp_path / "x.safetensors", about)
    with pytest.raises(ValueError, match=message):
        load_mlps(str(path))


def test_a_missing_file_is_refused():
    with pytest.raises(FileNotFoundError):
        load_mlps("nowhere.safetensors")
