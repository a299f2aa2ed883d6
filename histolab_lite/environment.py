"""The computer and the installed packages, as stated in metrics.json and by the doctor."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from typing import Any

REPORTED = ("histolab-lite", "torch", "torchvision", "timm", "numpy", "scikit-learn", "openslide-python")


def environment() -> dict[str, Any]:
    """Return date, system, device and versions, ready for JSON."""
    versions = {}
    for name in REPORTED:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # the doctor reports missing packages
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu_cores": cpu_cores(),
        "device": device_name(),
        "versions": versions,
    }


def cpu_cores() -> int:
    """Return the number of cores that this process may use, which in a container can be fewer than all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device_name() -> str:
    """Return the name of the device that the lessons will use: a CUDA GPU, Apple's GPU, or the CPU."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return "Apple GPU (MPS)" if torch.backends.mps.is_available() else "CPU"
