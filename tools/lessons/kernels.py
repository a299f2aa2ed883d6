"""The process in which a lesson runs, and the signals that stop it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from tools.lessons.guard import guarded

ROOT = Path(__file__).resolve().parents[2]
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def this_interpreter(threads: int | None = None, trace: Path | None = None) -> type[AsyncKernelManager]:
    """Kernels of the interpreter that runs the runner, whatever kernel specifications are installed.

    Another environment's `python3` kernel, registered in the home folder, would else be taken instead.
    `threads`: how many a kernel computes with, unless the caller's environment says; None leaves it to them.
    `trace`: the file for what the lesson reads (tracing.py); None for none.
    """
    spec = get_kernel_dict()
    options = ["--log-level=CRITICAL"]  # errors in cells are told in the notebook
    paths = [*filter(None, [os.environ.get("PYTHONPATH")]), str(ROOT)]  # this checkout's library, not an installed one
    env = {
        # A bar belongs in the terminal; in a committed output it is a pile of half-finished lines.
        "TQDM_DISABLE": "1",
        "PYTHONWARNINGS": "ignore:IProgress not found",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONPATH": os.pathsep.join(paths),
    }
    if trace is not None:
        options.append("--IPKernelApp.exec_lines=__import__('tools.lessons.tracing')")
        env["HISTOLAB_TRACE"] = str(trace)
    if os.environ.get("HISTOLAB_DATA"):  # the kernel works in another folder than the caller's
        env["HISTOLAB_DATA"] = str(Path(os.environ["HISTOLAB_DATA"]).expanduser().resolve())

    wanted = os.environ.get("OMP_NUM_THREADS", threads)
    if wanted is not None:
        env["OMP_NUM_THREADS"] = str(wanted)
        # Its first parallel loop sets OpenMP's number to this, torch's with it: by default every core there is.
        env["NUMBA_NUM_THREADS"] = os.environ.get("NUMBA_NUM_THREADS", str(wanted))

    class ThisInterpreter(AsyncKernelManager):
        kernel_spec = KernelSpec(
            argv=guarded([*spec["argv"], *options]),
            display_name=spec["display_name"],
            language="python",
            metadata=spec.get("metadata", {}),
            env=env,
        )

        async def cleanup_resources(self, restart: bool = False) -> None:  # type: ignore[override]
            if self.provisioner:  # what is left of its group, should its guard have been killed
                await self.provisioner.kill()
            await super().cleanup_resources(restart)

    return ThisInterpreter


class Stopped(Exception):
    """A signal stopped the run; `done` lessons had come to their end."""

    def __init__(self, number: int, done: int) -> None:
        super().__init__(f"Stopped by {signal.Signals(number).name}")
        self.done, self.status = done, 128 + number


@contextmanager
def stops() -> Iterator[list[int]]:
    """The signals that came, in a list that grows, heard where it is safe to stop, so that files are written whole.

    One that the caller had ignored, as nohup does, stays ignored.
    """
    heard: list[int] = []
    before = {x: signal.getsignal(x) for x in SIGNALS if signal.getsignal(x) is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, lambda number, _: heard.append(number))
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
