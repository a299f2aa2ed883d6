"""The implementation that runs is the one named, or the fastest for the device; nothing falls back silently."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import histolab_lite.kernels
from histolab_lite.kernels import check_finite, choose_backend

OPERATIONS = sorted(path.parent.name for path in Path(histolab_lite.kernels.__file__).parent.glob("*/reference.py"))
ALL = ("reference", "cpu", "triton")
CPU, CUDA, MPS = map(torch.device, ("cpu", "cuda", "mps"))


@pytest.fixture(autouse=True)
def imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules stand for themselves by name, and Triton is installed, whatever this machine has."""
    monkeypatch.setattr(importlib, "import_module", lambda name: name)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


@pytest.mark.parametrize(
    ("backends", "name", "device", "expected"),
    [
        (ALL, None, CPU, "cpu"),
        (ALL, None, CUDA, "triton"),
        (ALL, None, MPS, "reference"),
        (("reference", "triton"), None, CPU, "reference"),
        (("reference", "cpu"), None, CUDA, "reference"),
        (ALL, "reference", CPU, "reference"),
        (ALL, "reference", CUDA, "reference"),
        (ALL, "cpu", CPU, "cpu"),
        (ALL, "triton", CUDA, "triton"),
    ],
)
def test_the_named_backend_or_the_fastest_for_the_device(backends, name, device, expected):
    assert choose_backend("op", backends, name, device) == f"op.{expected}"


@pytest.mark.parametrize(
    ("backends", "name", "device", "message"),
    [
        (ALL, "abacus", CPU, "'cpu', 'reference', 'triton'"),
        (("reference",), "cpu", CPU, "'cpu' is not available here"),
        (ALL, "cpu", CUDA, "tensors on cuda"),
        (ALL, "triton", CPU, "NVIDIA GPU.*TRITON_INTERPRET=1"),
        (ALL, "triton", MPS, "tensors on mps"),
    ],
)
def test_a_backend_that_cannot_run_is_refused(backends, name, device, message):
    with pytest.raises(ValueError, match=message):
        choose_backend("op", backends, name, device)


@pytest.mark.parametrize("name", [None, "triton"])
def test_a_gpu_without_triton_is_an_error(monkeypatch, name):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install triton.* or pass backend='reference'"):
        choose_backend("op", ALL, name, CUDA)


def test_the_interpreter_runs_on_a_cpu_only_on_request(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert choose_backend("op", ALL, "triton", CPU) == "op.triton"
    assert choose_backend("op", ALL, None, CPU) == "op.cpu"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_lists_the_implementations_in_its_folder(monkeypatch, operation):
    monkeypatch.undo()
    package = importlib.import_module(f"histolab_lite.kernels.{operation}")
    have = {path.stem for path in Path(package.__file__).parent.glob("*.py")} & set(ALL)
    assert set(package.BACKENDS) == have
    if importlib.util.find_spec("triton") is None:
        have -= {"triton"}
    for name in have:
        assert callable(getattr(importlib.import_module(f"{package.__name__}.{name}"), operation))


def test_triton_is_not_imported_unless_it_is_used():
    imports = "".join(f"import histolab_lite.kernels.{operation}\n" for operation in OPERATIONS)
    code = imports + "import sys, torch\nhistolab_lite.kernels.kmeans.kmeans(torch.rand(5, 2), 2)\n"
    code += "assert not [name for name in sys.modules if name.startswith('histolab_lite') and name.endswith('.triton')]"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_is_refused_by_its_argument_name(value):
    check_finite("features", torch.full((3,), 3e38))  # whose sum is not finite
    with pytest.raises(ValueError, match="features holds NaN or infinite"):
        check_finite("features", torch.tensor([1.0, value]))
