"""Twelve hexadecimal digits that identify the data or the model of a run."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn


def digest(data: object) -> str:
    """Return twelve hexadecimal digits that change with the values, types, shapes and order of the data.

    Parameters
    ----------
    data
        Arrays, tensors, numbers, text and None, and lists, tuples and dicts of them.

    Raises
    ------
    TypeError
        The data hold something else.
    """
    sha = hashlib.sha256()

    def add(part: object) -> None:
        if isinstance(part, torch.Tensor):
            sha.update(f"{part.dtype} {tuple(part.shape)}".encode())
            if part.numel():  # an empty tensor has no bytes to view
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
            raise TypeError(f"a digest needs arrays, tensors, numbers or text, or lists of them, not {part!r}.")

    add(data)
    return sha.hexdigest()[:12]


def describe_model(model: nn.Module) -> str:
    """Describe a model by its class, its size, and a digest of its tensors' names, types and shapes."""
    tensors = {name: [str(value.dtype), *value.shape] for name, value in model.state_dict().items()}
    return f"{type(model).__name__} of {sum(p.numel() for p in model.parameters()):,} weights, {digest(tensors)}"


def qualified_name(call: Callable[..., object]) -> str:
    """Return the module and name of a function, or of the class of a callable object."""
    named: Any = call if hasattr(call, "__qualname__") else type(call)
    return f"{named.__module__}.{named.__qualname__}"
