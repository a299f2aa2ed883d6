"""The costly operations, one folder each: a readable reference, faster implementations, one public function.

Every public function checks its arguments. Then it picks the fastest implementation for the device, or takes the one
named by ``backend``. A backend that is not there is an error; nothing falls back silently.
"""

import importlib
import importlib.util
import os
from types import ModuleType

import torch


def choose_backend(operation: str, backends: tuple[str, ...], backend: str | None, device: torch.device) -> ModuleType:
    """Import the implementation that is named, or the fastest one for the device.

    Parameters
    ----------
    operation
        The package of the operation, ``__name__`` there.
    backends
        Which of "reference", "cpu" and "triton" the operation has. Only the chosen one is imported, so that a machine
        without Triton can use the others.
    backend
        One of ``backends``, or None for the fastest.
    device
        Where the tensors are.

    Raises
    ------
    ValueError
        If ``backend`` is not in ``backends`` or cannot run on ``device``.
    """
    if backend is None:
        fastest = {"cuda": "triton", "cpu": "cpu"}.get(device.type, "reference")
        backend = fastest if fastest in backends else "reference"
    if backend not in backends:
        raise ValueError(f"backend {backend!r} is not available here; choose one of {sorted(backends)} or None.")
    if backend == "cpu" and device.type != "cpu":
        raise ValueError(f"backend 'cpu' is not available for tensors on {device}; move them to the CPU or pass None.")
    if backend == "triton":
        _require_triton(device)
    return importlib.import_module(f"{operation}.{backend}")


def _require_triton(device: torch.device) -> None:
    if importlib.util.find_spec("triton") is None:
        raise ValueError(
            "backend 'triton' is not available: the package triton is not installed. "
            "Install it (pip install triton) or pass backend='reference'."
        )
    if device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError(
            f"backend 'triton' is not available for tensors on {device}: it needs an NVIDIA GPU. "
            "To run it slowly, for tests, set TRITON_INTERPRET=1 before Python starts."
        )


def check_finite(name: str, x: torch.Tensor) -> None:
    """Raise ValueError if ``x`` holds NaN or infinity: a silent NaN would spread into every distance."""
    # NaN and infinity spread into the sum, which is one fast pass; a sum may also overflow, hence the second look.
    total = x.sum(dtype=torch.promote_types(x.dtype, torch.float32))
    if not torch.isfinite(total) and not torch.isfinite(x).all():
        raise ValueError(f"{name} holds NaN or infinite values; check the features that were passed in.")


def refuse_second_derivative() -> None:
    """Raise RuntimeError in a backward pass that is itself to be differentiated."""
    # In a backward pass, gradients are recorded only for a second derivative.
    if torch.is_grad_enabled():
        raise RuntimeError("this backend differentiates once: for create_graph=True pass backend='reference'")
