"""python -m histolab_lite.doctor: which packages, device, kernels and data are there, and what to do about the rest.

The exit status is 0 if the tutorial can run, else 1. A missing GPU or data set is no failure.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import typer
from packaging.requirements import Requirement
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from histolab_lite.environment import cpu_cores, device_name

PACKAGE = "histolab-lite"
EXTRAS = ("lessons", "demos", "cluster", "bench", "docs", "dev")
KERNELS = Path(__file__).with_name("kernels")
MARKS = {"ok": "[green]ok[/]", "absent": "[yellow]absent[/]", "problem": "[bold red]problem[/]"}

State = Literal["ok", "absent", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line of the report. A "problem" stops the tutorial; "absent" only limits what can be done."""

    area: str
    subject: str
    state: State
    detail: str
    advice: str = ""


def packages() -> Iterator[Finding]:
    """Compare the package's requirements with what is installed, one finding per extra; extras are optional."""
    try:
        lines = importlib.metadata.requires(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("packages", PACKAGE, "problem", "not installed", "pip install -e . in the checkout")
        return
    faults: dict[str, list[str]] = {"": []}
    count = 0
    for requirement in map(Requirement, lines):
        marker = requirement.marker
        extra = next((e for e in ("", *EXTRAS) if marker is None or marker.evaluate({"extra": e})), None)
        if extra is None:
            continue  # a requirement of another operating system
        count += 1
        fault = _fault(requirement)
        faults.setdefault(extra, []).extend([fault] if fault else [])
    for extra, missing in faults.items():
        subject = f"extra '{extra}'" if extra else f"{PACKAGE} {importlib.metadata.version(PACKAGE)}"
        target = f'pip install -e ".[{extra}]"' if extra else "pip install -e ."
        if missing:
            yield Finding("packages", subject, "absent" if extra else "problem", ", ".join(missing), target)
        else:
            yield Finding("packages", subject, "ok", "complete")


def _fault(requirement: Requirement) -> str | None:
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{requirement.name} is missing"
    if requirement.specifier.contains(version, prereleases=True):
        return None
    return f"{requirement.name} {version} is not {requirement.specifier}"


def devices() -> Iterator[Finding]:
    """Find Python, the processor and the GPU."""
    cores = cpu_cores()
    yield Finding("device", "Python", "ok", platform.python_version())
    yield Finding("device", "CPU", "ok", f"{cores} core{'s' * (cores != 1)}, {platform.machine()}")
    try:
        name = device_name()
    except ImportError as error:
        yield Finding("device", "PyTorch", "problem", str(error), "pip install torch torchvision")
        return
    if name == "CPU":
        yield Finding("device", "GPU", "absent", "none found", "only full-size runs need one")
    else:
        yield Finding("device", "GPU", "ok", name)


def kernels(folder: Path = KERNELS) -> Iterator[Finding]:
    """Find each operation of `histolab_lite.kernels` with the implementations that can run here."""
    import torch

    installed, gpu = importlib.util.find_spec("triton") is not None, torch.cuda.is_available()
    state: State
    for operation in sorted(path.parent for path in folder.glob("*/reference.py")):
        have = [name for name in ("reference", "cpu", "triton") if (operation / f"{name}.py").is_file()]
        usable = [name for name in have if name != "triton" or (installed and gpu)]
        if usable == have:
            state, advice = "ok", ""
        elif gpu:  # the kernels refuse tensors on the GPU without Triton
            state, advice = "absent", "pip install triton, for tensors on the GPU"
        else:
            state, advice = "ok", "triton needs an NVIDIA GPU"
        yield Finding("kernels", operation.name, state, ", ".join(usable), advice)


def tissue() -> Iterator[Finding]:
    """Find OpenSlide, the encoder that ships with the package, and the data sets of `data_manifests/`."""
    try:
        import openslide

        yield Finding("tissue", "OpenSlide", "ok", openslide.__library_version__)
    except (ImportError, OSError) as error:  # OSError: the Python part is there, the library is not
        yield Finding("tissue", "OpenSlide", "problem", str(error), "pip install -U openslide-bin")
    from histolab_lite.models.encoder import DEFAULT_WEIGHTS

    if DEFAULT_WEIGHTS.is_file():
        size = DEFAULT_WEIGHTS.stat().st_size / 2**20
        yield Finding("tissue", "default encoder", "ok", f"{DEFAULT_WEIGHTS.name}, {size:.1f} MiB")
    else:
        yield Finding(
            "tissue", "default encoder", "problem", f"no {DEFAULT_WEIGHTS.name}", "clone the repository again"
        )
    yield from data_sets()


def data_sets(root: Path | None = None) -> Iterator[Finding]:
    """Find each data set of `data_manifests/`: verified, absent, or different from its manifest."""
    from histolab_lite.data.manifests import ManifestError, data_root, list_manifests, load_manifest

    root = root or data_root()
    where = "" if os.environ.get("HISTOLAB_DATA") else "set HISTOLAB_DATA to keep tissue elsewhere"
    yield Finding("data", "folder", "ok", str(root), where)
    for name in list_manifests():
        manifest = load_manifest(name)
        if manifest.access == "generated":
            yield Finding("data", name, "ok", "generated when needed")
            continue
        try:
            manifest.fetch(root, download=False)
            yield Finding("data", name, "ok", "found and verified")
        except FileNotFoundError:
            manual = manifest.obtain.strip() or f"see {manifest.homepage}"
            advice = "downloaded when first used" if manifest.access == "download" else manual
            yield Finding("data", name, "absent", manifest.licence, advice)
        except ManifestError as error:
            yield Finding("data", name, "absent", "damaged", str(error))


def examine() -> list[Finding]:
    """Return all findings in the order of the report; after missing packages, nothing else is examined."""
    found = [*packages()]
    if any(finding.state == "problem" for finding in found):
        return found
    return [*found, *devices(), *kernels(), *tissue()]


def show(findings: list[Finding], console: Console) -> None:
    """Print the findings as a table, by area, and then what to do about what is missing."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    previous = ""
    for finding in findings:
        area = f"[bold]{finding.area}[/]" if finding.area != previous else ""
        if previous and area:
            table.add_row()
        table.add_row(area, finding.subject, MARKS[finding.state], escape(finding.detail))
        previous = finding.area
    console.print(table)
    advised = [finding for finding in findings if finding.advice]
    if not advised:
        return
    console.print("\n[bold]What to do about what is missing[/]")
    advice = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for finding in advised:
        advice.add_row(MARKS[finding.state], finding.subject, escape(finding.advice))
    console.print(advice)


def main() -> None:
    """Report which packages, device, kernels and data sets are there, and what to do about the rest."""
    findings = examine()
    console = Console()
    show(findings, console)
    problems = [finding for finding in findings if finding.state == "problem"]
    if problems:
        console.print("\n[bold red]The tutorial cannot run yet:[/] do what is listed above, then run the doctor again.")
    else:
        console.print("\n[green]The tutorial can run:[/] make tutorial")
    raise typer.Exit(1 if problems else 0)


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app(prog_name="python -m histolab_lite.doctor")
