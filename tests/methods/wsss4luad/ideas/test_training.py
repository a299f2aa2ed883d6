"""A recipe's samples hold what it says, its losses are those of the paper, and two networks learn from each other."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from histolab_lite.data import IGNORE
from histolab_lite.data.augment import StainJitter
from histolab_lite.methods.mlps.masks import strongest
from histolab_lite.methods.wsss4luad.ideas import training
from histolab_lite.methods.wsss4luad.ideas.losses import segmentation_loss
from histolab_lite.methods.wsss4luad.ideas.network import MultiTask, Siamese, map_masks
from histolab_lite.methods.wsss4luad.ideas.training import (
    Recipe,
    _segmentation,
    _vary,
    gather,
    pseudo_masks,
    train,
    train_tags,
)
from histolab_lite.training import Checkpoint
from tests.methods.refused import refused

SIDE = 32
COLOURS = np.array([[150, 40, 40], [40, 150, 40], [40, 40, 150]], np.uint8)
QUICK = {"epochs": 1, "batch_size": 6, "progress": None, "device": "cpu"}


def tagged(n: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Patches of plain colours, of which the second half has two; their tags; pseudo masks of class 2 everywhere."""
    random = np.random.default_rng(0)
    halves = np.stack([np.arange(n) % 3, np.where(np.arange(n) < n // 2, np.arange(n) % 3, (np.arange(n) + 1) % 3)], 1)
    patches = np.repeat(COLOURS[halves], SIDE // 2, axis=1)[:, None].repeat(SIDE, 1)
    patches = (patches + random.integers(0, 20, patches.shape)).astype(np.uint8)
    patches[:, :12, :12] = 255
    tags = np.zeros((n, 3), np.uint8)
    np.put_along_axis(tags, halves, 1, axis=1)
    return patches, tags, np.full((n, SIDE, SIDE), 2, np.uint8)


PATCHES, TAGS, MASKS = tagged()
SAMPLES = gather(PATCHES, TAGS, MASKS, Recipe())


def siamese(n: int = 1, n_classes: int = 3) -> Siamese:
    torch.manual_seed(0)
    return Siamese(*(MultiTask(n_classes, "resnet18", 16, 3) for _ in range(n)))


def test_patches_with_a_single_tag_have_exact_masks_and_the_others_keep_their_pseudo_masks():
    assert SAMPLES.exact.tolist() == [True] * 6 + [False] * 6
    expected = np.where(SAMPLES.exact[:, None, None], TAGS.argmax(1)[:, None, None], MASKS)
    expected[:, :12, :12] = IGNORE
    np.testing.assert_array_equal(SAMPLES.masks, expected)
    np.testing.assert_array_equal(SAMPLES.patches, PATCHES)


def test_splices_are_exact_and_tagged_with_what_they_show():
    samples = gather(PATCHES, TAGS, MASKS, Recipe(splices=1.0), seed=3)
    assert len(samples) == 24
    assert samples.exact[12:].all()
    for patch, mask, shown in zip(samples.patches[12:], samples.masks[12:], samples.tags[12:], strict=True):
        assert shown.tolist() == [int((mask == k).any()) for k in range(3)]
        for k in np.flatnonzero(shown):
            assert np.abs(patch[mask == k].mean(0) - COLOURS[k]).max() < 20
    assert (samples.tags[12:].sum(1) > 1).any()


def test_balancing_repeats_the_rare_class():
    keep = np.r_[0:4, 6:8]
    plain, balanced = (gather(PATCHES[keep], TAGS[keep], MASKS[keep], Recipe(balanced=b)) for b in (False, True))
    assert balanced.tags.sum(0).min() >= plain.tags.sum(0).max()
    assert len(balanced) > len(plain)


def test_pseudo_masks_are_made_in_batches():
    model = siamese()
    expected = map_masks(model, torch.from_numpy(PATCHES).permute(0, 3, 1, 2) / 255, torch.from_numpy(TAGS))
    found = pseudo_masks(model, PATCHES, TAGS, batch_size=5)
    assert (found == expected.numpy()).mean() > 0.999


@pytest.mark.parametrize("easy", [False, True])
def test_exact_and_pseudo_masks_have_a_loss_each_and_weigh_by_their_pixels(easy):
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, 8, 8, generator=g)
    target = torch.randint(0, 3, (4, 8, 8), generator=g)
    target[0, :4] = IGNORE
    certain = torch.tensor([True, False, True, False])
    recipe = Recipe(easy=easy, hard=0.5, lovasz=0.3)
    found = _segmentation(logits, target, certain, torch.ones(4, 3, dtype=torch.bool), None, recipe)
    exact = segmentation_loss(logits[[0, 2]], target[[0, 2]], hard=0.5, lovasz=0.3)
    pseudo = segmentation_loss(logits[[1, 3]], target[[1, 3]], easy=easy)
    torch.testing.assert_close(found, (96 * exact + 128 * pseudo) / 224)


def test_the_other_networks_maps_replace_the_pseudo_masks_without_gradient():
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 8, 8, generator=g).requires_grad_()
    maps = torch.randn(2, 3, 4, 4, generator=g).requires_grad_()
    target = torch.zeros(2, 8, 8, dtype=torch.int64)
    target[1, :2] = IGNORE
    present = torch.tensor([[1, 1, 0], [0, 1, 1]]).bool()
    found = _segmentation(logits, target, torch.tensor([True, False]), present, maps, Recipe())
    taught = strongest(maps.detach().relu(), present, (8, 8))[1]
    taught[:2] = IGNORE
    torch.testing.assert_close(found, segmentation_loss(logits, torch.stack([target[0], taught])))
    found.backward()
    assert maps.grad is None
    assert logits.grad.abs().sum() > 0


def test_masks_are_flipped_with_their_patches():
    masks = torch.from_numpy(np.random.default_rng(0).integers(0, 2, (8, SIDE, SIDE), np.uint8))
    patches = masks.numpy()[..., None].repeat(3, 3) * np.uint8(200)
    torch.manual_seed(0)
    x, flipped = _vary(StainJitter(0.0), patches, torch.arange(8), torch.device("cpu"), masks)
    assert torch.equal(x[:, 0] > 0.5, flipped.bool())
    assert not torch.equal(flipped, masks)


def test_a_network_learns_tags_then_masks():
    model = siamese()
    settings = QUICK | {"lr": 5e-3, "stain_strength": 0.0}
    losses = train_tags(model, PATCHES, TAGS, **settings | {"epochs": 6})
    assert losses[-1] < 0.8 * losses[0]
    losses = train(model, SAMPLES, Recipe(tag_weight=0.5), **settings | {"epochs": 5})
    assert losses[-1] < 0.8 * losses[0]


def test_each_of_two_networks_learns_from_the_maps_of_the_other(monkeypatch):
    forward, outputs, pairs = Siamese.forward, [], []

    def segmentation(logits, target, certain, present, other, recipe):
        pairs.append((logits, other))
        return logits.sum()

    monkeypatch.setattr(Siamese, "forward", lambda *arguments: outputs.append(forward(*arguments)) or outputs[-1])
    monkeypatch.setattr(training, "_segmentation", segmentation)
    train(siamese(2), SAMPLES, Recipe(), **QUICK)
    (maps_1, logits_1), (maps_2, logits_2) = outputs[0]
    for found, expected in zip(pairs[0] + pairs[1], (logits_1, maps_2, logits_2, maps_1), strict=True):
        assert found is expected


@pytest.mark.parametrize("tag_weight", [0.0, 1.0])
def test_both_networks_train_and_their_classifiers_only_with_a_tag_weight(tag_weight):
    model = siamese(2)
    before = copy.deepcopy(model)
    train(model, SAMPLES, Recipe(tag_weight=tag_weight), lr=1e-3, **QUICK)
    for old, new in zip(before.networks, model.networks, strict=True):
        moved = new.network.segmentation_head[0].weight - old.network.segmentation_head[0].weight
        assert moved.abs().max() > 1e-4
        decayed = new.classifier.weight / old.classifier.weight  # AdamW's decay aside
        assert (decayed - 1).abs().max() < 1e-4 if tag_weight == 0 else (decayed - 1).abs().max() > 1e-3


def test_a_checkpoint_of_another_recipe_or_of_other_samples_is_refused(tmp_path):
    saved = Checkpoint(tmp_path / "run.ckpt", every=1)
    train(siamese(), SAMPLES, Recipe(), checkpoint=saved, **QUICK)
    other = [replace(SAMPLES, **{name: value[::-1].copy()}) for name, value in vars(SAMPLES).items()]
    again = {"checkpoint": saved, **QUICK}
    refused("easy: False instead of True", lambda: train(siamese(), SAMPLES, Recipe(easy=True), **again))
    refused(r"other settings \(data: [^;]*\)", lambda samples: train(siamese(), samples, Recipe(), **again), *other)
    tagging = {"checkpoint": Checkpoint(tmp_path / "tags.ckpt", every=1), **QUICK}
    train_tags(siamese(), PATCHES, TAGS, **tagging)
    for patches, tags in ((PATCHES[::-1].copy(), TAGS), (PATCHES, TAGS[::-1].copy())):
        refused(r"\(data: [^;]*\)", lambda p=patches, t=tags: train_tags(siamese(), p, t, **tagging))


def test_bad_input_is_refused():
    for tags, masks in ((TAGS, MASKS[:, 1:]), (TAGS * 0, MASKS)):
        refused("one tag per patch", lambda tags=tags, masks=masks: gather(PATCHES, tags, masks, Recipe()))
    refused("no patch to combine", lambda: gather(PATCHES[6:], TAGS[6:], MASKS[6:], Recipe(splices=1.0)))
    refused("at least 0", lambda wrong: Recipe(**wrong), {"tag_weight": -1}, {"splices": -1})
    one, floats = SAMPLES.where(np.array([0])), replace(SAMPLES, patches=PATCHES / 255)
    refused("at least two patches; got 1", lambda: train(siamese(), one, Recipe(), **QUICK))
    refused("at least two patches; got 1", lambda: train(siamese(), SAMPLES, Recipe(), **QUICK | {"batch_size": 1}))
    refused("3 classes|2 classes", lambda: train(siamese(n_classes=2), SAMPLES, Recipe(), **QUICK))
    refused("uint8", lambda: train(siamese(), floats, Recipe(), **QUICK))
    refused("uint8", lambda: train_tags(siamese(), floats.patches, TAGS, **QUICK))
    refused("uint8", lambda: pseudo_masks(siamese(), floats.patches, TAGS))
