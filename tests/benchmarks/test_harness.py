"""The benchmark's own measuring: what runs when, what is written, and when it says that a figure was missed."""

import importlib
import json
import sys
import time
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

HEAP = """
import torch
from benchmarks.harness import Case


def hold(mebibytes):
    return torch.ones(mebibytes * 2**18)


def absent():
    import no_such_peer


def check(ours, peers):
    assert len(ours) < len(peers["big"]), "ours is not smaller"
    return "smaller"


def cases():
    return [
        Case(
            "holding memory",
            "64 against 256 MiB",
            lambda: hold(64),
            {"big": lambda: hold(256), "absent peer": absent},
            at_least={"absent peer": 2.0},
            memory_at_most={"big": 0.3},
            check=check,
            rounds=2,
        )
    ]
"""


@pytest.fixture
def heap(tmp_path, monkeypatch):
    """A benchmark script of one case in a folder of its own, seen by ``python -m benchmarks`` as its only one."""
    (tmp_path / "heap.py").write_text(HEAP)
    monkeypatch.setattr(kernels, "__path__", [str(tmp_path)])
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "benchmarks.kernels.heap", importlib.import_module("heap"))
    yield importlib.import_module("heap")
    del sys.modules["heap"]


def measured(case: Case) -> dict:
    return harness.measure(case, "unused", 0, with_memory=False)


def rendered(results: list[dict]) -> str:
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(report.table(results))
    return console.export_text()


def test_contenders_run_interleaved_and_each_takes_the_first_turn():
    calls = []
    peers = {name: lambda name=name: calls.append(name) for name in ("a", "b")}
    measured(Case("op", "work", lambda: calls.append("ours"), peers, rounds=3))
    warm_up, rounds = calls[:3], [calls[start : start + 3] for start in (3, 6, 9)]
    assert warm_up == ["ours", "a", "b"]
    assert rounds == [["ours", "a", "b"], ["a", "b", "ours"], ["b", "ours", "a"]]


