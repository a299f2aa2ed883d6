"""Phase one: μ by hand, the attention in training only, a tissue learnt from ticks, resuming to the bit."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from histolab_lite.kernels.dropout_attention import dropout_attention
from histolab_lite.methods.mlps import PROGRESSIVE, Classifier, DropoutCoefficient, classify, constant, train_classifier
from histolab_lite.methods.mlps.classification import check_tags
from histolab_lite.training import Checkpoint

SETTINGS = {"batch_size": 4, "lr": 3e-3, "stain_strength": 0.1, "device": "cpu", "progress": None}


def halves(n: int = 12, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Pink, violet, or one beside the other, with noise: patches and tags."""
    random = np.random.default_rng(0)
    tags = np.array([[1, 0], [0, 1], [1, 1]])[np.arange(n) % 3]
    ids = np.where(tags.all(1)[:, None, None], np.arange(size) < size // 2, tags[:, 1, None, None] == 1).astype(int)
    colours = np.array([[235, 160, 200], [120, 70, 170]])[np.broadcast_to(ids, (n, size, size))]
    return (colours + random.normal(0, 6, colours.shape)).clip(0, 255).astype(np.uint8), tags


def classifier(seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    model = Classifier(2, 2 / 64)
    model.trunk.b6.dropout.p = model.trunk.b7.dropout.p = 0.0
    return model


def test_mu_by_hand():
    expected = [1, 1, 1, 0.985, 0.970225, 0.955671625]
    assert [PROGRESSIVE(epoch) for epoch in range(6)] == pytest.approx(expected, rel=1e-12)
    mu, epoch = 1.0, 2  # eq. 11
    while mu > 0.65:
        mu, epoch = 0.985 * mu, epoch + 1
    assert epoch == 31
    assert PROGRESSIVE(30) > 0.65
    assert PROGRESSIVE(31) == PROGRESSIVE(500) == 0.65
    assert PROGRESSIVE(19) == pytest.approx(0.985**17)
    assert {constant(0.7)(epoch) for epoch in range(50)} == {0.7}


@given(st.integers(0, 100), st.floats(0, 1), st.floats(0.5, 1), st.integers(0, 5))
def test_mu_never_rises_nor_leaves_its_bounds(epoch, floor, decay, hold):
    mu = DropoutCoefficient(1.0, hold, decay, floor)
    assert floor <= mu(epoch + 1) <= mu(epoch) <= 1


@pytest.mark.parametrize("wrong", [{"floor": 1.2}, {"decay": 0.0}, {"hold": -1}, {"start": 0.5}, {"floor": math.nan}])
def test_a_senseless_coefficient_is_refused(wrong):
    with pytest.raises(ValueError, match="floor <= start"):
        DropoutCoefficient(**wrong)


def test_logits_are_those_of_the_equations():
    model = classifier().eval()
    x = torch.rand(2, 3, 17, 24)
    m = model.trunk(x)["bn7"]
    for mu in (None, 0.7):
        weighed = m if mu is None else dropout_attention(m, model.head.weight, mu, backend="reference")
        for b in range(2):
            for k in range(2):
                expected = sum(model.head.weight[k, c] * weighed[b, c].mean() for c in range(m.shape[1]))
                torch.testing.assert_close(model(x, mu)[b, k], expected, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(classify(model, x, mu), model(x, mu).sigmoid())


@pytest.mark.parametrize("attention", [PROGRESSIVE, constant(0.7), None])
def test_ticks_are_learnt(attention):
    patches, tags = halves(24, 32)
    model = classifier()
    history = train_classifier(model, patches, tags, attention=attention, epochs=20, **SETTINGS)
    assert history[-1] < 0.7 * history[0]
    x = torch.from_numpy(patches).permute(0, 3, 1, 2) / 255
    assert ((classify(model, x) > 0.5).numpy() == tags).mean() > 0.8  # ticking both always gets 0.67


def test_every_epoch_trains_at_its_own_mu(monkeypatch):
    patches, tags = halves(8)
    model, seen = classifier(), []
    forward = Classifier.forward
    monkeypatch.setattr(Classifier, "forward", lambda self, x, mu=None: seen.append(mu) or forward(self, x, mu))
    train_classifier(model, patches, tags, epochs=5, **SETTINGS)
    assert seen == pytest.approx([1, 1, 1, 1, 1, 1, 0.985, 0.985, 0.985**2, 0.985**2])


def test_the_end_of_every_epoch_is_told_of():
    patches, tags = halves(8)
    model, told = classifier(), []
    history = train_classifier(
        model, patches, tags, epochs=3, after_epoch=lambda *now: told.append((*now, model.training)), **SETTINGS
    )
    assert told == [(epoch, loss, False) for epoch, loss in enumerate(history)]


def test_a_killed_run_ends_as_one_that_was_not(tmp_path, monkeypatch):
    patches, tags = halves(8)
    settings = SETTINGS | {"epochs": 5}
    whole = classifier()
    history = train_classifier(whole, patches, tags, **settings)
    file = Checkpoint(tmp_path / "run.pt", every=1)
    forward, calls = Classifier.forward, []

    def killed(self, x, mu=None):
        calls.append(mu)
        if len(calls) == 8:  # in the middle of the fourth epoch
            raise KeyboardInterrupt
        return forward(self, x, mu)

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "forward", killed)
        with pytest.raises(KeyboardInterrupt):
            train_classifier(classifier(), patches, tags, checkpoint=file, **settings)
    resumed = classifier(seed=1)
    for name, value in (("attention", constant()), ("stain_strength", 0.0)):
        with pytest.raises(ValueError, match=f"other settings \\({name}:"):
            train_classifier(resumed, patches, tags, checkpoint=file, **(settings | {name: value}))
    for other, known in ((patches[::-1].copy(), tags), (patches, tags[::-1].copy())):
        with pytest.raises(ValueError, match=r"other settings \(data: [^;]*\)"):
            train_classifier(resumed, other, known, checkpoint=file, **settings)
    assert train_classifier(resumed, patches, tags, checkpoint=file, **settings) == history
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_what_does_not_belong_together_is_refused():
    patches, tags = halves(4)
    with pytest.raises(ValueError, match="4 images and 2 classes"):
        train_classifier(classifier(), patches, tags[:3], epochs=1, **SETTINGS)
    with pytest.raises(ValueError, match="0, the tissue is absent"):
        check_tags(tags * 2, 4, 2)
    with pytest.raises(ValueError, match="uint8"):
        train_classifier(classifier(), patches / 255, tags, epochs=1, **SETTINGS)
    with pytest.raises(ValueError, match="two classes"):
        Classifier(1, 1 / 64)
