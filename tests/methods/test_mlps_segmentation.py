"""Phase two: the loss by hand, a tissue learnt from pseudo masks, and the gate."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from histolab_lite.methods.mlps import (
    WEIGHTS,
    Classifier,
    DeepLab,
    gate,
    multi_layer_loss,
    predict,
    train_segmenter,
)
from histolab_lite.training import Checkpoint

SETTINGS = {"batch_size": 4, "stain_strength": 0.1, "device": "cpu", "progress": None}


class PerPixel(nn.Module):
    """A network that sees one pixel at a time, so that every gradient comes from a pixel of its own."""

    n_classes = 2

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.network = nn.Conv2d(3, 2, 1)

    def forward(self, x):
        return self.network(x * 2 - 1)


def halves(n: int = 8, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Pink over violet, the border elsewhere in every patch, with noise."""
    random = np.random.default_rng(0)
    borders = random.integers(size // 4, 3 * size // 4, n)
    masks = np.broadcast_to(np.arange(size)[:, None] < borders[:, None, None], (n, size, size)).astype(np.uint8)
    colours = np.array([[235, 160, 200], [120, 70, 170]])[masks]
    return (colours + random.normal(0, 6, colours.shape)).clip(0, 255).astype(np.uint8), masks


def test_the_loss_is_the_weighted_sum_of_equation_13():
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, generator=random, dtype=torch.float64, requires_grad=True)
    masks = {layer: torch.randint(3, (2, 4, 5), generator=random, dtype=torch.uint8) for layer in WEIGHTS}
    masks["bn7"][0, :2] = 255
    expected = 0.0
    for layer, weight in (("b4_3", 0.2), ("b5_2", 0.2), ("bn7", 0.6)):
        terms = []
        for b, row, col in np.ndindex(2, 4, 5):
            k = int(masks[layer][b, row, col])
            if k != 255:
                z = logits[b, :, row, col].tolist()
                terms.append(math.log(sum(math.exp(value) for value in z)) - z[k])
        expected += weight * sum(terms) / len(terms)
    loss = multi_layer_loss(logits, masks)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    only = multi_layer_loss(logits, masks, {"bn7": 1.0})
    (gradient,) = torch.autograd.grad(only, logits)
    assert (gradient[0, :, :2] == 0).all()  # ignored
    assert (gradient[1] != 0).all()
    nothing = {layer: torch.full((2, 4, 5), 255) for layer in WEIGHTS}
    assert multi_layer_loss(logits, nothing).item() == 0


def test_the_deepest_layer_outvotes_the_other_two():
    patches, masks = halves()
    model = PerPixel()
    layers = {"b4_3": 1 - masks, "b5_2": 1 - masks, "bn7": masks}
    history = train_segmenter(model, patches, layers, epochs=60, lr=0.1, **SETTINGS)
    x = torch.from_numpy(patches).permute(0, 3, 1, 2) / 255
    p = predict(model, x)
    assert (p.argmax(1).numpy() == masks).mean() > 0.99
    # the best that is to be had from 0.6 for and 0.4 against
    assert history[-1] == pytest.approx(-0.6 * math.log(0.6) - 0.4 * math.log(0.4), abs=0.02)
    assert p.amax(1).mean() == pytest.approx(0.6, abs=0.05)


def test_deeplab_learns_from_one_layer_and_resumes(tmp_path):
    patches, masks = halves(4, 32)
    settings = SETTINGS | {"weights": {"bn7": 1.0}, "batch_size": 2, "lr": 1e-3, "epochs": 3}
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(DeepLab(2, decoder_channels=16))
    file = Checkpoint(tmp_path / "run.pt", every=1)
    history = train_segmenter(models[0], patches, {"bn7": masks}, **settings)
    assert history[-1] < 0.9 * history[0]
    assert train_segmenter(models[1], patches, {"bn7": masks}, checkpoint=file, **settings) == history
    assert train_segmenter(models[1], patches, {"bn7": masks}, checkpoint=file, **settings) == history  # done already
    for name, value in (("weights", {"bn7": 0.5}), ("stain_strength", 0.0)):
        with pytest.raises(ValueError, match=f"other settings \\({name}:"):
            train_segmenter(models[1], patches, {"bn7": masks}, checkpoint=file, **(settings | {name: value}))
    for other, labels in ((patches[::-1], masks), (patches, 1 - masks)):
        with pytest.raises(ValueError, match=r"other settings \(data: [^;]*\)"):
            train_segmenter(models[1], other, {"bn7": labels}, checkpoint=file, **settings)
    for key, value in models[0].state_dict().items():
        assert torch.equal(value, models[1].state_dict()[key]), key


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (5, 70)])
def test_deeplab_takes_any_size(height, width):
    torch.manual_seed(0)
    model = DeepLab(3, decoder_channels=16)
    p = predict(model, torch.rand(1, 3, height, width))
    assert p.shape == (1, 3, height, width)
    torch.testing.assert_close(p.sum(1), torch.ones(1, height, width))


