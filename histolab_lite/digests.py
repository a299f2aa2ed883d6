"""What a run is made of, in twelve hexadecimal digits: they differ where the data, the model or the loss does."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn


def digest(data: object) -> str:
    """Of arrays, tensors, numbers, text and None, and of lists, tuples and dicts of them. TypeError for others."""
    sha = hashlib.sha256()

    def add(part: object) -> None:
        if isinstance(part, torch.Tensor):
            sha.update(f"{part.dtype} {tuple(part.shape)}".encode())
            if part.numel():  # else there is nothing that could be seen as bytes
                sha.update(part.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        elif isinstance(part, np.ndarray | np.generic) and not part.dtype.hasobject:
            sha.update(f"{part.dtype} {part.shape}".encode())
            sha.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
        elif isinstance(part, Mapping):
            add(list(part.items()))
        elif isinstance(part, list | tuple):
            sha.update(f"{len(part)} parts".encode())
            for each in part:
                add(each)
        elif part is None or isinstance(part, str | int | float):
            sha.update(f"{type(part).__name__} {part!r}".encode())
        else:
            raise TypeError(f"a digest is taken of arrays and tensors, and of lists of them, not of {part!r}.")

    add(data)
    return sha.hexdigest()[:12]


def describe_model(model: nn.Module) -> str:
    """Its kind, its size, and a digest of its tensors' names, types and shapes; not of their values."""
    tensors = {name: [str(value.dtype), *value.shape] for name, value in model.state_dict().items()}
    return f"{type(model).__name__} of {sum(p.numel() for p in model.parameters()):,} weights, {digest(tensors)}"


def qualified_name(call: Callable[..., object]) -> str:
    """Module and name of a function, or of a callable object's class."""
    named: Any = call if hasattr(call, "__qualname__") else type(call)
    return f"{named.__module__}.{named.__qualname__}"
