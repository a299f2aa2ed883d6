"""Measure an operation beside its peers: time, memory, and the bound that the machine sets.

A script ``benchmarks/kernels/<operation>.py`` defines ``cases()``; no contender pays for the inputs that it makes.
All contenders of a case run interleaved in one process, in an order that turns by one per round: whatever else the
machine does hits them alike. Memory is measured apart, each contender in a fresh process.
"""

import ctypes
import gc
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

OURS = "ours"
CLEAR_REFS, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
Bound = tuple[str, Callable[[], Any]]


@dataclass(frozen=True)
class Case:
    """One operation on one input. A peer imports its package inside its own function, so that it may be absent."""

    operation: str  # "k-means"
    work: str  # "20,000 × 512, k = 30"
    ours: Callable[[], Any]
    peers: dict[str, Callable[[], Any]]
    at_least: dict[str, float] = field(default_factory=dict)  # peer -> how many times faster ours must be
    bound: Bound | None = None  # timed like a peer, see bare_matmul and moved_bytes
    memory_at_most: dict[str, float] = field(default_factory=dict)  # peer -> peak extra memory of ours / the peer's
    check: Callable[[Any, dict[str, Any]], str] | None = None  # (ours, peers' results) -> a line, or AssertionError
    rounds: int = 7
    bound_at_most: float | None = None  # time of ours / the bound's
    device: str = "cpu"

    def contenders(self) -> dict[str, Callable[[], Any]]:
        return {OURS: self.ours, **self.peers}


