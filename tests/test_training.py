"""The training loop: it learns, follows its schedule, survives being killed, and is one run on many processes."""

import math
from functools import wraps
from pathlib import Path

import pytest
import torch
from torch import nn

from histolab_lite.training import Checkpoint, Schedule, fit, pick_device
from tests.flips import flipped

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
Y = X @ torch.tensor([1.0, -2.0, 0.5, 0.0])


def linear(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Linear(4, 1)


def squared_error(model: nn.Module, indices: torch.Tensor) -> torch.Tensor:
    return (model(X[indices])[:, 0] - Y[indices]).square().mean()


def noisy(model: nn.Module, indices: torch.Tensor) -> torch.Tensor:
    """Draws random numbers, as augmentations do."""
    x = X[indices] + 0.1 * torch.randn(len(indices), 4)
    return (model(x)[:, 0] - Y[indices]).square().mean()


def train(model: nn.Module, loss=squared_error, **changes) -> list[float]:
    settings = {"data": [X, Y], "epochs": 3, "batch_size": 16, "lr": 0.05, "device": "cpu", "progress": None}
    return fit(model, loss, len(X), **(settings | changes))


def test_a_linear_problem_is_solved():
    model = linear()
    history = train(model, epochs=60)
    assert len(history) == 60
    assert history[-1] < 1e-3 < 1 < history[0]
    assert model.weight[0].tolist() == pytest.approx([1, -2, 0.5, 0], abs=0.02)
    assert not model.training


def test_history_holds_the_mean_loss_of_every_epoch_and_the_callback_hears_it():
    seen, heard = [], []
    model = linear()

    def watched(model, indices):
        assert model.training
        value = squared_error(model, indices)
        seen.append(value.item())
        return value

    def after_epoch(epoch, loss):
        assert not model.training
        heard.append((epoch, loss))

    history = train(model, watched, after_epoch=after_epoch)
    assert history == pytest.approx([sum(seen[i : i + 4]) / 4 for i in (0, 4, 8)])
    assert heard == list(enumerate(history))


@pytest.mark.parametrize(("n", "batch_size", "batches"), [(10, 4, [4, 4]), (10, 10, [10]), (10, 64, [10]), (1, 1, [1])])
def test_an_epoch_shows_every_sample_once_in_whole_batches(n, batch_size, batches):
    drawn = []

    def loss(model, indices):
        drawn.append(indices.tolist())
        return model(X[indices]).square().mean()

    fit(linear(), loss, n, data=X, epochs=2, batch_size=batch_size, lr=0.1, device="cpu", progress=None)
    assert [len(batch) for batch in drawn] == batches * 2
    epochs = [sum(drawn[i : i + len(batches)], []) for i in (0, len(batches))]
    assert all(len(set(epoch)) == len(epoch) for epoch in epochs)
    assert all(0 <= index < n for epoch in epochs for index in epoch)
    if n > 1:
        assert epochs[0] != epochs[1]


def test_the_seed_decides_everything():
    def run(seed):
        model = linear()
        return train(model, noisy, seed=seed), model.weight

    (first, a), (again, b), (other, c) = run(1), run(1), run(2)
    assert first == again != other
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_mixed_precision_runs_the_network_in_bfloat16():
    types = []

    def loss(model, indices):
        out = model(X[indices])
        types.append(out.dtype)
        return (out[:, 0].float() - Y[indices]).square().mean()

    model = linear()
    history = train(model, loss, mixed_precision=True)
    assert set(types) == {torch.bfloat16}
    assert model.weight.dtype == torch.float32
    assert history[-1] < history[0]


# Schedules


@pytest.mark.parametrize(("kind", "middle", "end"), [("cosine", 0.5, 0), ("poly", 0.5**0.9, 0), ("constant", 1, 1)])
def test_schedule_at_its_start_middle_and_end(kind, middle, end):
    factor = Schedule(kind, warmup=0)
    assert factor(0, 1000) == 1
    assert factor(500, 1000) == pytest.approx(middle)
    assert factor(1000, 1000) == pytest.approx(end)
    values = [factor(step, 1000) for step in range(1001)]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("kind", ["cosine", "poly", "constant"])
def test_warm_up_rises_linearly_from_above_zero_to_the_full_rate(kind):
    factor = Schedule(kind, warmup=0.1)
    rise = [factor(step, 100) for step in range(11)]
    assert rise == pytest.approx([(step + 1) / 11 for step in range(11)])
    assert max(factor(step, 100) for step in range(100)) == 1
    assert all(0 < factor(step, total) <= 1 for total in (1, 2, 3, 7) for step in range(total))


def test_the_schedule_reaches_the_optimizer(monkeypatch):
    rates = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self: (rates.append(self.param_groups[0]["lr"]), step(self))[1]
    )
    train(linear(), epochs=2, lr=0.3, schedule=Schedule("poly", warmup=0.25))
    assert rates == pytest.approx([0.3 * Schedule("poly", 0.25)(i, 8) for i in range(8)])


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="'staircase'"):
        train(linear(), schedule="staircase")


