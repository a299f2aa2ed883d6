"""SimCLR learns without labels, by seed, and leaves the encoder ready to use.

That it survives being killed, and is one run in several processes, is in test_training.
"""

import math

import numpy as np
import pytest
import torch

from histolab_lite.methods.simclr import SimCLR, gather, pretrain
from histolab_lite.models import Encoder
from histolab_lite.training import Checkpoint


def textures(n: int = 16, size: int = 32) -> np.ndarray:
    """Patches of stripes, each of its own period, as fibres differ."""
    rows = np.arange(size)
    periods = np.linspace(2, 16, n)
    waves = 160 + 70 * np.sin(2 * np.pi * rows[None] / periods[:, None])
    return np.broadcast_to(waves[:, :, None, None], (n, size, size, 3)).astype(np.uint8)


def fresh(seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    return Encoder(1 / 16)


def run(patches: np.ndarray, seed: int = 0, **changes) -> tuple[list[float], Encoder]:
    encoder = fresh()
    settings = {"epochs": 2, "batch_size": 8, "device": "cpu", "progress": None}
    return pretrain(encoder, patches, seed=seed, **(settings | changes)), encoder


def test_the_loss_falls_below_what_a_network_that_knows_nothing_reaches():
    history, encoder = run(textures(), epochs=50, batch_size=16, lr=5e-3, stain_strength=0.1)
    assert len(history) == 50
    assert np.mean(history[-10:]) < math.log(31) - 0.2
    assert np.mean(history[-10:]) < np.mean(history[:5]) - 0.2
    assert not encoder.training
    assert not torch.equal(encoder.conv1.weight, fresh().conv1.weight)
    assert torch.isfinite(encoder.embed(textures())).all()


@pytest.mark.parametrize("changes", [{"temperature": 0.2}, {"view_size": 16}, {"stain_strength": 0.0}, {"grey": 0.5}])
def test_a_checkpoint_of_other_settings_is_refused(tmp_path, changes):
    checkpoint = Checkpoint(tmp_path / "run.pt")
    run(textures(), epochs=1, checkpoint=checkpoint)
    with pytest.raises(ValueError, match=f"other settings \\({next(iter(changes))}:"):
        run(textures(), epochs=1, checkpoint=checkpoint, **changes)
    with pytest.raises(ValueError, match=r"other settings \(data: [^;]*\)"):
        run(textures()[::-1], epochs=1, checkpoint=checkpoint)


def test_the_seed_decides():
    (first, a), (again, b), (other, _) = run(textures()), run(textures()), run(textures(), seed=1)
    assert first == again != other
    assert torch.equal(a.layer4[1].conv2.weight, b.layer4[1].conv2.weight)


def test_views_may_be_smaller_than_patches_and_batches_larger_than_the_set():
    heard = []
    history, _ = run(
        textures(5, 48)[:, ::-1], view_size=32, batch_size=256, epochs=1, after_epoch=lambda e, loss: heard.append(loss)
    )
    assert heard == history
    assert 0 < history[0] < 2 * math.log(9)


def test_projection_of_the_pooled_grid():
    model = SimCLR(fresh(), projection=7).eval()
    x = torch.rand(3, 3, 64, 64)
    with torch.inference_mode():
        out = model(x)
        torch.testing.assert_close(out, model.head(model.encoder(x).mean((2, 3))))
    assert out.shape == (3, 7)


def test_alone_there_is_nothing_to_gather():
    z = torch.randn(3, 2)
    assert gather(z) is z


@pytest.mark.parametrize(
    "patches", [textures(1), textures(4)[..., 0], textures(4).astype(np.float32), textures(4)[..., :2]]
)
def test_what_are_no_patches_is_refused(patches):
    with pytest.raises(ValueError, match="2 or more patches"):
        pretrain(fresh(), patches, epochs=1)


def test_a_view_larger_than_the_patch_is_refused():
    with pytest.raises(ValueError, match="view of 40 pixels cannot be cut from a patch of 32"):
        pretrain(fresh(), textures(4, 32), epochs=1, view_size=40)
