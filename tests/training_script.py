"""What test_training_processes runs in processes of its own: a run that is killed, and runs that are shared."""

import json
import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy

from histolab_lite.processes import gather
from histolab_lite.training import Checkpoint, fit

X = torch.randn(16, 12, generator=torch.Generator().manual_seed(0))
Y = X.square().sum(1)


def contrast(model: nn.Module, indices: torch.Tensor) -> torch.Tensor:
    """Every sample against all others, those of other processes too."""
    z1, z2 = model(torch.cat([X[indices], X[indices] + 0.3 * Y[indices, None].cos()])).chunk(2)
    z1, z2 = gather(z1), gather(z2)
    return cross_entropy(z1 @ z2.T, torch.arange(len(z1)))


def regress(model: nn.Module, indices: torch.Tensor) -> torch.Tensor:
    return (model(X[indices])[:, 0] - Y[indices]).square().mean()


def noisy(model: nn.Module, indices: torch.Tensor) -> torch.Tensor:
    return regress(model, indices) * (1 + torch.rand(()))


def poisoned(model: nn.Module, indices: torch.Tensor) -> torch.Tensor:
    """Not a number in one of the processes."""
    return regress(model, indices) * (float("nan") if 0 in indices else 1)


def steep(model: nn.Module, indices: torch.Tensor) -> torch.Tensor:
    """A gradient that is not a number in one of the processes."""
    value = regress(model, indices)
    if 0 in indices:
        value.register_hook(lambda gradient: gradient * float("nan"))
    return value


def train(loss: Callable, initial: int = 0, **options) -> dict:
    torch.manual_seed(initial)
    model = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 5))
    settings = {"epochs": 1, "batch_size": 16, "lr": 1e-3, "device": "cpu", "progress": None}
    history = fit(model, loss, 16, data=[X, Y], **(settings | options))
    return {
        "history": history,
        "grad": [p.grad.flatten().tolist() for p in model.parameters() if p.grad is not None],
        "weights": torch.cat([p.detach().flatten() for p in model.parameters()]).tolist(),
    }


def failure(kind: type[Exception], loss: Callable, **options) -> str | None:
    try:
        train(loss, **options)
    except kind as error:
        return str(error)
    return None


def together(folder: Path) -> dict:
    rank = int(os.environ.get("RANK", 0))  # rank 0's weights are to win
    drawn = []

    def remember(model: nn.Module, indices: torch.Tensor) -> torch.Tensor:
        drawn.append((indices.tolist(), torch.rand(()).item()))
        return regress(model, indices)

    train(remember, batch_size=8)
    return {
        "drawn": drawn,
        "contrast": train(contrast, rank),
        "regress": train(regress, rank, epochs=3, batch_size=8, checkpoint=Checkpoint(folder / "run.pt", every=3)),
        "poisoned": failure(FloatingPointError, poisoned),
        "steep": failure(FloatingPointError, steep, checkpoint=Checkpoint(folder / "steep.pt", every=1)),
        "odd": failure(ValueError, regress, batch_size=5),
    }


def main() -> None:
    folder = Path(sys.argv[2])
    if sys.argv[1] == "together":
        results = together(folder)
        dist.destroy_process_group()
        (folder / f"rank{os.environ['RANK']}.json").write_text(json.dumps(results))
        return
    steps = 0

    @wraps(noisy)
    def mortal(model: nn.Module, indices: torch.Tensor) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps == 6:  # of two per epoch
            os.kill(os.getpid(), signal.SIGKILL)
        return noisy(model, indices)

    train(mortal, epochs=4, batch_size=8, checkpoint=Checkpoint(folder / "run.pt", every=3))
