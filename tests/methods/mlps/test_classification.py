"""Phase one: μ by hand, the attention in training only, tissues learnt from tags."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from histolab_lite.kernels.dropout_attention import dropout_attention
from histolab_lite.methods.mlps import PROGRESSIVE, Classifier, DropoutCoefficient, classify, constant, train_classifier
from histolab_lite.methods.mlps.classification import check_tags
from tests.methods.two_tissues import painted

SETTINGS = {"batch_size": 4, "lr": 3e-3, "stain_strength": 0.1, "device": "cpu", "progress": None}


def tagged(n: int = 8, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Pink, violet, or one beside the other: patches and tags."""
    tags = np.array([[1, 0], [0, 1], [1, 1]])[np.arange(n) % 3]
    rightmost = np.array([size, 0, size // 2])[np.arange(n) % 3]
    masks = np.arange(size) >= rightmost[:, None, None]
    return painted(np.broadcast_to(masks, (n, size, size)).astype(int)), tags


def classifier() -> Classifier:
    torch.manual_seed(0)
    model = Classifier(2, 2 / 64)
    model.trunk.b6.dropout.p = model.trunk.b7.dropout.p = 0.0
    return model


def test_mu_by_hand():
    expected = [1, 1, 1, 0.985, 0.970225, 0.955671625]
    assert [PROGRESSIVE(epoch) for epoch in range(6)] == pytest.approx(expected, rel=1e-12)
    assert PROGRESSIVE(19) == pytest.approx(0.985**17)
    assert PROGRESSIVE(30) > 0.65 == PROGRESSIVE(31) == PROGRESSIVE(500)  # 0.985^29 < 0.65 < 0.985^28
    assert {constant()(epoch) for epoch in range(50)} == {0.7}


@given(st.integers(0, 100), st.floats(0, 1), st.floats(0.5, 1), st.integers(0, 5))
def test_mu_never_rises_nor_leaves_its_bounds(epoch, floor, decay, hold):
    mu = DropoutCoefficient(1.0, hold, decay, floor)
    assert floor <= mu(epoch + 1) <= mu(epoch) <= 1


def test_logits_are_those_of_the_equations():
    model = classifier().eval()
    x = torch.rand(2, 3, 17, 24)
    m = model.trunk(x)["bn7"]
    for mu in (None, 0.7):
        weighed = m if mu is None else dropout_attention(m, model.head.weight, mu, backend="reference")
        for b, k in np.ndindex(2, 2):
            expected = sum(model.head.weight[k, c] * weighed[b, c].mean() for c in range(m.shape[1]))
            torch.testing.assert_close(model(x, mu)[b, k], expected, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(classify(model.train(), x, mu), model(x, mu).sigmoid())


def test_tags_are_learnt():
    patches, tags = tagged(24, 32)
    model = classifier()
    history = train_classifier(model, patches, tags, **SETTINGS)
    assert len(history) == 20
    assert history[-1] < 0.7 * history[0]
    x = torch.from_numpy(patches).permute(0, 3, 1, 2) / 255
    assert ((classify(model, x) > 0.5).numpy() == tags).mean() > 0.8  # both tags always: 0.67


@pytest.mark.parametrize(
    ("attention", "mu"), [(PROGRESSIVE, [1, 1, 1, 0.985, 0.985**2]), (constant(0.6), [0.6] * 5), (None, [None] * 5)]
)
def test_every_epoch_trains_at_its_own_mu(attention, mu, monkeypatch):
    seen, forward = [], Classifier.forward
    monkeypatch.setattr(Classifier, "forward", lambda self, x, mu=None: seen.append(mu) or forward(self, x, mu))
    train_classifier(classifier(), *tagged(), attention=attention, epochs=5, **SETTINGS)
    assert seen == pytest.approx([value for value in mu for _ in range(2)])


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda patches, tags: train_classifier(classifier(), patches, tags[:3], **SETTINGS), "8 images and 2 classes"),
        (lambda patches, tags: train_classifier(classifier(), patches / 255, tags, **SETTINGS), "uint8"),
        (lambda patches, tags: train_classifier(classifier(), patches, tags, batch_size=0), "batches of 0"),
        (lambda patches, tags: check_tags(tags * 2, 8, 2), "a tag is 0"),
        (lambda patches, tags: Classifier(1, 1 / 64), "two classes"),
        (lambda *_: DropoutCoefficient(floor=1.2), "floor <= start"),
        (lambda *_: DropoutCoefficient(floor=math.nan), "floor <= start"),
        (lambda *_: DropoutCoefficient(start=0.5), "floor <= start"),
        (lambda *_: DropoutCoefficient(decay=0.0), "0 < decay"),
        (lambda *_: DropoutCoefficient(hold=-1), "hold >= 0"),
    ],
)
def test_bad_input_is_refused(call, word):
    with pytest.raises(ValueError, match=word):
        call(*tagged())
