"""Fixtures that several tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

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
