"""SimCLR learns without labels, and leaves the encoder ready to use."""

import math

import numpy as np
import pytest
import torch

from histolab_lite.methods import simclr
from histolab_lite.methods.simclr import SimCLR, pretrain
from histolab_lite.models import Encoder

SETTINGS = {"epochs": 1, "batch_size": 8, "device": "cpu", "progress": None}


def textures(n: int = 16, size: int = 32) -> np.ndarray:
    """Patches of stripes, each of its own period, as fibres differ."""
    waves = 160 + 70 * np.sin(2 * np.pi * np.arange(size) / np.linspace(2, 16, n)[:, None])
    return np.broadcast_to(waves[:, :, None, None], (n, size, size, 3)).astype(np.uint8)


def fresh() -> Encoder:
    torch.manual_seed(0)
    return Encoder(1 / 16)


def test_the_loss_falls_below_what_a_network_that_knows_nothing_reaches():
    encoder = fresh()
    options = SETTINGS | {"epochs": 50, "batch_size": 16, "lr": 5e-3, "stain_strength": 0.1}
    history = pretrain(encoder, textures(), **options)
    assert len(history) == 50
    assert np.mean(history[-10:]) < math.log(31) - 0.2
    assert np.mean(history[-10:]) < np.mean(history[:5]) - 0.2
    assert not encoder.training
    assert not torch.equal(encoder.conv1.weight, fresh().conv1.weight)
    assert torch.isfinite(encoder.embed(textures())).all()


def test_views_may_be_smaller_than_patches_and_batches_larger_than_the_set():
    history = pretrain(fresh(), textures(5, 48)[:, ::-1], **(SETTINGS | {"view_size": 32, "batch_size": 256}))
    assert 0 < history[0] < 2 * math.log(9)


def test_both_views_are_gathered_from_all_processes(monkeypatch):
    """Here as if a second process had the same views: then each has a copy of itself among the negatives."""
    alone = pretrain(fresh(), textures(), **SETTINGS)
    monkeypatch.setattr(simclr, "gather", lambda z: torch.cat([z, z]))
    together = pretrain(fresh(), textures(), **SETTINGS)
    assert together[0] > alone[0] + 0.5


def test_projection_of_the_pooled_grid():
    model = SimCLR(fresh(), projection=7).eval()
    x = torch.rand(3, 3, 64, 64)
    with torch.inference_mode():
        out = model(x)
        torch.testing.assert_close(out, model.head(model.encoder(x).mean((2, 3))))
    assert out.shape == (3, 7)


@pytest.mark.parametrize(
    ("patches", "changes", "message"),
    [
        (textures(1), {}, "2 or more patches"),
        (textures(4)[..., 0], {}, "uint8"),
        (textures(4).astype(np.float32), {}, "uint8"),
        (textures(4)[..., :2], {}, "uint8"),
        (textures(4), {"view_size": 40}, "view of 40 pixels cannot be cut from a patch of 32"),
    ],
)
def test_bad_input_is_refused(patches, changes, message):
    with pytest.raises(ValueError, match=message):
        pretrain(fresh(), patches, epochs=1, **changes)
