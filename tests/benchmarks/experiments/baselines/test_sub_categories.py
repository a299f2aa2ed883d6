"""SC-CAM: sub-categories against planted clusters, losses against their sums."""

import copy

import numpy as np
import pytest
import torch

from benchmarks.experiments.baselines import sub_categories
from histolab_lite.methods.mlps import Classifier, classify
from histolab_lite.models.resnet38 import ResNet38
from histolab_lite.training import Checkpoint
from tests.methods.small_classifier import CLASSES, classifier, patches, random_images


@pytest.fixture(scope="module")
def model():
    return classifier()


def test_pooled_features_are_what_the_head_sees(model):
    x = patches(5)
    turned = np.ascontiguousarray(x.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)  # the same, laid out otherwise
    found = sub_categories.pooled_features(model.train(), turned, batch_size=2)
    assert found.shape == (5, model.trunk.channels)
    assert not model.training
    torch.testing.assert_close(model.head(found), model(random_images(5)), rtol=1e-4, atol=1e-5)


def test_every_class_is_clustered_by_itself():
    rng = np.random.default_rng(0)
    planted = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1])
    centres = np.array([[0.0, 9, 0], [9, 0, 0], [0, 0, 9]])
    features = torch.tensor(centres[planted] + rng.normal(0, 0.1, (11, 3)), dtype=torch.float32)
    tags = np.zeros((11, 4), np.uint8)
    tags[:, 0] = 1  # all three kinds
    tags[planted < 2, 1] = 1  # two kinds, which n_sub = 3 has to split once
    tags[[3, 7], 2] = 1  # fewer patches than kinds; class 3 has none
    found = sub_categories.find_sub_categories(features, tags, 3).reshape(11, 4, 3)
    assert found.dtype == np.uint8
    assert (found.sum(2) == tags).all()  # one kind per tag, none without
    alike = (found[:, None] == found).all(3)  # (11, 11, 4): two patches are of one kind of a class
    both = tags[:, 1, None] * tags[:, 1] > 0
    same = planted[:, None] == planted
    assert (alike[..., 0] == same).all()
    assert same[alike[..., 1] & both].all()
    assert found[:, 1].any(0).all()
    assert found[:, 2].sum(0).tolist() == [1, 1, 0]
    assert (sub_categories.find_sub_categories(features, tags, 3) == found.reshape(11, -1)).all()


def test_the_joint_loss_is_the_parents_and_lambda_times_the_kinds(model, monkeypatch):
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout2d):
            module.p = 0.0
    monkeypatch.setattr(sub_categories, "StainJitter", lambda strength: torch.nn.Identity())
    monkeypatch.setattr(sub_categories, "random_flips", lambda x: (x,))
    x, tags = patches(4), np.array([[1, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 1]])
    kinds = np.array([[1, 0], [0, 1], [0, 0], [1, 1]])
    torch.manual_seed(3)
    joint = sub_categories._Joint(model, 2).train()
    with torch.no_grad():
        probabilities = [logits.double().sigmoid().numpy() for logits in joint(random_images(4))]
    of_parents, of_kinds = (
        -np.log(np.where(y, p, 1 - p)).mean() for p, y in zip(probabilities, (tags, kinds), strict=True)
    )
    options = {"epochs": 1, "batch_size": 4, "lr": 0.0, "device": "cpu", "progress": None}
    for weight in (0.0, 5.0, 0.7):
        torch.manual_seed(3)
        (loss,) = sub_categories.train_jointly(model, x, tags, kinds, weight=weight, **options)
        assert loss == pytest.approx(of_parents + weight * of_kinds, rel=1e-4)


def test_rounds_start_alike_and_cluster_the_features_of_the_round_before(monkeypatch):
    torch.manual_seed(0)
    model, extractor = Classifier(CLASSES, 1 / 64), Classifier(CLASSES, 1 / 64)
    start = copy.deepcopy(model.state_dict())
    heads, clustered, features = [], [], sub_categories.pooled_features

    def pretend(model, x, tags, kinds, **options):
        assert all((value == start[name]).all() for name, value in model.state_dict().items())
        assert (kinds.shape, options["weight"], options["epochs"]) == ((6, 6), 2.0, 4)
        model.head.weight.data += len(heads) + 1.0
        heads.append(model.head.weight.detach().clone())
        return [0.5] * options["epochs"]

    def watch(model, x):
        clustered.append(model.head.weight.detach().clone())
        return features(model, x)

    monkeypatch.setattr(sub_categories, "train_jointly", pretend)
    monkeypatch.setattr(sub_categories, "pooled_features", watch)
    history = sub_categories.train_sub_categories(
        model, extractor, patches(6), np.ones((6, CLASSES)), n_sub=2, weight=2.0, epochs=4, progress=None
    )
    assert history == [[0.5] * 4] * 3
    torch.testing.assert_close(clustered, [extractor.head.weight.detach(), *heads[:2]])
    torch.testing.assert_close(model.head.weight.detach(), heads[2])


def test_sub_categories_are_learnt():
    rng = np.random.default_rng(0)
    kinds = np.arange(24) % 3
    colours = np.array([[220, 40, 40], [40, 220, 40], [40, 40, 220]])
    x = np.clip(colours[kinds][:, None, None] + rng.normal(0, 20, (24, 16, 16, 3)), 0, 255).astype(np.uint8)
    tags = np.stack([kinds < 2, kinds == 2], 1)
    torch.manual_seed(0)
    model = Classifier(2, ResNet38(2 / 64, dropout=(0.0, 0.0)))
    options = {"epochs": 14, "batch_size": 4, "lr": 3e-3, "stain_strength": 0.1, "device": "cpu", "progress": None}
    (losses,) = sub_categories.train_sub_categories(model, model, x, tags, n_sub=2, rounds=1, **options)
    assert len(losses) == 14
    assert losses[-1] < 0.7 * losses[0]
    assert ((classify(model, torch.from_numpy(x).permute(0, 3, 1, 2) / 255) > 0.5).numpy() == tags).mean() > 0.9


def one_round(model, **change):
    good = {"patches": patches(4), "tags": np.ones((4, CLASSES)), "children": np.zeros((4, 2))}
    return sub_categories.train_jointly(model, **(good | change), epochs=1)


@pytest.mark.parametrize(
    ("refused", "keyword"),
    [
        (lambda model: one_round(model, patches=np.zeros((4, 8, 8, 3))), "uint8"),
        (lambda model: one_round(model, tags=np.ones((3, CLASSES))), "tags of 4 images"),
        (lambda model: one_round(model, children=np.full((4, 2), 2)), "tag is 0"),
        (lambda model: one_round(model, children=np.zeros((4, 0))), "sub-categories"),
        (lambda model: one_round(model, weight=-1.0), "negative"),
        (lambda model: sub_categories.find_sub_categories(torch.zeros(2, 3), np.ones((2, 2)), 0), "one sub-category"),
        (lambda model: sub_categories.find_sub_categories(torch.zeros(2, 3, 1), np.ones((2, 2))), "features"),
        (lambda m: sub_categories.train_sub_categories(m, m, patches(2), np.ones((2, 3)), rounds=0), "one round"),
        (
            lambda m: sub_categories.train_sub_categories(
                m, m, patches(2), np.ones((2, 3)), checkpoint=Checkpoint("x")
            ),
            "without a checkpoint",
        ),
    ],
)
def test_what_does_not_fit_is_refused(model, refused, keyword):
    with pytest.raises(ValueError, match=keyword):
        refused(model)
