"""The training loop: it learns, follows its schedule, survives being killed, and is one run on many processes."""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from histolab_lite.training import Checkpoint, Schedule, fit, pick_device

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
    settings = {"epochs": 3, "batch_size": 16, "lr": 0.05, "device": "cpu", "progress": None}
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

    fit(linear(), loss, n, epochs=2, batch_size=batch_size, lr=0.1, device="cpu", progress=None)
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


class Stop(Exception):
    """Stands for whatever ends a process."""


def interrupted(path: Path, after: int, every: int, **changes) -> None:
    steps = 0

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
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, changes):
    interrupted(tmp_path / "run.pt", 3, 2)
    with pytest.raises(ValueError, match="run.pt belongs to a run with other settings"):
        train(linear(), checkpoint=Checkpoint(tmp_path / "run.pt"), **changes)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    torch.save(linear().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="weights.pt belongs to a run with other settings"):
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
        fit(linear(), squared_error, 0, epochs=1, batch_size=1, lr=0.1, device="cpu")


def test_the_device_asked_for_is_taken():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


# Killed, and in several processes


def run_script(folder: Path, script: str, *command: str) -> subprocess.CompletedProcess:
    (folder / "script.py").write_text(script)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, errors = process.communicate(timeout=180)
    finally:
        process.terminate()  # torchrun then ends its workers, which killing it would leave behind
        process.wait(60)
    return subprocess.CompletedProcess(command, process.returncode, out, errors)


SIMCLR = """
import json, os, signal, sys
import numpy as np
import torch
from histolab_lite.methods.simclr import pretrain
from histolab_lite.models import Encoder
from histolab_lite.training import Checkpoint

class Mortal(Encoder):
    # Kills its own process, without warning, in the middle of a step.
    forwards_left = None
    def forward(self, x):
        if self.forwards_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.forwards_left is not None:
            self.forwards_left -= 1
        return super().forward(x)

def run(name, seed, checkpoint=None, forwards=None):
    torch.manual_seed(seed)
    encoder = Mortal(1 / 16)
    encoder.forwards_left = forwards
    patches = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
    history = pretrain(encoder, patches, epochs=3, batch_size=8, device="cpu", progress=None, checkpoint=checkpoint)
    torch.save({"weights": encoder.state_dict(), "history": history}, name)

checkpoint = Checkpoint("run.pt", every=2)
if sys.argv[1] == "first":
    run("whole.pt", seed=0)
    run("never.pt", seed=0, checkpoint=checkpoint, forwards=5)
else:
    run("resumed.pt", seed=1, checkpoint=checkpoint)
"""


def test_killed_in_mid_epoch_and_started_again_simclr_ends_bit_identical(tmp_path):
    """3 epochs of 3 steps, saved every 2, killed in the sixth: the second epoch is half done, its fifth step lost."""
    killed = run_script(tmp_path, SIMCLR, "script.py", "first")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "never.pt").exists()
    assert torch.load(tmp_path / "run.pt", weights_only=True)["step"] == 4
    again = run_script(tmp_path, SIMCLR, "script.py", "again")
    assert again.returncode == 0, again.stderr
    whole, resumed = (torch.load(tmp_path / name, weights_only=True) for name in ("whole.pt", "resumed.pt"))
    assert len(whole["history"]) == 3
    assert resumed["history"] == whole["history"]
    for key, value in whole["weights"].items():
        assert torch.equal(resumed["weights"][key], value), key