def test_the_gate_closes_at_epsilon_and_leaves_the_rest():
    p = torch.rand(3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    presence = torch.tensor([[0.1, 0.11, 0.9], [0.0, 0.05, 0.02], [1.0, 0.5, 0.2]])
    expected = p.clone()
    expected[0, 0] = 0  # 0.1 is not more than 0.1
    expected[1, [0, 2]] = 0  # all closed: the second, the likeliest, stays
    assert torch.equal(gate(p, presence), expected)  # the fourth class has no gate
    assert torch.equal(gate(p[:, :3], presence), expected[:, :3])
    assert torch.equal(gate(p, presence, 0.0)[0], p[0])
    assert not gate(p, presence, 0.95)[0, :2].any()


def test_a_gated_class_is_no_answer():
    patches, _ = halves(2)
    x = torch.from_numpy(patches).permute(0, 3, 1, 2) / 255
    torch.manual_seed(0)
    model, classifier = PerPixel(), Classifier(2, 1 / 64)
    with torch.no_grad():
        model.network.bias.copy_(torch.tensor([0.0, 5.0]))
        classifier.trunk.bn7.bias.fill_(1)
        classifier.head.weight.copy_(torch.tensor([1.0, -1.0])[:, None].expand(2, 64))
    assert (predict(model, x).argmax(1) == 1).all()
    assert (predict(model, x, classifier).argmax(1) == 0).all()
    assert (predict(model, x, classifier, epsilon=0.0).argmax(1) == 1).all()


def test_the_gate_can_keep_the_attention():
    x = torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    model, classifier = PerPixel(), Classifier(2, 1 / 64)
    with torch.no_grad():
        classifier.trunk.bn7.bias.fill_(1)
        classifier.head.weight.fill_(1)
    p = predict(model, x)
    assert torch.equal(predict(model, x, classifier, 0.5), p)  # both are there
    switched_off = predict(model, x, classifier, 0.5, mu=0.0)  # no feature is left: ŷ is 0.5, and the first stays open
    assert torch.equal(switched_off[:, 0], p[:, 0])
    assert not switched_off[:, 1].any()


def test_what_does_not_belong_together_is_refused():
    patches, masks = halves(4)
    layers = {"bn7": masks}
    only = SETTINGS | {"weights": {"bn7": 1.0}, "epochs": 1}
    with pytest.raises(ValueError, match="needs a mask of its layer"):
        train_segmenter(PerPixel(), patches, layers, epochs=1, **SETTINGS)
    with pytest.raises(ValueError, match="masks of bn7 are"):
        train_segmenter(PerPixel(), patches, {"bn7": masks[:, :8]}, **only)
    with pytest.raises(ValueError, match="class 2"):
        train_segmenter(PerPixel(), patches, {"bn7": masks * 2}, **only)
    with pytest.raises(ValueError, match="uint8"):
        train_segmenter(PerPixel(), patches / 255, layers, **only)
    with pytest.raises(ValueError, match="two patches"):
        train_segmenter(PerPixel(), patches[:1], {"bn7": masks[:1]}, **only)
    with pytest.raises(ValueError, match="two classes"):
        DeepLab(1)
    with pytest.raises(ValueError, match="do not fit"):
        gate(torch.rand(2, 2, 3, 3), torch.rand(2, 3))
    with pytest.raises(ValueError, match="epsilon"):
        gate(torch.rand(2, 2, 3, 3), torch.rand(2, 2), 1.0)
