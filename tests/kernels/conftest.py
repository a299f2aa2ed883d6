"""Every test of a kernel that takes ``backend`` runs once per implementation of its operation.

On a machine without CUDA Triton's kernels are interpreted (tests/conftest.py asks for it); ``pytest -m gpu`` runs the
same tests on a CUDA device, there compiled.
"""

from __future__ import annotations

import importlib.util
import os
from typing import NamedTuple

import pytest
import torch

HAVE_TRITON = importlib.util.find_spec("triton") is not None
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


class Backend(NamedTuple):
    name: str
    device: str

    @property
    def interpreted(self) -> bool:
        return self == ("triton", "cpu")


def parameter(name: str, device: str):
    marks = []
    if device == "cuda":
        marks += [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
    if name == "triton":
        marks.append(pytest.mark.skipif(not HAVE_TRITON, reason="the package triton is not installed"))
        where = "under TRITON_INTERPRET=1 Triton runs on the CPU, else on CUDA"
        marks.append(pytest.mark.skipif(INTERPRETED != (device == "cpu"), reason=where))
    return pytest.param(Backend(name, device), id=name if device == "cpu" else f"{name}-cuda", marks=marks)


FAST = [parameter("cpu", "cpu"), parameter("triton", "cpu"), parameter("triton", "cuda")]
REFERENCE = [parameter("reference", "cpu"), parameter("reference", "cuda")]


@pytest.fixture(scope="module", params=[*REFERENCE, *FAST])
def backend(request: pytest.FixtureRequest) -> Backend:
    return request.param


@pytest.fixture(scope="module", params=FAST)
def fast_backend(request: pytest.FixtureRequest) -> Backend:
    """As ``backend``, without the reference: for tests that compare with it."""
    return request.param