def bare_matmul(m: int, k: int, n: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Bound:
    """A bound: the product (m, k) @ (k, n) into memory that is there already, and nothing else."""
    operands: list[torch.Tensor] = []  # made by the first call, which is not timed

    def multiply() -> None:
        if not operands:
            operands.extend(torch.ones(*shape, dtype=dtype, device=device) for shape in ((m, k), (k, n), (m, n)))
        torch.mm(operands[0], operands[1], out=operands[2])

    return "bare matmul", multiply


def moved_bytes(total: int, device: str = "cpu") -> Bound:
    """A bound: moving ``total`` bytes, half of them read and half written, as fast as the machine copies."""
    buffers: list[torch.Tensor] = []

    def copy() -> None:
        if not buffers:
            buffers.extend(torch.ones(total // 2, dtype=torch.uint8, device=device) for _ in range(2))
        buffers[1].copy_(buffers[0])

    return f"copy of {total / 1e6:,.0f} MB", copy


def copy_bandwidth(device: str = "cpu") -> float:
    """Bytes per second that a large copy reads and writes, together."""
    total = 2**29
    return total / statistics.median(timed(moved_bytes(total, device)[1], device, rounds=5))


def matmul_rate(dtype: torch.dtype = torch.float32, device: str = "cpu") -> float:
    """Floating-point operations per second of a large square product."""
    n = 2048 if device == "cpu" else 8192
    return 2 * n**3 / statistics.median(timed(bare_matmul(n, n, n, dtype, device)[1], device, rounds=5))


def seconds(function: Callable[[], Any], device: str) -> float:
    gc.collect()
    _synchronize(device)
    start = time.perf_counter()
    result = function()
    _synchronize(device)
    elapsed = time.perf_counter() - start
    del result
    return elapsed


def timed(function: Callable[[], Any], device: str, rounds: int) -> list[float]:
    function()
    return [seconds(function, device) for _ in range(rounds)]


def _synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def measure(case: Case, module: str, index: int) -> dict[str, Any]:
    """Run one case, ``cases()[index]`` of ``module``, and return the figures, ready for JSON and ``report.table``.

    A peer whose package is absent, or that runs out of memory, is recorded as ``missing``, with the reason; what was
    asked against it is then neither met nor missed.
    """
    contenders = case.contenders()
    results: dict[str, Any] = {}
    rows: dict[str, dict[str, Any]] = {name: {} for name in contenders}
    for name, function in contenders.items():
        try:
            results[name] = function()  # warms up: compiles, fills caches
        except ModuleNotFoundError as error:
            if name == OURS:
                raise
            rows[name]["missing"] = f"{error.name} is not installed"
        except (MemoryError, torch.OutOfMemoryError) as error:
            if name == OURS:
                raise
            rows[name]["missing"] = f"out of memory: {error}"
    present = {name: contenders[name] for name in results}
    check = _check(case, results)
    results.clear()

    racing = dict(present)
    if case.bound:
        racing["bound"] = case.bound[1]
        case.bound[1]()
    times: dict[str, list[float]] = {name: [] for name in racing}
    names = list(racing)
    with _quick_collection():
        for turn in range(case.rounds):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                times[name].append(seconds(racing[name], case.device))
    for name in present:
        rows[name].update(_spread(times[name]))
        rows[name]["peak_extra_bytes"] = peak_extra_bytes(module, index, name)

    ours = rows[OURS]
    for name in case.peers:
        _compare(rows[name], ours, case.at_least.get(name), case.memory_at_most.get(name))
    bound = None
    if case.bound:
        spread = _spread(times["bound"])
        ratio, at_most = ours["median_s"] / spread["median_s"], case.bound_at_most
        met = None if at_most is None else ratio <= at_most
        bound = {"name": case.bound[0], **spread, "ours_over_bound": ratio, "at_most": at_most, "met": met}
    verdicts = [row.get("met") for row in rows.values()] + [part["met"] for part in (bound, check) if part]
    return {
        "operation": case.operation,
        "work": case.work,
        "device": case.device,
        "rounds": case.rounds,
        "contenders": rows,
        "bound": bound,
        "check": check,
        "met": False not in verdicts,
    }


@contextmanager
def _quick_collection() -> Iterator[None]:
    """Collect only the garbage that is made from here on: to look through all objects takes longer than many calls."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _check(case: Case, results: dict[str, Any]) -> dict[str, Any] | None:
    if case.check is None:
        return None
    try:
        line = case.check(results[OURS], {name: result for name, result in results.items() if name != OURS})
    except AssertionError as error:
        return {"line": (str(error) or "the check failed").splitlines()[0], "met": False}
    return {"line": line, "met": True}


def _spread(times: list[float]) -> dict[str, float]:
    q1, median, q3 = statistics.quantiles(times, n=4, method="inclusive") if len(times) > 1 else times * 3
    return {"median_s": median, "q1_s": q1, "q3_s": q3}


def _compare(row: dict[str, Any], ours: dict[str, Any], at_least: float | None, memory_at_most: float | None) -> None:
    """Add to a peer's row how many times slower it is, its share of memory, and whether what was asked is met."""
    row["at_least"], row["memory_at_most"] = at_least, memory_at_most
    row["ours_is_faster"] = row["median_s"] / ours["median_s"] if "median_s" in row else None
    memory, our_memory = row.get("peak_extra_bytes"), ours.get("peak_extra_bytes")
    row["memory_ratio"] = our_memory / memory if memory and our_memory is not None else None
    verdicts = []
    if at_least is not None:
        verdicts.append(None if row["ours_is_faster"] is None else row["ours_is_faster"] >= at_least)
    if memory_at_most is not None:
        verdicts.append(None if row["memory_ratio"] is None else row["memory_ratio"] <= memory_at_most)
    row["met"] = None if not verdicts else False if False in verdicts else None if None in verdicts else True


def peak_extra_bytes(module: str, index: int, contender: str) -> int | None:
    """The most memory that one call holds beyond what was held before it, its result included; None if not measured.

    On the CPU that is the high-water mark of the process, which only Linux can reset.
    """
    code = "import sys; from benchmarks.harness import print_peak; print_peak(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, module, str(index), contender],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def print_peak(module: str, index: str, contender: str) -> None:
    """The fresh process's half of ``peak_extra_bytes``."""
    case = importlib.import_module(module).cases()[int(index)]
    function = case.contenders()[contender]
    function()  # imports, compiles and sizes the libraries' own pools
    gc.collect()
    print(json.dumps(_peak_cuda(function, case.device) if case.device.startswith("cuda") else _peak_host(function)))


def _peak_cuda(function: Callable[[], Any], device: str) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    result = function()
    torch.cuda.synchronize(device)
    del result
    return torch.cuda.max_memory_allocated(device) - before


def _peak_host(function: Callable[[], Any]) -> int | None:
    if not CLEAR_REFS.exists():
        return None
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)  # else what the first call freed could serve the second one unseen
    CLEAR_REFS.write_text("5")
    before = _status("VmRSS")
    result = function()
    peak = _status("VmHWM")
    del result
    return max(peak - before, 0)


def _status(name: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
