"""The classifier's logits are the mean of its maps, two networks are averaged, masks hold tagged classes alone."""

import pytest
import torch

from histolab_lite.methods.wsss4luad.ideas.network import MultiTask, Siamese, by_maps, by_network, map_masks, presence

STATISTICS = ((0.8, 0.6, 0.7), (0.1, 0.2, 0.3))


def network(seed: int = 0, n_classes: int = 3) -> MultiTask:
    torch.manual_seed(seed)
    return MultiTask(n_classes, "resnet18", 16, 3, STATISTICS).eval()


def images(n: int = 2, height: int = 32, width: int = 48) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(1))


def test_both_tasks_share_one_pass_and_agree_with_each_alone():
    model, x = network(), images(2, 37, 50)
    with torch.inference_mode():
        maps, logits = model.both(x)
        torch.testing.assert_close(maps, model.maps(x))
        torch.testing.assert_close(logits, model(x))
    assert logits.shape == (2, 3, 37, 50)
    assert maps.shape[:2] == (2, 3)


def test_the_three_last_stages_are_fused_at_the_size_of_the_first_of_them():
    model, x = network(), images()
    with torch.inference_mode():
        stages = model.network.encoder(model.prepare(x))[-3:]
        size = stages[0].shape[2:]
        fused = torch.cat([torch.nn.functional.interpolate(s, size, mode="bilinear") for s in stages], 1)
        weight, bias = model.classifier.weight[:, :, 0, 0], model.classifier.bias
        expected = torch.einsum("kc,bchw->bkhw", weight, fused) + bias[None, :, None, None]
        torch.testing.assert_close(model.maps(x), expected)
    assert len({s.shape[2] for s in stages}) > 1  # else there is nothing to interpolate


def test_images_are_normalised_by_the_statistics_of_the_data_which_are_saved():
    model, x = network(), images()
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in STATISTICS)
    torch.testing.assert_close(model.prepare(x), (x - mean) / std)
    assert {"mean", "std"} <= model.state_dict().keys()


@pytest.mark.parametrize("statistics", [((0.5, 0.5), (1, 1)), ((0.5,) * 3, (1, 0, 1))])
def test_statistics_that_cannot_be_are_refused(statistics):
    with pytest.raises(ValueError, match="statistics"):
        MultiTask(3, "resnet18", 16, 3, statistics)


def test_two_networks_give_their_mean_probability():
    one, two, x = network(0), network(1), images()
    with torch.inference_mode():
        mean = (one(x).softmax(1) + two(x).softmax(1)) / 2
        torch.testing.assert_close(Siamese(one, two)(x).exp(), mean)
        torch.testing.assert_close(Siamese(one)(x).exp(), one(x).softmax(1))
        tags = (one.maps(x).mean((2, 3)).sigmoid() + two.maps(x).mean((2, 3)).sigmoid()) / 2
    torch.testing.assert_close(presence(Siamese(one, two), x), tags)


def test_networks_of_different_classes_or_three_of_them_are_refused():
    for networks in ((network(), network(n_classes=2)), (network(), network(1), network(2)), ()):
        with pytest.raises(ValueError, match="one network, or two"):
            Siamese(*networks)


def test_pseudo_masks_follow_the_strongest_normalised_map_of_the_tags():
    model, x = Siamese(network(3)), images()
    tags = torch.tensor([[1, 0, 1], [0, 1, 0]])
    with torch.inference_mode():
        maps = torch.nn.functional.interpolate(model.networks[0].maps(x).relu(), x.shape[2:], mode="bilinear")
    first = []
    for k in (0, 2):
        m = maps[0, k]
        span = m.max() - m.min()
        first.append((m - m.min()) / span if span > 0 else m * 0)
    found = map_masks(model, x, tags)
    assert found.dtype == torch.uint8
    assert torch.equal(found[0].long(), torch.where(first[1] > first[0], 2, 0))
    assert (found[1] == 1).all()


def test_an_image_without_a_tag_is_refused():
    with pytest.raises(ValueError, match="without any tag"):
        map_masks(Siamese(network()), images(), torch.tensor([[1, 0, 0], [0, 0, 0]]))


def test_answers_without_tags_are_one_hot_maps_or_the_networks_probabilities():
    model, x = Siamese(network(3)), images(3)
    y = presence(model, x)
    tags = torch.zeros_like(y, dtype=torch.bool)
    for row in range(3):
        tags[row] = y[row] > 0.5
        tags[row, y[row].argmax()] = True
    answer = by_maps(model)(x)
    assert torch.equal(answer.argmax(1), map_masks(model, x, tags).long())
    assert torch.equal(answer.sum(1), torch.ones(3, *x.shape[2:]))
    with torch.inference_mode():
        torch.testing.assert_close(by_network(model)(x), model(x).softmax(1))
