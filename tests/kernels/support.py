"""What the tests of several kernels share: random tensors, gradients of any function, the largest tensor made."""

from collections.abc import Callable

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def value_and_gradients(
    function: Callable, *inputs: torch.Tensor, upstream: torch.Tensor | float = 1.0, device: str = "cpu"
) -> list[torch.Tensor]:
    """The result of ``function`` on the device, and the gradient of each input, all on the CPU."""
    leaves = [x.detach().to(device).requires_grad_() for x in inputs]
    value = function(*leaves)
    upstream = torch.as_tensor(upstream).to(value).expand_as(value)
    gradients = torch.autograd.grad(value, leaves, upstream, materialize_grads=True)
    return [x.detach().cpu() for x in (value, *gradients)]


def assert_differentiates_once(value: torch.Tensor, x: torch.Tensor, backend_name: str) -> None:
    """The reference differentiates twice; the fast backends say that they do not."""
    if backend_name == "reference":
        torch.autograd.grad(value, x, create_graph=True)[0].sum().backward()
    else:
        with pytest.raises(RuntimeError, match="backend='reference'"):
            torch.autograd.grad(value, x, create_graph=True)


class Largest(TorchDispatchMode):
    """Count the numbers in the largest tensor that any operation makes, backward included."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves(result) if isinstance(t, torch.Tensor)]
        self.numel = max([self.numel, *(t.untyped_storage().nbytes() // t.itemsize for t in tensors)])
        return result
