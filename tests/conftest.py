"""Fixtures that several tests share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

# Read when torch is imported: test processes side by side (pytest-xdist) share the cores, and so do what they start.
if processes := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(processes))))

import hypothesis
import pytest
import torch

# How long an example takes says nothing where other tests run beside it.
slow_is_fine = [hypothesis.HealthCheck.too_slow]
hypothesis.settings.register_profile("unhurried", deadline=None, suppress_health_check=slow_is_fine)
hypothesis.settings.load_profile("unhurried")

# Read when a kernel is defined: without a GPU Triton's kernels are interpreted, before any test imports one.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets named by $HISTOLAB_DATA; tests that need it skip where it is absent."""
    value = os.environ.get("HISTOLAB_DATA")
    if not value:
        pytest.skip("real tissue is needed: set HISTOLAB_DATA to a folder that holds the data sets")
    root = Path(value)
    if not root.is_dir():
        pytest.skip(f"real tissue is needed: HISTOLAB_DATA={value} is not a folder")
    return root


@pytest.fixture
def fill_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Call it, and files that are written atomically meet a full disk: all, or those with a word in their names.

    Their temporary files are links to Linux's /dev/full, on which the system itself finds no space.
    """
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    make = tempfile.mkstemp

    def fill(word: str = "") -> None:
        def full(dir: Path, prefix: str, suffix: str) -> tuple[int, str]:
            handle, name = make(dir=dir, prefix=prefix, suffix=suffix)
            if word in prefix:
                os.unlink(name)
                os.symlink("/dev/full", name)
            return handle, name

        monkeypatch.setattr("histolab_lite.files.tempfile.mkstemp", full)

    return fill
