"""The one training loop: schedules, mixed precision, exact resumption from checkpoints, several processes.

All random numbers of step t follow from (seed, t). So a run that was killed and started again ends bit-identical to
one that was not (on a CPU). Under ``torchrun`` each process takes its share of every batch.
"""

import io
import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypedDict, Unpack

import torch
from torch import nn
from torch.nn.utils import get_total_norm
from tqdm.auto import tqdm

from histolab_lite.digests import describe_model, digest, qualified_name
from histolab_lite.files import sealed, unsealed, write_atomically
from histolab_lite.processes import Processes, pick_device

Loss = Callable[[nn.Module, torch.Tensor], torch.Tensor]


class Stateful(Protocol):
    """What a run's outcome depends on beside network and optimizer, such as targets that change during training."""

    def state_dict(self) -> dict:
        """Return tensors, numbers, strings and lists or dicts of them."""

    def load_state_dict(self, state: dict) -> None:
        """Go on from what ``state_dict`` returned."""


@dataclass
class Schedule:
    """Factor on the learning rate by progress: a linear warm-up, then a decay.

    Parameters
    ----------
    kind
        "cosine" to 0, "poly" (power 0.9) to 0, or "constant".
    warmup
        The warm-up's share of all steps.

    Raises
    ------
    ValueError
        The kind is unknown.
    """

    kind: str = "cosine"
    warmup: float = 0.05

    def __post_init__(self) -> None:
        if self.kind not in ("cosine", "poly", "constant"):
            raise ValueError(f'schedule must be "cosine", "poly" or "constant", not {self.kind!r}.')

    def __call__(self, step: int, total: int) -> float:
        """Return the factor in (0, 1] of a step, counted from 0, of so many in total."""
        ramp = self.warmup * total
        if step < ramp:
            return (step + 1) / (ramp + 1)
        progress = (step - ramp) / max(total - ramp, 1)
        return {
            "cosine": 0.5 * (1 + math.cos(math.pi * progress)),
            "poly": (1 - progress) ** 0.9,
            "constant": 1.0,
        }[self.kind]


@dataclass
class Checkpoint:
    """A file that holds all that a run needs to go on.

    The file is torch's, which ``torch.load`` reads, with a sha256 of its bytes at the end.

    Parameters
    ----------
    path
        The file. If it exists, the run resumes from it.
    every
        Number of steps between two saves; the end of the run is saved as well.

    Raises
    ------
    ValueError
        ``every`` is below 1.
    """

    path: str | Path
    every: int = 100

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"a checkpoint is saved every 1 or more steps, not {self.every}.")

    def save(self, state: dict) -> None:
        """Write a state, whole or not at all. OSError if that is not possible."""
        content = io.BytesIO()
        torch.save(state, content)
        write_atomically(self.path, sealed(content.getvalue()))

    def load(self, run: dict, device: torch.device) -> dict | None:
        """Read the saved state, or return None if there is no file.

        Parameters
        ----------
        run
            The settings of this run, which must equal the saved ones.
        device
            Where the tensors go.

        Raises
        ------
        ValueError
            The file is damaged or belongs to another run.
        """
        if not Path(self.path).is_file():
            return None
        name = Path(self.path).name
        try:
            content = unsealed(Path(self.path).read_bytes())
        except ValueError as error:
            raise ValueError(
                f"{name} is damaged, or no checkpoint of this version ({error}). Delete it to start again, or put "
                "back a copy that is whole."
            ) from None
        state = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
        saved = state.get("run") or {}  # a sealed file of something else has none
        differing = sorted(key for key in {*saved, *run} if saved.get(key) != run.get(key))
        if differing:
            values = "; ".join(f"{key}: {saved.get(key)} instead of {run.get(key)}" for key in differing)
            raise ValueError(f"{name} belongs to a run with other settings ({values}); delete it or name another file.")
        return state


class TrainOptions(TypedDict, total=False):
    """The options that every training function passes on to `fit`, by keyword.

    Attributes
    ----------
    epochs
        Passes over all samples.
    batch_size
        Samples per step, over all processes together.
    lr
        The highest learning rate; the schedule lowers it.
    weight_decay
        Weight decay of AdamW, 1e-4 by default.
    seed
        Random seed of the order of samples and of all random numbers that a loss draws, 0 by default.
    device
        Where to train. By default on this process's CUDA GPU, or on the CPU where there is none.
    mixed_precision
        Whether the network runs in bfloat16. By default on CUDA only.
    checkpoint
        Where to save the run and to resume it from. By default nothing is saved.
    progress
        Title of the progress bar; None shows no bar.
    after_epoch
        Called as ``after_epoch(epoch, mean_loss)`` at the end of every epoch, with the model in evaluation mode.
    """

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    seed: int
    device: str | torch.device | None
    mixed_precision: bool | None
    checkpoint: Checkpoint | None
    progress: str | None
    after_epoch: Callable[[int, float], None] | None


def with_defaults(options: TrainOptions, **defaults: Unpack[TrainOptions]) -> TrainOptions:
    """Complete a caller's options by a method's defaults.

    Raises
    ------
    TypeError
        An option is unknown, or has no default and is missing.
    """
    known = list(TrainOptions.__annotations__)
    for name in options:
        if name not in known:
            raise TypeError(f"unknown argument {name!r}; the options of training are {', '.join(known)}.")
    complete = defaults | options
    for name in ("epochs", "batch_size", "lr"):
        if name not in complete:
            raise TypeError(f"the argument {name!r} is missing; it has no default.")
    return complete


