"""The classifier's logits are the mean of its maps, two networks are averaged, masks hold tagged classes alone."""

import torch
import torch.nn.functional as F

from histolab_lite.methods.wsss4luad.ideas.network import MultiTask, Siamese, by_maps, by_network, map_masks, presence
from tests.methods.refused import refused

STATISTICS = ((0.8, 0.6, 0.7), (0.1, 0.2, 0.3))


def network(seed: int = 0, n_classes: int = 3, statistics=STATISTICS) -> MultiTask:
    torch.manual_seed(seed)
    return MultiTask(n_classes, "resnet18", 16, 3, statistics).eval()


def images(n: int = 2, height: int = 32, width: int = 48) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_both_tasks_share_one_pass_and_agree_with_each_alone():
    model, x = network(), images(2, 37, 50)
    maps, logits = model.both(x)
    torch.testing.assert_close(maps, model.maps(x))
    torch.testing.assert_close(logits, model(x))
    assert logits.shape == (2, 3, 37, 50)


@torch.inference_mode()
def test_the_three_last_stages_are_fused_at_the_size_of_the_first_of_them():
    model, x = network(), images()
    stages = model.network.encoder(model.prepare(x))[-3:]
    assert len({stage.shape[2] for stage in stages}) > 1  # otherwise there is nothing to interpolate
    fused = torch.cat([F.interpolate(stage, stages[0].shape[2:], mode="bilinear") for stage in stages], 1)
    weight, bias = model.classifier.weight[:, :, 0, 0], model.classifier.bias
    expected = torch.einsum("kc,bchw->bkhw", weight, fused) + bias[None, :, None, None]
    torch.testing.assert_close(model.maps(x), expected)


def test_images_are_normalised_by_the_statistics_of_the_data_which_are_saved():
    model, x = network(), images()
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in STATISTICS)
    torch.testing.assert_close(model.prepare(x), (x - mean) / std)
    assert {"mean", "std"} <= model.state_dict().keys()


@torch.inference_mode()
def test_two_networks_give_their_mean_probability():
    one, two, x = network(0), network(1), images()
    model, mean = Siamese(one, two), (one(x).softmax(1) + two(x).softmax(1)) / 2
    tags = (one.maps(x).mean((2, 3)).sigmoid() + two.maps(x).mean((2, 3)).sigmoid()) / 2
    torch.testing.assert_close(model(x).exp(), mean)
    torch.testing.assert_close(by_network(model.train())(x), mean)  # predictions are never those of training mode
    torch.testing.assert_close(presence(model.train(), x), tags)
    torch.testing.assert_close(Siamese(one)(x).exp(), one(x).softmax(1))


def test_pseudo_masks_follow_the_strongest_normalised_map_of_the_tags():
    model, x = Siamese(network(3)), images()
    with torch.inference_mode():
        maps = F.interpolate(model.networks[0].maps(x).relu(), x.shape[2:], mode="bilinear")[0]
    spans = (maps.amax((1, 2)) - maps.amin((1, 2)))[:, None, None]
    scaled = torch.where(spans > 0, (maps - maps.amin((1, 2), keepdim=True)) / spans, 0)
    found = map_masks(model, x, torch.tensor([[1, 0, 1], [0, 1, 0]]))
    assert found.dtype == torch.uint8
    assert torch.equal(found[0].long(), torch.where(scaled[2] > scaled[0], 2, 0))
    assert (found[1] == 1).all()


def test_without_tags_the_maps_of_the_tissues_found_give_a_one_hot_prediction():
    model, x = Siamese(network(3)), images(3)
    y = presence(model, x)
    tags = (y > 0.5) | torch.eye(3, dtype=torch.bool)[y.argmax(1)]
    found = by_maps(model)(x)
    assert torch.equal(found.argmax(1), map_masks(model, x, tags).long())
    assert torch.equal(found.sum(1), torch.ones(3, *x.shape[2:]))


def test_bad_input_is_refused():
    wrong = ((0.5, 0.5), (1, 1)), ((0.5,) * 3, (1, 0, 1))
    refused("statistics", lambda statistics: network(statistics=statistics), *wrong)
    refused("same number of classes", lambda: Siamese(network(), network(n_classes=2)))
    refused("one network, or two", lambda n: Siamese(*[network()] * n), 0, 3)
    tags = torch.tensor([[1, 0, 0], [0, 0, 0]])
    refused("without any tag", lambda: map_masks(Siamese(network()), images(), tags))
