"""A recipe's samples hold what it says, its losses are those of the paper, and two networks learn from each other."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from histolab_lite.data import IGNORE
from histolab_lite.methods.mlps.masks import strongest
from histolab_lite.methods.wsss4luad.ideas.losses import segmentation_loss
from histolab_lite.methods.wsss4luad.ideas.network import MultiTask, Siamese
from histolab_lite.methods.wsss4luad.ideas.training import Recipe, _segmentation, gather, train, train_tags
from histolab_lite.training import Checkpoint

SIDE = 32
COLOURS = np.array([[150, 40, 40], [40, 150, 40], [40, 40, 150]], np.uint8)


def tagged(n: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Patches of plain colours, of which the second half has two; their tags; guesses that are class 2 everywhere."""
    random = np.random.default_rng(0)
    halves = np.stack([np.arange(n) % 3, np.where(np.arange(n) < n // 2, np.arange(n) % 3, (np.arange(n) + 1) % 3)], 1)
    patches = np.repeat(COLOURS[halves], SIDE // 2, axis=1)[:, None].repeat(SIDE, 1)
    patches = (patches + random.integers(0, 20, patches.shape)).astype(np.uint8)
    patches[:, :12, :12] = 255
    tags = np.zeros((n, 3), np.uint8)
    np.put_along_axis(tags, halves, 1, axis=1)
    return patches, tags, np.full((n, SIDE, SIDE), 2, np.uint8)


def siamese(n: int = 1, n_classes: int = 3) -> Siamese:
    torch.manual_seed(0)
    return Siamese(*(MultiTask(n_classes, "resnet18", 16, 3) for _ in range(n)))


def test_patches_of_one_tag_have_exact_masks_and_the_others_keep_their_guess():
    patches, tags, guesses = tagged()
    samples = gather(patches, tags, guesses, Recipe())
    assert samples.exact.tolist() == [True] * 6 + [False] * 6
    expected = np.where(samples.exact[:, None, None], tags.argmax(1)[:, None, None], guesses)
    expected[:, :12, :12] = IGNORE
    np.testing.assert_array_equal(samples.masks, expected)
    np.testing.assert_array_equal(samples.patches, patches)


def test_splices_are_exact_and_tagged_with_what_they_show():
    patches, tags, guesses = tagged()
    samples = gather(patches, tags, guesses, Recipe(splices=1.0), seed=3)
    assert len(samples) == 24
    assert samples.exact[12:].all()
    for patch, mask, shown in zip(samples.patches[12:], samples.masks[12:], samples.tags[12:], strict=True):
        assert shown.tolist() == [int((mask == k).any()) for k in range(3)]
        for k in np.flatnonzero(shown):
            assert np.abs(patch[mask == k].mean(0) - COLOURS[k]).max() < 20
    assert (samples.tags[12:].sum(1) > 1).any()


def test_balancing_repeats_the_rare_class():
    patches, tags, guesses = tagged()
    keep = np.r_[0:4, 6:8]
    plain, balanced = (gather(patches[keep], tags[keep], guesses[keep], Recipe(balanced=b)) for b in (False, True))
    assert balanced.tags.sum(0).min() >= plain.tags.sum(0).max()
    assert len(balanced) > len(plain)


def test_samples_that_do_not_belong_together_are_refused():
    patches, tags, guesses = tagged()
    with pytest.raises(ValueError, match="a tag or more"):
        gather(patches, tags, guesses[:, :-1], Recipe())
    with pytest.raises(ValueError, match="a tag or more"):
        gather(patches, tags * 0, guesses, Recipe())
    with pytest.raises(ValueError, match="put together"):
        gather(patches[6:], tags[6:], guesses[6:], Recipe(splices=1.0))
    with pytest.raises(ValueError, match="at least 0"):
        Recipe(tag_weight=-1)


@pytest.mark.parametrize("easy", [False, True])
def test_exact_masks_and_guesses_have_a_loss_each_and_weigh_by_their_pixels(easy):
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, 8, 8, generator=g)
    target = torch.randint(0, 3, (4, 8, 8), generator=g)
    target[0, :4] = IGNORE
    certain = torch.tensor([True, False, True, False])
    recipe = Recipe(easy=easy, hard=0.5, lovasz=0.3)
    found = _segmentation(logits, target, certain, torch.ones(4, 3, dtype=torch.bool), None, recipe)
    exact = segmentation_loss(logits[[0, 2]], target[[0, 2]], hard=0.5, lovasz=0.3)
    guessed = segmentation_loss(logits[[1, 3]], target[[1, 3]], easy=easy)
    torch.testing.assert_close(found, (96 * exact + 128 * guessed) / 224)


def test_the_other_networks_maps_are_the_masks_of_guessed_patches_without_gradient():
    g = torch.Generator().manual_seed(0)
    logits, maps = torch.randn(2, 3, 8, 8, generator=g), torch.randn(2, 3, 4, 4, generator=g).requires_grad_()
    target = torch.zeros(2, 8, 8, dtype=torch.int64)
    target[1, :2] = IGNORE
    present = torch.tensor([[1, 1, 0], [0, 1, 1]]).bool()
    certain = torch.tensor([True, False])
    logits.requires_grad_()
    found = _segmentation(logits, target, certain, present, maps, Recipe())
    taught = strongest(maps.detach().relu(), present, (8, 8))[1]
    taught[:2] = IGNORE
    expected = segmentation_loss(logits, torch.stack([target[0], taught]))
    torch.testing.assert_close(found, expected)
    found.backward()
    assert maps.grad is None
    assert logits.grad.abs().sum() > 0


def test_a_network_learns_tags_then_masks():
    patches, tags, guesses = tagged(24)
    model = siamese()
    settings = {"batch_size": 8, "lr": 5e-3, "stain_strength": 0.0, "progress": None, "device": "cpu"}
    losses = train_tags(model, patches, tags, epochs=6, **settings)
    assert losses[-1] < 0.8 * losses[0]
    before = model.networks[0].network.segmentation_head[0].weight.clone()
    samples = gather(patches, tags, guesses, Recipe(splices=1.0))
    losses = train(model, samples, Recipe(splices=1.0, tag_weight=0.5), epochs=4, **settings)
    assert losses[-1] < 0.8 * losses[0]
    assert not torch.equal(before, model.networks[0].network.segmentation_head[0].weight)


def test_two_networks_train_and_without_a_tag_weight_the_classifiers_stay():
    patches, tags, guesses = tagged()
    model = siamese(2)
    before = copy.deepcopy(model)
    samples = gather(patches, tags, guesses, Recipe())
    train(model, samples, Recipe(), epochs=1, batch_size=6, lr=1e-3, progress=None, device="cpu")
    for old, new in zip(before.networks, model.networks, strict=True):
        moved = new.network.segmentation_head[0].weight - old.network.segmentation_head[0].weight
        assert moved.abs().max() > 1e-4
        decayed = new.classifier.weight / old.classifier.weight  # AdamW's decay aside
        torch.testing.assert_close(decayed, torch.ones_like(decayed), atol=1e-4, rtol=0)


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    patches, tags, guesses = tagged()
    samples = gather(patches, tags, guesses, Recipe())
    settings = {"epochs": 1, "batch_size": 6, "progress": None, "device": "cpu"}
    saved = Checkpoint(tmp_path / "run.ckpt", every=1)
    train(siamese(), samples, Recipe(), checkpoint=saved, **settings)
    with pytest.raises(ValueError, match="easy: False instead of True"):
        train(siamese(), samples, Recipe(easy=True), checkpoint=saved, **settings)
    for name in ("patches", "tags", "masks", "exact"):
        other = replace(samples, **{name: getattr(samples, name)[::-1].copy()})
        with pytest.raises(ValueError, match=r"other settings \(data: [^;]*\)"):
            train(siamese(), other, Recipe(), checkpoint=saved, **settings)


def test_a_checkpoint_of_other_tags_is_refused(tmp_path):
    patches, tags, _ = tagged()
    settings = {"epochs": 1, "batch_size": 6, "progress": None, "device": "cpu"}
    saved = Checkpoint(tmp_path / "run.ckpt", every=1)
    train_tags(siamese(), patches, tags, checkpoint=saved, **settings)
    for other, known in ((patches[::-1].copy(), tags), (patches, tags[::-1].copy())):
        with pytest.raises(ValueError, match=r"other settings \(data: [^;]*\)"):
            train_tags(siamese(), other, known, checkpoint=saved, **settings)


def test_wrong_samples_are_refused():
    patches, tags, guesses = tagged()
    samples = gather(patches, tags, guesses, Recipe())
    one = samples.where(np.array([0]))
    with pytest.raises(ValueError, match="two patches"):
        train(siamese(), one, Recipe(), epochs=1, progress=None)
    with pytest.raises(ValueError, match="3 classes|2 classes"):
        train(siamese(n_classes=2), samples, Recipe(), epochs=1, progress=None)
    with pytest.raises(ValueError, match="uint8"):
        train_tags(siamese(), patches.astype(np.float32), tags, epochs=1, progress=None)