TOGETHER = """
import json, sys
from pathlib import Path
import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from histolab_lite.kernels.nt_xent import nt_xent
from histolab_lite.methods.simclr import gather, pretrain
from histolab_lite.models import Encoder
from histolab_lite.training import Checkpoint, fit

x = torch.randn(16, 12, generator=torch.Generator().manual_seed(0))
y = x.square().sum(1)


def network():
    torch.manual_seed(dist.get_rank() if dist.is_initialized() else 0)  # rank 0's weights are to win
    return nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 5))

def contrast(model, indices):
    z1, z2 = model(torch.cat([x[indices], x[indices] + 0.3 * y[indices, None].cos()])).chunk(2)
    return nt_xent(gather(z1), gather(z2), 0.2)

def regress(model, indices):
    return (model(x[indices])[:, 0] - y[indices]).square().mean()

def train(loss, **options):
    model = network()
    settings = {"epochs": 1, "batch_size": 16, "lr": 1e-3, "device": "cpu", "progress": None}
    history = fit(model, loss, 16, **(settings | options))
    return {
        "history": history,
        "grad": torch.cat([p.grad.flatten() for p in model.parameters()]).tolist(),
        "weights": torch.cat([p.detach().flatten() for p in model.parameters()]).tolist(),
    }

def failure(kind, call):
    try:
        call()
    except kind as error:
        return str(error)

def poisoned(model, indices):
    return regress(model, indices) * (float("nan") if 0 in indices else 1)

drawn = []
def remember(model, indices):
    drawn.append((indices.tolist(), torch.rand(()).item()))
    return regress(model, indices)

def everything():
    results = {
        "contrast": train(contrast),
        "regress": train(regress, epochs=3, batch_size=8),
        "checkpointed": train(regress, epochs=3, batch_size=8, checkpoint=Checkpoint("run.pt", every=3)),
        "remember": train(remember, batch_size=8),
        "drawn": drawn,
        "poisoned": failure(FloatingPointError, lambda: train(poisoned)),
        "odd": failure(ValueError, lambda: train(regress, batch_size=5)),
    }
    if dist.is_initialized():
        torch.manual_seed(dist.get_rank())
        encoder = Encoder(1 / 64)
        patches = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
        history = pretrain(encoder, patches, epochs=2, batch_size=4, device="cpu", progress=None)
        results["simclr"] = history, torch.cat([p.detach().flatten() for p in encoder.parameters()]).tolist()
    return results

if __name__ == "__main__":
    dist.init_process_group("gloo")
    Path(f"rank{dist.get_rank()}.json").write_text(json.dumps(everything()))
    dist.destroy_process_group()
"""


def test_two_processes_are_one_on_the_joined_batch(tmp_path, monkeypatch):
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = run_script(tmp_path, TOGETHER, *torchrun, "script.py")
    assert done.returncode == 0, done.stderr
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.pt").unlink()
    namespace: dict = {"__name__": "alone"}
    exec(TOGETHER, namespace)
    alone = namespace["everything"]()
    for name in ("contrast", "regress", "checkpointed"):
        for rank in ranks:
            assert rank[name]["history"] == pytest.approx(alone[name]["history"], rel=1e-5)
            # Gradients too: AdamW would hide one that is twice too large.
            assert rank[name]["grad"] == pytest.approx(alone[name]["grad"], rel=1e-3, abs=1e-5)
            assert rank[name]["weights"] == pytest.approx(alone[name]["weights"], abs=1e-5)
        assert ranks[0][name]["history"] == ranks[1][name]["history"]
    # Each batch is shared out, and every process draws its own random numbers.
    drawn = (run["drawn"] for run in (*ranks, alone))
    for (first, noise_1), (second, noise_2), (both, _) in zip(*drawn, strict=True):
        assert sorted(first + second) == sorted(both)
        assert noise_1 != noise_2
    # A loss that fails in one process ends all of them, and none hangs.
    assert all("nan at step 0" in rank["poisoned"] for rank in ranks)
    assert all("cannot be shared equally by 2 processes" in rank["odd"] for rank in ranks)
    assert alone["odd"] is None
    assert ranks[0]["simclr"] == ranks[1]["simclr"]


def test_a_checkpoint_every_zero_steps_is_refused(tmp_path):
    with pytest.raises(ValueError, match="every 1 or more steps"):
        Checkpoint(tmp_path / "run.pt", every=0)
