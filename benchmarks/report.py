"""The benchmark as people read it: one table on the terminal, one JSON file that names the machine."""

import datetime
import importlib.metadata
import json
import os
import platform
import re
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from benchmarks.harness import OURS, copy_bandwidth, matmul_rate
from histolab_lite.files import write_atomically

PACKAGES = (
    "torch",
    "triton",
    "numpy",
    "numba",
    "scipy",
    "scikit-learn",
    "scikit-image",
    "faiss-cpu",
    "lightly",
    "pytorch-metric-learning",
)


def machine() -> dict[str, Any]:
    """What the figures depend on, measured rates included. No host name: the file is public."""
    info = {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu_copy_gb_per_s": round(copy_bandwidth() / 1e9, 1),
        "cpu_matmul_gflop_per_s": round(matmul_rate() / 1e9),
    }
    if torch.cuda.is_available():
        info["gpu"] = torch.cuda.get_device_name()
        info["gpu_copy_gb_per_s"] = round(copy_bandwidth("cuda") / 1e9)
        info["gpu_bfloat16_matmul_gflop_per_s"] = round(matmul_rate(torch.bfloat16, "cuda") / 1e9)
    return info


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.M) if cpuinfo.exists() else None
    return found[1].strip() if found else platform.processor() or platform.machine()


def file_name(machine: dict[str, Any]) -> str:
    """AMD EPYC, 2 cores -> amd-epyc-2-cores.json"""
    words = f"{machine['cpu']} {machine['cores']} cores {machine.get('gpu', '')}"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-") + ".json"


def document(machine: dict[str, Any], results: list[dict[str, Any]]) -> dict[str, Any]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"machine": machine, "date": date, "versions": versions, "results": results}


def write_json(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def table(results: list[dict[str, Any]]) -> Table:
    page = Table(title="Median time per call; the range holds the middle half of the calls", title_justify="left")
    page.add_column("contender", overflow="fold")
    for heading in ("time", "range", "ours is", "asked", "memory", "ours / it", "asked"):
        page.add_column(heading, justify="right", no_wrap=True)
    page.add_column("met")
    for result in results:
        page.add_section()
        page.add_row(f"[bold]{result['operation']}[/] · {result['work']}", *[""] * 7, _met(result["met"]))
        for name, row in result["contenders"].items():
            page.add_row(*_contender(name, row))
        if bound := result["bound"]:
            asked = f"≤ {bound['at_most']:g}×" if bound["at_most"] else ""
            ratio = f"{bound['ours_over_bound']:.2f}× as long"
            page.add_row(f"  bound: {bound['name']}", *_times(bound), ratio, asked, "", "", "", _met(bound["met"]))
        if check := result["check"]:
            page.add_row(f"  {check['line']}", *[""] * 7, _met(check["met"]))
    return page


def _contender(name: str, row: dict[str, Any]) -> list[str]:
    if "missing" in row:
        return [f"  {name}: {row['missing']}", *[""] * 7, "[yellow]not measured[/]"]
    memory = row.get("peak_extra_bytes")
    cells = [f"  {name}", *_times(row), "", "", "" if memory is None else f"{memory / 2**20:,.1f} MiB", "", "", ""]
    if name != OURS:
        cells[3] = f"{row['ours_is_faster']:.2f}× faster"
        cells[4] = f"≥ {row['at_least']:g}×" if row["at_least"] is not None else ""
        cells[6] = f"{row['memory_ratio']:.3f}" if row["memory_ratio"] is not None else ""
        cells[7] = f"≤ {row['memory_at_most']:g}" if row["memory_at_most"] is not None else ""
        cells[8] = _met(row["met"])
        asked = row["at_least"] is not None or row["memory_at_most"] is not None
        if row["met"] is None and asked:
            cells[8] = "[yellow]not measured[/]"
    return cells


def _times(row: dict[str, Any]) -> tuple[str, str]:
    digits = 2 if row["median_s"] < 1 else 0
    milli = {key: f"{1e3 * row[key]:,.{digits}f}" for key in ("median_s", "q1_s", "q3_s")}
    return f"{milli['median_s']} ms", f"{milli['q1_s']} to {milli['q3_s']}"


def _met(met: bool | None) -> str:
    return {True: "[green]met[/]", False: "[red]not met[/]", None: ""}[met]
