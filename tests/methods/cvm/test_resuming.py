"""A training from clicks that is killed and started again ends like one that was not; another run's file is refused."""

import pytest
import torch

from histolab_lite.methods.cvm.supervision import ContrastVariational
from histolab_lite.models.segmenters import MapUNet
from histolab_lite.training import Checkpoint
from tests.methods.cvm.examples import clicked_halves, fitted, network


class Stop(Exception):
    """Stands for whatever ends a process."""


def assert_same(one: tuple, other: tuple) -> None:
    """Two trainings ended alike."""
    (model, run), (again, rerun) = one, other
    assert (run.losses, run.validation, run.best) == (rerun.losses, rerun.validation, rerun.best)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    for u, v in zip(run.targets, rerun.targets, strict=True):
        assert u is v is None or torch.equal(u, v)


@pytest.mark.parametrize(
    ("supervision", "after", "every"), [("cvm", 1, 1), ("cvm", 9, 3), ("mean teacher", 6, 4), ("mean teacher", 9, 3)]
)
def test_a_killed_run_ends_like_one_that_was_not(tmp_path, monkeypatch, supervision, after, every):
    """3 epochs of 4 steps; u is older than the last checkpoint, or the validation minimum is."""
    options = {"supervision": supervision, "lr": 0.02}
    whole = fitted(**options)
    forward, steps = MapUNet.forward, 0

    def mortal(self, x):
        nonlocal steps
        if self.training and torch.is_grad_enabled():
            steps += 1
            if steps > after:
                raise Stop
        return forward(self, x)

    options["checkpoint"] = Checkpoint(tmp_path / "run.pt", every)
    with monkeypatch.context() as patch:
        patch.setattr(MapUNet, "forward", mortal)
        with pytest.raises(Stop):
            fitted(**options)
    assert_same(fitted(network(99), **options), whole)


def test_a_finished_run_is_read_not_repeated(tmp_path):
    checkpoint = Checkpoint(tmp_path / "run.pt")
    whole = fitted(checkpoint=checkpoint)
    assert_same(fitted(network(5), checkpoint=checkpoint), whole)


def changed(n: int, part: int, seed: int) -> tuple:
    """Clicked halves, with other maps (0) or other points (1)."""
    data, other = clicked_halves(n, seed=seed), clicked_halves(n, seed=7)
    return (other[0], data[1]) if part == 0 else (data[0], other[1])


@pytest.mark.parametrize(
    ("changes", "keyword"),
    [
        ({"supervision": "points"}, "supervision"),
        ({"supervision": ContrastVariational(0.3)}, "eta"),
        ({"radius": 0}, "radius"),
        ({"cell": 2}, "cell"),
        ({"stain_strength": 0.1}, "stain_strength"),
        ({"data": changed(4, 0, seed=0)}, "data"),
        ({"data": changed(4, 1, seed=0)}, "data"),
        ({"validation": changed(2, 0, seed=9)}, "data"),
        ({"validation": changed(2, 1, seed=9)}, "data"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, changes, keyword):
    options = {"supervision": ContrastVariational(), "epochs": 1, "checkpoint": Checkpoint(tmp_path / "run.pt")}
    fitted(**options)
    with pytest.raises(ValueError, match=rf"other settings \(.*{keyword}"):
        fitted(**(options | changes))
