"""The hot operations, one folder each: a readable reference, faster implementations beside it, one public function.

Every public function checks its arguments, then picks an implementation by device, or takes the one named by
``backend``. Asking for one that is not there raises: nothing falls back silently.
"""

from types import ModuleType

import torch


def choose_backend(backends: dict[str, ModuleType], backend: str | None, device: torch.device) -> ModuleType:
    """The implementation to run: the one named, else the fastest one for this device.

    ``backends`` maps "reference", "cpu" or "triton" to a module. ValueError for a name that is not in it.
    """
    if backend is None:
        backend = "triton" if device.type == "cuda" and "triton" in backends else "cpu"
        backend = backend if backend in backends else "reference"
    if backend not in backends:
        raise ValueError(f"backend {backend!r} is not available here; choose one of {sorted(backends)} or None.")
    return backends[backend]


def check_finite(name: str, x: torch.Tensor) -> None:
    """ValueError if ``x`` holds NaN or infinity: a silent NaN would spread into every distance."""
    if not torch.isfinite(x).all():
        raise ValueError(f"{name} holds NaN or infinite values; check the features that were passed in.")