# Checkpoints

DAMAGED = r"^run\.pt is damaged, or no checkpoint of this version .*\. Delete it to start again, or put back a copy"


class Stop(Exception):
    """Stands for whatever ends a process."""


def interrupted(path: Path, after: int, every: int, **changes) -> None:
    steps = 0

    @wraps(noisy)
    def loss(model, indices):
        nonlocal steps
        steps += 1
        if steps > after:
            raise Stop
        return noisy(model, indices)

    with pytest.raises(Stop):
        train(linear(), loss, checkpoint=Checkpoint(path, every), **changes)


@pytest.mark.parametrize(("after", "every"), [(1, 1), (5, 2), (6, 3), (4, 4), (11, 5), (3, 100)])
def test_a_resumed_run_ends_as_if_never_stopped(tmp_path, after, every):
    whole = linear()
    history = train(whole, noisy)
    interrupted(tmp_path / "run.pt", after, every)
    assert (tmp_path / "run.pt").exists() == (every <= after)
    resumed = linear(seed=0 if after < every else 99)  # its own initial weights must not matter
    assert train(resumed, noisy, checkpoint=Checkpoint(tmp_path / "run.pt", every)) == history
    assert torch.equal(resumed.weight, whole.weight)
    assert torch.equal(resumed.bias, whole.bias)


def test_a_finished_run_is_not_trained_again(tmp_path):
    checkpoint = Checkpoint(tmp_path / "run.pt", every=5)
    model = linear()
    history = train(model, checkpoint=checkpoint)

    @wraps(squared_error)
    def never(model, indices):
        raise AssertionError("trained again")

    again = linear(7)
    assert train(again, never, checkpoint=checkpoint) == history
    assert torch.equal(again.weight, model.weight)
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]


@pytest.mark.parametrize(
    "changes",
    [
        *({"seed": 1}, {"lr": 0.1}, {"epochs": 4}, {"batch_size": 8}, {"schedule": "poly"}, {"weight_decay": 0.0}),
        {"settings": {"radius": 2}},
        {"data": [X + 1e-6, Y]},
        {"model": nn.Linear(4, 2)},
        {"model": nn.Sequential(nn.Linear(4, 1))},  # other names
        {"model": nn.Linear(4, 1).double()},
        {"loss": squared_error},
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, changes):
    interrupted(tmp_path / "run.pt", 3, 2)
    arguments = {"model": linear(), "loss": noisy, "checkpoint": Checkpoint(tmp_path / "run.pt")} | changes
    name = "radius" if "settings" in changes else next(iter(changes))
    with pytest.raises(ValueError, match=rf"^run.pt belongs to a run with other settings \({name}: [^;]*\); delete it"):
        train(**arguments)


def test_a_bit_that_flips_in_a_checkpoint_is_noticed(tmp_path):
    interrupted(tmp_path / "run.pt", 3, 2)
    content = (tmp_path / "run.pt").read_bytes()
    for bit, damaged in flipped(content):
        (tmp_path / "run.pt").write_bytes(damaged)
        with pytest.raises(ValueError, match=DAMAGED):
            train(linear(), noisy, checkpoint=Checkpoint(tmp_path / "run.pt"))
        assert (tmp_path / "run.pt").read_bytes() == damaged, bit


@pytest.mark.parametrize("kept", [0, 10, 71, 72, 73, 1000, -73, -72, -1])
def test_a_part_of_a_checkpoint_is_refused(tmp_path, kept):
    interrupted(tmp_path / "run.pt", 3, 2)
    (tmp_path / "run.pt").write_bytes((tmp_path / "run.pt").read_bytes()[:kept])
    with pytest.raises(ValueError, match=DAMAGED):
        train(linear(), noisy, checkpoint=Checkpoint(tmp_path / "run.pt"))


def test_a_checkpoint_of_an_earlier_version_is_refused(tmp_path):
    """It has no digest."""
    interrupted(tmp_path / "run.pt", 3, 2)
    torch.save(torch.load(tmp_path / "run.pt", weights_only=True), tmp_path / "run.pt")
    with pytest.raises(ValueError, match=DAMAGED):
        train(linear(), noisy, checkpoint=Checkpoint(tmp_path / "run.pt"))


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, fill_disk):
    interrupted(tmp_path / "run.pt", 3, 2)
    before = (tmp_path / "run.pt").read_bytes()
    fill_disk()
    with pytest.raises(OSError, match="run.pt was not written: the disk is full"):
        train(linear(), noisy, checkpoint=Checkpoint(tmp_path / "run.pt", every=1))
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("run.pt", before)]


