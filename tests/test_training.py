"""The training loop: it learns, follows its schedule, survives being killed, and refuses what is not its own."""

import itertools
import math
from collections.abc import Callable
from functools import wraps

import pytest
import torch
from torch import nn

from histolab_lite.training import Checkpoint, Schedule, fit
from tests.flips import flipped

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
Y = X @ torch.tensor([1.0, -2.0, 0.5, 0.0])


def linear(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Linear(4, 1)


def squared_error(model: nn.Module, indices: torch.Tensor) -> torch.Tensor:
    return (model(X[indices])[:, 0].float() - Y[indices]).square().mean()


def noisy(model: nn.Module, indices: torch.Tensor) -> torch.Tensor:
    """Draws random numbers, as augmentations do."""
    x = X[indices] + 0.1 * torch.randn(len(indices), 4)
    return (model(x)[:, 0] - Y[indices]).square().mean()


def at_step(number: int, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable:
    """The noisy loss, which is changed once, at a step counted from 0."""
    steps = itertools.count()

    @wraps(noisy)
    def loss(model, indices):
        value = noisy(model, indices)
        return change(value) if next(steps) == number else value

    return loss


class Stop(Exception):
    """Stands for whatever ends a process."""


def stop(value: torch.Tensor) -> torch.Tensor:
    raise Stop


def train(model: nn.Module, loss=noisy, n: int = 64, **changes) -> list[float]:
    options = {"epochs": 3, "batch_size": 16, "lr": 0.05, "device": "cpu", "progress": None}
    return fit(model, loss, n, **({"data": [X, Y], "settings": {"crop": 8}} | options | changes))


@pytest.mark.parametrize(("mixed", "dtype"), [(False, torch.float32), (True, torch.bfloat16)])
def test_a_linear_problem_is_solved_and_the_end_of_every_epoch_told(mixed, dtype):
    model, seen, told = linear(), [], []

    def loss(network, indices):
        assert network.training
        assert network(X[indices]).dtype == dtype
        value = squared_error(network, indices)
        seen.append(value.item())
        return value

    def after_epoch(*now):
        assert not model.training
        told.append(now)

    history = train(model, loss, epochs=60, mixed_precision=mixed, after_epoch=after_epoch)
    assert history == pytest.approx([sum(seen[i : i + 4]) / 4 for i in range(0, 240, 4)])
    assert told == list(enumerate(history))
    assert history[-1] < 1e-3 < 1 < history[0]
    assert model.weight.dtype == torch.float32
    assert model.weight[0].tolist() == pytest.approx([1, -2, 0.5, 0], abs=0.02)
    assert not model.training


@pytest.mark.parametrize(("n", "batch_size", "batches"), [(10, 4, [4, 4]), (10, 10, [10]), (10, 64, [10]), (1, 1, [1])])
def test_an_epoch_shows_every_sample_once_in_whole_batches(n, batch_size, batches):
    drawn = []

    def loss(model, indices):
        drawn.append(indices.tolist())
        return squared_error(model, indices)

    train(linear(), loss, n, epochs=2, batch_size=batch_size)
    assert [len(batch) for batch in drawn] == batches * 2
    epochs = [sum(drawn[i : i + len(batches)], []) for i in (0, len(batches))]
    assert all(len(set(epoch)) == len(epoch) for epoch in epochs)
    assert all(0 <= index < n for epoch in epochs for index in epoch)
    if n > 1:
        assert epochs[0] != epochs[1]


# Schedules


@pytest.mark.parametrize(("kind", "middle", "end"), [("cosine", 0.5, 0), ("poly", 0.5**0.9, 0), ("constant", 1, 1)])
def test_schedule_at_its_start_middle_and_end(kind, middle, end):
    factor = Schedule(kind, warmup=0)
    values = [factor(step, 1000) for step in range(1001)]
    assert [values[0], values[500], values[1000]] == pytest.approx([1, middle, end])
    assert values == sorted(values, reverse=True)
    assert all(0 < factor(step, total) <= 1 for total in (1, 2, 3, 7) for step in range(total))


@pytest.mark.parametrize("kind", ["cosine", "poly", "constant"])
def test_warm_up_rises_linearly_from_above_zero_to_the_full_rate(kind):
    values = [Schedule(kind, warmup=0.1)(step, 100) for step in range(100)]
    assert values[:11] == pytest.approx([(step + 1) / 11 for step in range(11)])
    assert max(values) == 1


def test_the_schedule_and_the_weight_decay_reach_the_optimizer(monkeypatch):
    seen = []
    step = torch.optim.AdamW.step

    def watched(self):
        seen.append((self.param_groups[0]["lr"], self.param_groups[0]["weight_decay"]))
        step(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    train(linear(), epochs=2, lr=0.3, weight_decay=0.2, schedule=Schedule("poly", warmup=0.25))
    rates, decays = zip(*seen, strict=True)
    assert rates == pytest.approx([0.3 * Schedule("poly", 0.25)(i, 8) for i in range(8)])
    assert set(decays) == {0.2}


# Checkpoints


@pytest.fixture
def saved(tmp_path):
    """The checkpoint of a run that was stopped in its first epoch, after two of twelve steps."""
    with pytest.raises(Stop):
        train(linear(), at_step(3, stop), checkpoint=Checkpoint(tmp_path / "run.pt", every=2))
    return tmp_path / "run.pt"


@pytest.mark.parametrize(("after", "every"), [(1, 1), (5, 2), (6, 3), (4, 4), (11, 5), (3, 100)])
def test_a_resumed_run_ends_as_if_never_stopped(tmp_path, after, every):
    whole = linear()
    history = train(whole)
    checkpoint = Checkpoint(tmp_path / "run.pt", every)
    with pytest.raises(Stop):
        train(linear(), at_step(after, stop), checkpoint=checkpoint)
    assert (tmp_path / "run.pt").exists() == (every <= after)
    resumed = linear(seed=0 if after < every else 99)  # its own initial weights must not matter
    assert train(resumed, checkpoint=checkpoint) == history
    assert torch.equal(resumed.weight, whole.weight)
    assert torch.equal(resumed.bias, whole.bias)


def test_a_finished_run_is_not_trained_again(tmp_path):
    checkpoint = Checkpoint(tmp_path / "run.pt", every=5)
    model, again = linear(), linear(7)
    history = train(model, checkpoint=checkpoint)
    assert train(again, at_step(0, stop), checkpoint=checkpoint) == history
    assert torch.equal(again.weight, model.weight)
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]


class Counter:
    """Something that a run's outcome depends on, beside the network."""

    def __init__(self) -> None:
        self.count = torch.zeros(())

    def state_dict(self) -> dict:
        return {"count": self.count}

    def load_state_dict(self, state: dict) -> None:
        self.count = state["count"]


@pytest.mark.parametrize(
    "changes",
    [
        *({"seed": 1}, {"lr": 0.1}, {"epochs": 4}, {"batch_size": 8}, {"schedule": "poly"}, {"weight_decay": 0.0}),
        {"settings": {"crop": 16}},
        {"settings": {}},
        {"extra": Counter()},
        {"data": [X + 1e-6, Y]},
        {"model": nn.Linear(4, 2)},
        {"model": nn.Sequential(nn.Linear(4, 1))},  # other names
        {"model": nn.Linear(4, 1).double()},
        {"loss": squared_error},
    ],
)
def test_a_checkpoint_of_another_run_is_refused(saved, changes):
    name = "crop" if "settings" in changes else next(iter(changes))
    with pytest.raises(ValueError, match=rf"^run.pt belongs to a run with other settings \({name}: [^;]*\); delete it"):
        train(**({"model": linear(), "checkpoint": Checkpoint(saved)} | changes))


def test_a_damaged_checkpoint_is_refused_and_left_as_it_is(saved, tmp_path):
    content = saved.read_bytes()
    torch.save(torch.load(saved, weights_only=True), tmp_path / "plain.pt")
    cases = [damaged for _, damaged in flipped(content)]
    cases += [content[:kept] for kept in (0, 10, 71, 72, 73, 1000, -73, -72, -1)]
    cases += [(tmp_path / "plain.pt").read_bytes()]  # of an earlier version, or another file: it has no digest
    for damaged in cases:
        saved.write_bytes(damaged)
        with pytest.raises(
            ValueError, match=r"^run\.pt is damaged, or no checkpoint .*\. Delete it to start again, or"
        ):
            train(linear(), checkpoint=Checkpoint(saved))
        assert saved.read_bytes() == damaged


def test_a_full_disk_leaves_the_checkpoint_before(saved, fill_disk):
    before = saved.read_bytes()
    fill_disk()
    with pytest.raises(OSError, match="run.pt was not written: the disk is full"):
        train(linear(), checkpoint=Checkpoint(saved, every=1))
    assert [(path.name, path.read_bytes()) for path in saved.parent.iterdir()] == [("run.pt", before)]


def bad_gradient(bad: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(value: torch.Tensor) -> torch.Tensor:
        value.register_hook(lambda gradient: gradient * bad)
        return value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda value: value * math.nan, r"^the loss is nan at step 2; try a smaller lr"),
        (bad_gradient(math.nan), r"^the gradient.s norm is nan at step 2; try a smaller lr"),
        (bad_gradient(math.inf), r"^the gradient.s norm is (nan|inf) at step 2; try a smaller lr"),
    ],
)
def test_a_step_that_is_not_finite_ends_the_run_before_anything_is_saved(tmp_path, change, message):
    checkpoint = Checkpoint(tmp_path / "run.pt", every=1)
    model, whole, resumed = linear(), linear(), linear()
    with pytest.raises(FloatingPointError, match=message):
        train(model, at_step(2, change), checkpoint=checkpoint)
    assert torch.isfinite(model.weight).all()
    assert torch.load(checkpoint.path, weights_only=True)["step"] == 2
    assert train(resumed, checkpoint=checkpoint) == train(whole)
    assert torch.equal(resumed.weight, whole.weight)


