"""The benchmark's own measuring: what runs when, what is written, and when it says that a figure was missed."""

import importlib
import io
import json
import sys
import time
from itertools import chain, cycle
from pathlib import Path

import pytest
import torch
import typer
from rich.console import Console
from typer.testing import CliRunner

from benchmarks import harness, kernels, report

command = importlib.import_module("benchmarks.__main__")
Case = harness.Case
APPLICATION = typer.Typer()
APPLICATION.command()(command.main)
MIB = 2**20

HEAP = """
from benchmarks.harness import Case


def absent():
    import no_such_peer


def check(ours, peers):
    assert len(ours) < len(peers["big"]), "ours is not smaller"
    return "smaller"


def cases():
    peers = {"big": lambda: bytearray(b"1") * 2**27, "absent peer": absent}
    wanted = {"at_least": {"absent peer": 2.0}, "memory_at_most": {"big": 0.3}, "check": check}
    return [Case("holding memory", "32 against 128 MiB", lambda: bytearray(b"1") * 2**25, peers, **wanted, rounds=2)]
"""


@pytest.fixture
def heap(tmp_path, monkeypatch):
    """A benchmark script of one case in a folder of its own, beside one that must not be asked for its cases."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "heap_size.py").write_text(HEAP)
    (folder / "other.py").write_text("raise RuntimeError('this one was not asked for')")
    monkeypatch.setattr(kernels, "__path__", [str(folder)])
    monkeypatch.syspath_prepend(str(folder))
    module = importlib.import_module("heap_size")
    monkeypatch.setitem(sys.modules, "benchmarks.kernels.heap_size", module)
    yield module
    del sys.modules["heap_size"]


@pytest.fixture
def no_memory(monkeypatch):
    """Memory is not measured: that takes a process per contender."""
    monkeypatch.setattr(harness, "peak_extra_bytes", lambda *of: None)


def measured(case: Case) -> dict:
    return harness.measure(case, "unused", 0)


def rendered(result: dict) -> str:
    console = Console(width=160, file=io.StringIO())
    console.print(report.table([result]))
    return console.file.getvalue()


def test_contenders_run_interleaved_and_each_takes_the_first_turn(no_memory):
    calls = []
    peers = {name: lambda name=name: calls.append(name) for name in ("a", "b")}
    measured(Case("op", "work", lambda: calls.append("ours"), peers, rounds=3))
    warm_up, rounds = calls[:3], [calls[start : start + 3] for start in (3, 6, 9)]
    assert warm_up == ["ours", "a", "b"]
    assert rounds == [["ours", "a", "b"], ["a", "b", "ours"], ["b", "ours", "a"]]


def test_ratio_bound_and_verdicts(no_memory, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def taking(*seconds):
        turns = chain(seconds[:1], cycle(seconds))  # the first one warms up
        return lambda: clock.__setitem__(0, clock[0] + next(turns))

    peers = {"slow": taking(3.0), "fast": taking(0.5)}
    wanted = {"at_least": {"slow": 3.0, "fast": 1.0}, "bound": ("nap", taking(0.5)), "bound_at_most": 2.0}
    result = measured(Case("op", "work", taking(1.0), peers, **wanted, rounds=3))
    slow, fast = result["contenders"]["slow"], result["contenders"]["fast"]
    assert (slow["ours_is_faster"], fast["ours_is_faster"]) == (pytest.approx(3), pytest.approx(0.5))
    assert (slow["met"], fast["met"], result["bound"]["met"], result["met"]) == (True, False, True, False)
    assert result["bound"]["ours_over_bound"] == pytest.approx(2)
    assert "not met" in rendered(result)
    spread = measured(Case("op", "work", taking(1.0, 2.0, 3.0, 4.0, 10.0), {}, rounds=5))["contenders"]["ours"]
    assert (spread["q1_s"], spread["median_s"], spread["q3_s"]) == pytest.approx((2, 3, 4))


def absent():
    importlib.import_module("no_such_peer")


def huge():
    raise MemoryError("needs 550 GB")


@pytest.mark.parametrize(
    ("peer", "wanted", "reason"),
    [
        (absent, "at_least", "no_such_peer is not installed"),
        (huge, "memory_at_most", "out of memory: needs 550 GB"),
    ],
)
def test_a_peer_that_cannot_run_is_named_and_ours_raises(no_memory, peer, wanted, reason):
    result = measured(Case("op", "work", lambda: 1, {"the peer": peer}, **{wanted: {"the peer": 0.5}}, rounds=1))
    assert result["contenders"]["the peer"]["missing"] == reason
    assert (result["contenders"]["the peer"]["met"], result["met"]) == (None, True)
    assert f"the peer: {reason}" in rendered(result)
    with pytest.raises((ModuleNotFoundError, MemoryError)):
        measured(Case("op", "work", peer, {}, rounds=1))


def test_bounds_do_the_work_they_name(monkeypatch):
    name, copy = harness.moved_bytes(8_000_000)
    assert (name, copy()) == ("copy of 8 MB", None)
    assert harness.bare_matmul(3, 4, 5)[1]() is None
    monkeypatch.setattr(harness, "timed", lambda *of, rounds: [0.5] * rounds)
    assert harness.copy_bandwidth() == 2**29 / 0.5
    assert harness.matmul_rate() == 2 * 2048**3 / 0.5


def test_a_run_of_one_script_is_written_and_leaves_the_others_alone(heap, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "copy_bandwidth", lambda device="cpu": 10e9)
    monkeypatch.setattr(report, "matmul_rate", lambda *of: 100e9)
    out = tmp_path / "new" / "figures.json"
    done = CliRunner().invoke(APPLICATION, ["--only", "HEAP-size", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "holding memory" in done.output
    assert "absent peer: no_such_peer is not installed" in done.output
    written = json.loads(out.read_text(encoding="utf-8"))
    assert set(written) == {"machine", "date", "versions", "results"}
    assert written["machine"]["cpu_copy_gb_per_s"] == 10
    assert written["versions"]["torch"] == torch.__version__.split("+")[0]
    (result,) = written["results"]
    assert result["check"] == {"line": "smaller", "met": True}
    ours, big = result["contenders"]["ours"], result["contenders"]["big"]
    if harness.CLEAR_REFS.exists():
        assert (ours["peak_extra_bytes"], big["peak_extra_bytes"]) == pytest.approx((32 * MIB, 128 * MIB), rel=0.1)
        assert big["memory_ratio"] == pytest.approx(0.25, rel=0.1)
        assert big["met"] is True
    else:
        assert (ours["peak_extra_bytes"], big["met"]) == (None, None)


def test_the_status_is_1_for_a_missed_figure_and_2_for_an_unknown_script(heap, no_memory, monkeypatch):
    def worse(ours, peers):
        raise AssertionError("ours is worse")

    monkeypatch.setattr(heap, "check", worse)
    monkeypatch.setattr(report, "machine", lambda: {"cpu": "any", "cores": 1})
    done = CliRunner().invoke(APPLICATION, ["--only", "heap"])
    assert done.exit_code == 1, done.output
    assert "ours is worse" in done.output
    unknown = CliRunner().invoke(APPLICATION, ["--only", "nothing"])
    assert unknown.exit_code == 2
    assert "no script" in unknown.output


@pytest.mark.slow
def test_a_whole_run_takes_every_script_of_this_checkout():
    names = command.scripts()
    assert names == sorted(path.stem for path in Path(kernels.__file__).parent.glob("[!_]*.py"))
    assert all(importlib.import_module(f"benchmarks.kernels.{name}").cases for name in names)


def test_memory_is_called_unmeasured_where_the_system_cannot_tell(monkeypatch, tmp_path):
    monkeypatch.setattr(harness, "CLEAR_REFS", tmp_path / "absent")
    assert harness._peak_host(lambda: torch.ones(MIB)) is None


def test_a_file_is_named_after_the_machine():
    assert report.file_name({"cpu": "AMD EPYC", "cores": 2}) == "amd-epyc-2-cores.json"
    assert report.file_name({"cpu": "X(R)", "cores": 8, "gpu": "NVIDIA H100"}) == "x-r-8-cores-nvidia-h100.json"
