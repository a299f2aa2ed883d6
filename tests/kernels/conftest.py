"""Every test of a kernel that takes ``backend`` runs once for each implementation of its operation.

On a machine without CUDA Triton's kernels are interpreted (tests/conftest.py asks for it); ``pytest -m gpu`` runs the
same tests on a CUDA device, there compiled.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

import histolab_lite.kernels

HAVE_TRITON = importlib.util.find_spec("triton") is not None
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


class Backend(NamedTuple):
    name: str
    device: str


def backends(operation: str) -> list:
    """The implementations in the operation's folder as pytest parameters, on the CPU and (marked gpu) on CUDA."""
    folder = Path(histolab_lite.kernels.__file__).parent / operation
    params = []
    for name in ("reference", "cpu", "triton"):
        if not (folder / f"{name}.py").is_file():
            continue
        triton = name == "triton"
        without_package = pytest.mark.skipif(triton and not HAVE_TRITON, reason="the package triton is not installed")
        compiled_here = pytest.mark.skipif(triton and not INTERPRETED, reason="interpreted under TRITON_INTERPRET=1")
        params.append(pytest.param(Backend(name, "cpu"), id=name, marks=[without_package, compiled_here]))
        if name != "cpu":
            no_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
            interpreted = pytest.mark.skipif(triton and INTERPRETED, reason="compiled without TRITON_INTERPRET=1")
            marks = [pytest.mark.gpu, no_gpu, without_package, interpreted]
            params.append(pytest.param(Backend(name, "cuda"), id=f"{name}-cuda", marks=marks))
    return params


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        operation = Path(metafunc.module.__file__).stem.removeprefix("test_")
        metafunc.parametrize("backend", backends(operation))