def test_ratio_bound_and_verdicts(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def taking(seconds):
        return lambda: clock.__setitem__(0, clock[0] + seconds)

    case = Case(
        "op",
        "work",
        taking(1.0),
        {"slow": taking(3.0), "fast": taking(0.5)},
        at_least={"slow": 2.0, "fast": 1.0},
        bound=("nap", taking(0.5)),
        bound_at_most=4.0,
        rounds=3,
    )
    result = measured(case)
    slow, fast = result["contenders"]["slow"], result["contenders"]["fast"]
    assert slow["ours_is_faster"] == pytest.approx(3)
    assert (slow["met"], fast["met"], result["bound"]["met"], result["met"]) == (True, False, True, False)
    assert result["bound"]["ours_over_bound"] == pytest.approx(2)
    assert result["contenders"]["ours"]["q1_s"] <= result["contenders"]["ours"]["median_s"]
    assert "not met" in rendered([result])


def test_a_check_that_raises_makes_the_case_not_met():
    def check(ours, peers):
        assert ours <= peers["peer"], f"error {ours} is above {peers['peer']}"
        return "never"

    result = measured(Case("op", "work", lambda: 3, {"peer": lambda: 2}, check=check, rounds=1))
    assert result["check"] == {"line": "error 3 is above 2", "met": False}
    assert result["met"] is False
    assert "error 3 is above 2" in rendered([result])


def test_a_missing_peer_is_named_and_a_missing_package_of_ours_raises():
    def absent():
        importlib.import_module("no_such_peer")

    result = measured(Case("op", "work", lambda: 1, {"the peer": absent}, at_least={"the peer": 2.0}, rounds=1))
    assert result["contenders"]["the peer"]["missing"] == "no_such_peer is not installed"
    assert result["contenders"]["the peer"]["met"] is None
    assert result["met"] is True
    assert "the peer: no_such_peer is not installed" in rendered([result])
    with pytest.raises(ModuleNotFoundError):
        measured(Case("op", "work", absent, {}, rounds=1))


def test_a_peer_that_runs_out_of_memory_is_named():
    def huge():
        raise MemoryError("needs 550 GB")

    result = measured(Case("op", "work", lambda: 1, {"the peer": huge}, memory_at_most={"the peer": 0.5}, rounds=1))
    assert result["contenders"]["the peer"]["met"] is None
    assert "the peer: out of memory: needs 550 GB" in rendered([result])
    with pytest.raises(MemoryError):
        measured(Case("op", "work", huge, {}, rounds=1))


def test_bounds_do_the_work_they_name():
    name, copy = harness.moved_bytes(8_000_000)
    assert (name, copy()) == ("copy of 8 MB", None)
    assert harness.bare_matmul(3, 4, 5)[1]() is None
    assert harness.copy_bandwidth() > 1e8
    assert harness.matmul_rate() > 1e8


@pytest.mark.slow
def test_a_whole_run_measures_every_script_of_this_checkout(monkeypatch, tmp_path):
    written = {path.stem for path in Path(kernels.__file__).parent.glob("[!_]*.py")}
    for name in written:
        module = importlib.import_module(f"benchmarks.kernels.{name}")
        assert module.cases
        monkeypatch.setattr(module, "cases", lambda name=name: [Case(name, "work", lambda: None, {}, rounds=1)])
    monkeypatch.setattr(harness, "peak_extra_bytes", lambda *of: 0)
    monkeypatch.setattr(report, "machine", lambda: {"cpu": "any", "cores": 1})
    out = tmp_path / "figures.json"
    done = CliRunner().invoke(APPLICATION, ["--out", str(out)])
    assert done.exit_code == 0, done.output
    measured = [result["operation"] for result in json.loads(out.read_text(encoding="utf-8"))["results"]]
    assert measured == sorted(written)


def test_table_and_file_of_a_whole_run(heap, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "copy_bandwidth", lambda device="cpu": 10e9)
    monkeypatch.setattr(report, "matmul_rate", lambda *of: 100e9)
    out = tmp_path / "new" / "figures.json"
    done = CliRunner().invoke(APPLICATION, ["--only", "MEMORY", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "holding memory" in done.output
    assert "absent peer: no_such_peer is not installed" in done.output
    written = json.loads(out.read_text(encoding="utf-8"))
    assert written["machine"]["cpu_copy_gb_per_s"] == 10
    assert written["versions"]["torch"] == torch.__version__.split("+")[0]
    assert set(written) == {"machine", "date", "versions", "results"}
    (result,) = written["results"]
    assert result["check"] == {"line": "smaller", "met": True}
    rows = result["contenders"]
    if harness.CLEAR_REFS.exists():
        assert rows["ours"]["peak_extra_bytes"] == pytest.approx(64 * 2**20, rel=0.1)
        assert rows["big"]["peak_extra_bytes"] == pytest.approx(256 * 2**20, rel=0.1)
        assert rows["big"]["memory_ratio"] == pytest.approx(0.25, rel=0.1)
        assert rows["big"]["met"] is True
    else:
        assert rows["ours"]["peak_extra_bytes"] is None
        assert rows["big"]["met"] is None


def test_the_command_exits_with_1_for_a_missed_figure_and_2_for_an_unknown_operation(heap, monkeypatch):
    def worse(ours, peers):
        raise AssertionError("ours is worse")

    monkeypatch.setattr(heap, "check", worse)
    monkeypatch.setattr(harness, "peak_extra_bytes", lambda *of: 2**20)
    monkeypatch.setattr(report, "machine", lambda: {"cpu": "any", "cores": 1})
    done = CliRunner().invoke(APPLICATION, ["--only", "heap"])
    assert done.exit_code == 1, done.output
    assert "ours is worse" in done.output
    unknown = CliRunner().invoke(APPLICATION, ["--only", "nothing"])
    assert unknown.exit_code == 2
    assert "no operation is called 'nothing'" in unknown.output


def test_memory_is_called_unmeasured_where_the_kernel_cannot_tell(monkeypatch, tmp_path):
    monkeypatch.setattr(harness, "CLEAR_REFS", tmp_path / "absent")
    assert harness._peak_host(lambda: torch.ones(2**20)) is None


def test_a_file_is_named_after_the_machine():
    assert report.file_name({"cpu": "AMD EPYC", "cores": 2}) == "amd-epyc-2-cores.json"
    assert report.file_name({"cpu": "X(R)", "cores": 8, "gpu": "NVIDIA H100"}) == "x-r-8-cores-nvidia-h100.json"