def fit(
    model: nn.Module,
    loss: Loss,
    n_samples: int,
    *,
    data: object,
    epochs: int,
    batch_size: int,
    lr: float,
    weight_decay: float = 1e-4,
    schedule: Schedule | str = "cosine",
    seed: int = 0,
    device: str | torch.device | None = None,
    mixed_precision: bool | None = None,
    checkpoint: Checkpoint | None = None,
    progress: str | None = "training",
    after_epoch: Callable[[int, float], None] | None = None,
    extra: Stateful | None = None,
    settings: Mapping[str, object] | None = None,
) -> list[float]:
    """Train a model in place with AdamW. The arguments that are not listed here are those of `TrainOptions`.

    Parameters
    ----------
    loss
        ``loss(model, indices)`` returns the scalar loss on the samples with these indices, an int64 tensor (b,) on
        the CPU. It reads the data itself and may draw random numbers from torch's global generator.
    n_samples
        Number of samples. The last, incomplete batch of an epoch is left out unless it is the only one.
    data
        All that the loss reads, as `digests.digest` takes it. A checkpoint of a run on other data is refused, as is
        one of another loss, or of a model with other tensors.
    schedule
        A `Schedule`, or its kind.
    extra
        Saved in the checkpoint, after ``after_epoch``, and given its state back on resuming.
    settings
        What else the outcome depends on, such as the loss's own settings; a checkpoint with others is refused.

    Returns
    -------
    list of float
        The mean loss of every epoch.

    Raises
    ------
    ValueError
        There are no data, a setting is wrong, or the checkpoint is damaged or of another run.
    OSError
        The checkpoint cannot be saved.
    FloatingPointError
        The loss, the gradients or the weights are no longer finite; nothing is saved then.
    """
    if n_samples < 1 or epochs < 1 or batch_size < 1:
        raise ValueError(f"nothing to train: {n_samples} samples, {epochs} epochs, batches of {batch_size}.")
    schedule = Schedule(schedule) if isinstance(schedule, str) else schedule
    device, processes = pick_device(device), Processes()
    if min(batch_size, n_samples) % processes.world:
        raise ValueError(
            f"batches of {min(batch_size, n_samples)} cannot be shared equally by {processes.world} processes; "
            "choose a multiple."
        )
    processes.join(device)
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    batches = max(n_samples // batch_size, 1)
    total = epochs * batches
    run = {
        "n_samples": n_samples,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "weight_decay": weight_decay,
        "schedule": f"{schedule.kind}, warm-up {schedule.warmup}",
        "seed": seed,
    }
    if extra:
        run["extra"] = type(extra).__name__
    run |= {name: str(value) for name, value in (settings or {}).items()}
    if checkpoint:
        run |= {"model": describe_model(model), "loss": qualified_name(loss), "data": digest(data)}
    done, losses = 0, []  # losses of the steps done in the current epoch, then means of finished epochs
    history: list[float] = []
    state = checkpoint.load(run, device) if checkpoint else None
    if state:
        if extra:
            extra.load_state_dict(state["extra"])
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        done, losses, history = state["step"], state["losses"], state["history"]
    trained = processes.distribute(model, device)
    mixed_precision = device.type == "cuda" if mixed_precision is None else mixed_precision
    bar = tqdm(total=total, initial=done, desc=progress, unit="step", disable=progress is None, leave=False)
    for step in range(done, total):
        epoch, batch = divmod(step, batches)
        shuffle = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order = torch.randperm(n_samples, generator=shuffle)
        indices = processes.share(order[batch * batch_size : (batch + 1) * batch_size])
        torch.manual_seed((seed * 1_000_003 + step) * processes.world + processes.rank)
        for group in optimizer.param_groups:
            group["lr"] = lr * schedule(step, total)
        with torch.autocast(device.type, torch.bfloat16) if mixed_precision else nullcontext():
            value = loss(trained, indices)
        mean = processes.mean(value)
        if not math.isfinite(mean):
            raise FloatingPointError(f"the loss is {mean} at step {step}; try a smaller lr than {lr}.")
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        norm = get_total_norm(p.grad for p in model.parameters() if p.grad is not None)
        if not math.isfinite(norm):  # on every process alike: their gradients are one mean
            raise FloatingPointError(f"the gradient's norm is {norm} at step {step}; try a smaller lr than {lr}.")
        optimizer.step()
        losses.append(mean)
        if batch + 1 == batches:
            history.append(sum(losses) / len(losses))
            losses = []
            if after_epoch and processes.rank == 0:
                model.eval()
                after_epoch(epoch, history[-1])
                model.train()
        if step + 1 == total or (checkpoint and (step + 1) % checkpoint.every == 0):
            weights = model.state_dict()
            size = processes.mean(get_total_norm(w for w in weights.values() if w.is_floating_point()))
            if not math.isfinite(size):
                raise FloatingPointError(f"the weights' norm is {size} after step {step}; try a smaller lr than {lr}.")
            if checkpoint and processes.rank == 0:
                checkpoint.save(
                    {
                        "run": run,
                        "step": step + 1,
                        "model": weights,
                        "optimizer": optimizer.state_dict(),
                        "losses": losses,
                        "history": history,
                        "extra": extra.state_dict() if extra else None,
                    }
                )
        bar.set_postfix(epoch=f"{epoch + 1}/{epochs}", loss=f"{mean:.3f}", refresh=False)
        bar.update()
    bar.close()
    model.eval()
    return history
