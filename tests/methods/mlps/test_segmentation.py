"""Phase two: the loss by hand, a tissue learnt from pseudo masks, and the gate."""

import math

import numpy as np
import pytest
import torch

from histolab_lite.methods.mlps import WEIGHTS, Classifier, DeepLab, gate, multi_layer_loss, predict, train_segmenter
from tests.methods.two_tissues import PerPixel, halves

SETTINGS = {"batch_size": 4, "stain_strength": 0.1, "device": "cpu", "progress": None}
PATCHES, MASKS = halves()


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
    assert multi_layer_loss(logits, masks).item() == pytest.approx(expected, rel=1e-6)
    (gradient,) = torch.autograd.grad(multi_layer_loss(logits, masks, {"bn7": 1.0}), logits)
    assert (gradient[0, :, :2] == 0).all()  # ignored
    assert (gradient[1] != 0).all()
    nothing = {layer: torch.full((2, 4, 5), 255) for layer in WEIGHTS}
    assert multi_layer_loss(logits, nothing).item() == 0


def test_the_deepest_layer_outvotes_the_other_two():
    model = PerPixel()
    layers = {"b4_3": 1 - MASKS, "b5_2": 1 - MASKS, "bn7": MASKS}
    history = train_segmenter(model, PATCHES, layers, epochs=60, lr=0.1, **SETTINGS)
    p = predict(model, torch.from_numpy(PATCHES).permute(0, 3, 1, 2) / 255)
    assert (p.argmax(1).numpy() == MASKS).mean() > 0.99
    # the best that is to be had from 0.6 for and 0.4 against
    assert history[-1] == pytest.approx(-0.6 * math.log(0.6) - 0.4 * math.log(0.4), abs=0.02)
    assert p.amax(1).mean() == pytest.approx(0.6, abs=0.05)


@pytest.fixture(scope="module")
def deeplab() -> DeepLab:
    torch.manual_seed(0)
    return DeepLab(3, decoder_channels=16)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (5, 70)])
def test_deeplab_takes_any_size_normalised_and_filled_up_by_its_border(deeplab, height, width):
    x = torch.rand(1, 3, height, width)
    p = predict(deeplab, x)
    assert p.shape == (1, 3, height, width)
    torch.testing.assert_close(p.sum(1), torch.ones(1, height, width))
    prepared = deeplab.prepare(x)
    assert [side % 16 for side in prepared.shape[2:]] == [0, 0]
    rows, cols = (
        torch.arange(side).clamp(max=end - 1) for side, end in zip(prepared.shape[2:], (height, width), strict=True)
    )
    for channel, (mean, std) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]):
        torch.testing.assert_close(prepared[0, channel], (x[0, channel][rows][:, cols] - mean) / std)


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


def test_a_gated_class_is_no_answer_and_the_attention_may_stay_on():
    x = torch.from_numpy(PATCHES[:2]).permute(0, 3, 1, 2) / 255
    model, classifier = PerPixel(), Classifier(2, 1 / 64)
    with torch.no_grad():
        model.network.bias.copy_(torch.tensor([0.0, 5.0]))
        classifier.trunk.bn7.bias.fill_(1)  # every feature is 1
        classifier.head.weight.copy_(torch.tensor([[1.0], [-1.0]]).expand(2, 64))
    assert (predict(model, x).argmax(1) == 1).all()
    assert (predict(model, x, classifier).argmax(1) == 0).all()
    assert (predict(model, x, classifier, epsilon=0.0).argmax(1) == 1).all()
    # at μ = 0 no feature is left, ŷ is 0.5 for both: 0.4 leaves both open
    assert torch.equal(predict(model, x, classifier, 0.4, mu=0.0), predict(model, x))


def train(masks=MASKS, patches=PATCHES, layer="bn7", weight=1.0):
    train_segmenter(PerPixel(), patches, {"bn7": masks}, weights={layer: weight}, epochs=1, **SETTINGS)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: train(layer="b5_2"), "needs a mask of its layer"),
        (lambda: train(weight=-0.1), "λ >= 0"),
        (lambda: train(MASKS[:, :8]), "masks of bn7 are"),
        (lambda: train(MASKS * 2), "class 2"),
        (lambda: train(patches=PATCHES / 255), "uint8"),
        (lambda: train(MASKS[:1], PATCHES[:1]), "two patches"),
        (lambda: DeepLab(1), "two classes"),
        (lambda: gate(torch.rand(2, 2, 3, 3), torch.rand(2, 3)), "do not fit"),
        (lambda: gate(torch.rand(2, 2, 3, 3), torch.rand(2, 2), 1.0), "epsilon"),
    ],
)
def test_bad_input_is_refused(call, word):
    with pytest.raises(ValueError, match=word):
        call()