@pytest.mark.parametrize("every", [1, 100, None])
def test_weights_that_are_not_finite_are_neither_saved_nor_returned(tmp_path, every):
    """Loss and gradient are those of before the step."""
    steep = {"epochs": 1, "batch_size": 64, "lr": 1e37, "weight_decay": 100, "schedule": Schedule("constant", 0)}
    checkpoint = Checkpoint(tmp_path / "run.pt", every) if every else None
    with pytest.raises(FloatingPointError, match=r"the weights. norm is (nan|inf) after step 0"):
        train(linear(), **steep, checkpoint=checkpoint)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("after", "every"), [(1, 1), (6, 4), (8, 4)])
def test_extra_state_is_saved_after_the_epoch_and_given_back(tmp_path, after, every):
    def run(extra, stop_at=math.inf, **changes):
        steps = itertools.count()

        def loss(model, indices):
            if next(steps) == stop_at:
                raise Stop
            extra.count = extra.count + 1
            return squared_error(model, indices) * extra.count

        def after_epoch(epoch, mean):
            extra.count = extra.count * 10

        return train(linear(), loss, extra=extra, after_epoch=after_epoch, **changes)

    whole, resumed = Counter(), Counter()
    history = run(whole)
    checkpoint = Checkpoint(tmp_path / "run.pt", every)
    with pytest.raises(Stop):
        run(Counter(), after, checkpoint=checkpoint)
    assert run(resumed, checkpoint=checkpoint) == history
    assert resumed.count == whole.count == ((4 * 10 + 4) * 10 + 4) * 10


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: train(linear(), schedule="staircase"), "'staircase'"),
        (lambda: train(linear(), epochs=0), "0 epochs"),
        (lambda: train(linear(), batch_size=0), "batches of 0"),
        (lambda: train(linear(), n=0), "0 samples"),
        (lambda: Checkpoint("run.pt", every=0), "every 1 or more steps"),
    ],
)
def test_bad_input_is_refused(call, word):
    with pytest.raises(ValueError, match=word):
        call()
