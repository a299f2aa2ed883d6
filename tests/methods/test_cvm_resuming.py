"""A training from clicks that is killed and started again ends like one that was not; another run's file is refused."""

import numpy as np
import pytest
import torch

from histolab_lite.methods.cvm.supervision import ContrastVariational
from histolab_lite.methods.cvm.training import Trained, train
from histolab_lite.models.segmenters import MapUNet
from histolab_lite.training import Checkpoint

SETTINGS = {"epochs": 3, "repeats": 2, "batch_size": 2, "lr": 0.02, "device": "cpu", "progress": None}


def network(seed: int = 0) -> MapUNet:
    torch.manual_seed(seed)
    return MapUNet(4, width=4, depth=2)


def fitted(model: MapUNet | None = None, **changes) -> tuple[MapUNet, Trained]:
    """3 epochs of 4 steps on maps (4, 12, 10) whose left half is the target."""
    random = torch.Generator().manual_seed(0)
    maps = [torch.randn(4, 12, 10, generator=random) for _ in range(6)]
    for x in maps:
        x[0, :, :5] += 2
        x[1, :, 5:] += 2
    points = [{1: [(row, 0), (11 - row, 2)], 0: [(row, 9), (11 - row, 7)]} for row in range(6)]
    model = model or network()
    return model, train(model, maps[:4], points[:4], (maps[4:], points[4:]), **(SETTINGS | changes))


class Stop(Exception):
    """Stands for whatever ends a process."""


@pytest.mark.parametrize("supervision", ["cvm", "mean teacher"])
@pytest.mark.parametrize(("after", "every"), [(1, 1), (6, 4), (9, 3)])
def test_a_killed_run_ends_like_one_that_was_not(tmp_path, monkeypatch, supervision, after, every):
    """3 epochs of 4 steps; u is older than the last checkpoint, or the validation minimum is."""
    whole, expected = fitted(supervision=supervision)
    forward, steps = MapUNet.forward, 0

    def mortal(self, x):
        nonlocal steps
        if self.training and torch.is_grad_enabled():
            steps += 1
            if steps > after:
                raise Stop
        return forward(self, x)

    checkpoint = Checkpoint(tmp_path / "run.pt", every)
    monkeypatch.setattr(MapUNet, "forward", mortal)
    with pytest.raises(Stop):
        fitted(supervision=supervision, checkpoint=checkpoint)
    monkeypatch.setattr(MapUNet, "forward", forward)
    resumed, run = fitted(network(99), supervision=supervision, checkpoint=checkpoint)
    assert (run.losses, run.validation, run.best) == (expected.losses, expected.validation, expected.best)
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    for u, other in zip(run.targets, expected.targets, strict=True):
        assert (u is None) == (other is None)
        assert u is None or torch.equal(u, other)


def test_a_finished_run_is_read_not_repeated(tmp_path):
    checkpoint = Checkpoint(tmp_path / "run.pt")
    whole, expected = fitted(checkpoint=checkpoint)
    again, run = fitted(network(5), checkpoint=checkpoint)
    assert (run.losses, run.validation, run.best) == (expected.losses, expected.validation, expected.best)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), whole.parameters(), strict=True))


@pytest.mark.parametrize(
    "changes", [{"supervision": "points"}, {"supervision": ContrastVariational(0.3)}, {"radius": 0}]
)
def test_a_checkpoint_of_other_settings_is_refused(tmp_path, changes):
    checkpoint = Checkpoint(tmp_path / "run.pt")
    fitted(checkpoint=checkpoint, epochs=1)
    with pytest.raises(ValueError, match="other settings"):
        fitted(checkpoint=checkpoint, epochs=1, **changes)


@pytest.mark.parametrize("changed", ["maps", "points", "validation maps", "validation points"])
def test_a_checkpoint_of_other_data_is_refused(tmp_path, changed):
    def run(other: str = "") -> None:
        parts = {name: torch.ones(2, 4, 12, 10) for name in ("maps", "validation maps")}
        parts |= {name: [{1: [(3, 0)], 0: [(3, 9)]}] * 2 for name in ("points", "validation points")}
        if "maps" in other:
            parts[other] = parts[other] * 2
        elif other:
            parts[other] = [{1: np.array([[4, 0]]), 0: np.array([[3, 9]])}] * 2
        validation = [*parts["validation maps"]], parts["validation points"]
        options = {**SETTINGS, "epochs": 1, "supervision": "points", "checkpoint": Checkpoint(tmp_path / "run.pt")}
        train(network(), [*parts["maps"]], parts["points"], validation, **options)

    run()
    with pytest.raises(ValueError, match=r"other settings \(data: [^;]*\)"):
        run(changed)