def test_a_checkpoint_every_zero_steps_is_refused(tmp_path):
    with pytest.raises(ValueError, match="every 1 or more steps"):
        Checkpoint(tmp_path / "run.pt", every=0)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    torch.save(linear().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="weights.pt is damaged, or no checkpoint"):
        train(linear(), checkpoint=Checkpoint(tmp_path / "weights.pt"))


def test_a_loss_that_is_not_finite_ends_the_run_before_anything_is_saved(tmp_path):
    checkpoint = Checkpoint(tmp_path / "run.pt", every=1)
    steps = 0

    def loss(model, indices):
        nonlocal steps
        steps += 1
        return squared_error(model, indices) * (float("nan") if steps == 3 else 1)

    model = linear()
    with pytest.raises(FloatingPointError, match="nan at step 2"):
        train(model, loss, checkpoint=checkpoint)
    assert torch.isfinite(model.weight).all()
    assert torch.load(checkpoint.path, weights_only=True)["step"] == 2


class Jump(torch.autograd.Function):
    """The number it is given, with a gradient of its own."""

    @staticmethod
    def forward(ctx, x, gradient):
        ctx.gradient = gradient
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.gradient, None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_ends_the_run_before_anything_is_saved(tmp_path, bad):
    checkpoint = Checkpoint(tmp_path / "run.pt", every=1)
    steps = 0

    @wraps(noisy)
    def loss(model, indices):
        nonlocal steps
        steps += 1
        return Jump.apply(noisy(model, indices), bad if steps == 3 else 1.0)

    model = linear()
    with pytest.raises(FloatingPointError, match=r"^the gradient.s norm is (nan|inf) at step 2; try a smaller lr"):
        train(model, loss, checkpoint=checkpoint)
    assert torch.isfinite(model.weight).all()
    assert torch.load(checkpoint.path, weights_only=True)["step"] == 2
    whole, resumed = linear(), linear()
    assert train(resumed, noisy, checkpoint=checkpoint) == train(whole, noisy)
    assert torch.equal(resumed.weight, whole.weight)


@pytest.mark.parametrize("every", [1, 100])
def test_weights_that_are_not_finite_are_neither_saved_nor_returned(tmp_path, every):
    """Loss and gradient are those of before the step."""
    checkpoint = Checkpoint(tmp_path / "run.pt", every)
    steep = {"epochs": 1, "batch_size": 64, "lr": 1e37, "weight_decay": 100, "schedule": Schedule("constant", 0)}
    with pytest.raises(FloatingPointError, match=r"the weights. norm is (nan|inf) after step 0"):
        train(linear(), **steep, checkpoint=checkpoint)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FloatingPointError, match="the weights. norm"):
        train(linear(), **steep)


class Counter:
    """Something that a run's outcome depends on, beside the network."""

    def __init__(self) -> None:
        self.count = torch.zeros(())

    def state_dict(self) -> dict:
        return {"count": self.count}

    def load_state_dict(self, state: dict) -> None:
        self.count = state["count"]


@pytest.mark.parametrize(("after", "every"), [(1, 1), (6, 4), (8, 4)])
def test_extra_state_is_saved_after_the_epoch_and_given_back(tmp_path, after, every):
    def run(extra, stop=math.inf, **changes):
        steps = 0

        def loss(model, indices):
            nonlocal steps
            steps += 1
            if steps > stop:
                raise Stop
            extra.count = extra.count + 1
            return squared_error(model, indices) * extra.count

        def after_epoch(epoch, mean):
            extra.count = extra.count * 10

        return train(linear(), loss, extra=extra, after_epoch=after_epoch, **changes)

    whole, killed, resumed = Counter(), Counter(), Counter()
    history = run(whole)
    checkpoint = Checkpoint(tmp_path / "run.pt", every)
    with pytest.raises(Stop):
        run(killed, after, checkpoint=checkpoint)
    assert run(resumed, checkpoint=checkpoint) == history
    assert resumed.count == whole.count == ((4 * 10 + 4) * 10 + 4) * 10


def test_a_checkpoint_with_and_one_without_extra_state_are_of_different_runs(tmp_path):
    train(linear(), checkpoint=Checkpoint(tmp_path / "without.pt"))
    train(linear(), checkpoint=Checkpoint(tmp_path / "with.pt"), extra=Counter())
    with pytest.raises(ValueError, match="other settings"):
        train(linear(), checkpoint=Checkpoint(tmp_path / "without.pt"), extra=Counter())
    with pytest.raises(ValueError, match="other settings"):
        train(linear(), checkpoint=Checkpoint(tmp_path / "with.pt"))


@pytest.mark.parametrize("changes", [{"epochs": 0}, {"batch_size": 0}])
def test_nothing_to_train_is_refused(changes):
    with pytest.raises(ValueError, match="nothing to train"):
        train(linear(), **changes)
    with pytest.raises(ValueError, match="0 samples"):
        fit(linear(), squared_error, 0, data=X, epochs=1, batch_size=1, lr=0.1, device="cpu")


def test_the_device_asked_for_is_taken():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
