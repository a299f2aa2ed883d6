"""Several processes as one run, as ``torchrun`` starts them; and the device that each works on."""

import os
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def pick_device(device: str | torch.device | None = None) -> torch.device:
    """Return the device asked for, else this process's CUDA GPU, else the CPU."""
    if device is not None:
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("cpu")


@dataclass
class Processes:
    """One process among those that torchrun started; alone if it started none.

    Attributes
    ----------
    rank
        Number of this process, from 0.
    world
        Number of processes.
    """

    rank: int = field(default_factory=lambda: int(os.environ.get("RANK", 0)))
    world: int = field(default_factory=lambda: int(os.environ.get("WORLD_SIZE", 1)))

    def join(self, device: torch.device) -> None:
        """Meet the other processes, unless that has happened."""
        if self.world > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")

    def share(self, batch: torch.Tensor) -> torch.Tensor:
        """Return this process's part of a batch."""
        return batch[self.rank :: self.world]

    def mean(self, value: torch.Tensor) -> float:
        """Average a scalar over all processes, so that all of them log it, and stop at it, alike."""
        value = value.detach().float().clone()
        if self.world > 1:
            dist.all_reduce(value)
        return value.item() / self.world

    def distribute(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Wrap a model, so that every process has the mean of all gradients."""
        if self.world == 1:
            return model
        if device.type == "cuda":  # statistics over the joined batch, as one process would see it
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(z) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, z)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)  # this process's z is in every process's loss
        return total.chunk(dist.get_world_size())[dist.get_rank()]


def gather(z: torch.Tensor) -> torch.Tensor:
    """Join the parts of all processes, with gradients: (b, D) of this one -> (B, D), the same on each."""
    if dist.is_available() and dist.is_initialized():
        return _Gather.apply(z.contiguous())
    return z
