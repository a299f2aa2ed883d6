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
    """Return a manager of kernels that run this interpreter, whatever kernel specifications are installed.

    Else Jupyter might take another environment's `python3` kernel, registered in the home folder.
    `threads`: how many a kernel computes with, unless $OMP_NUM_THREADS says; None leaves it to the libraries.
    `trace`: the file that tracing.py notes in what the lesson reads; None for no such file.
    """
    spec = get_kernel_dict()
    options = ["--log-level=CRITICAL"]  # the notebook shows the errors of its cells
    paths = [*filter(None, [os.environ.get("PYTHONPATH")]), str(ROOT)]  # this checkout's library, not an installed one
    env = {
        # A progress bar belongs in a terminal; in a committed output it leaves many half-finished lines.
        "TQDM_DISABLE": "1",
        "PYTHONWARNINGS": "ignore:IProgress not found",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONPATH": os.pathsep.join(paths),
    }
    if trace is not None:
        options.append("--IPKernelApp.exec_lines=__import__('tools.lessons.tracing')")
        env["HISTOLAB_TRACE"] = str(trace)
    if os.environ.get("HISTOLAB_DATA"):  # the kernel works in another folder than the caller
        env["HISTOLAB_DATA"] = str(Path(os.environ["HISTOLAB_DATA"]).expanduser().resolve())

    wanted = os.environ.get("OMP_NUM_THREADS", threads)
    if wanted is not None:
        env["OMP_NUM_THREADS"] = str(wanted)
        # numba's first parallel loop sets OpenMP's number of threads, and torch's, to this: by default to all cores.
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
            if self.provisioner:  # ends what is left of its group if its guard was killed
                await self.provisioner.kill()
            await super().cleanup_resources(restart)

    return ThisInterpreter


class Stopped(Exception):
    """A signal stopped the run after `done` lessons."""

    def __init__(self, number: int, done: int) -> None:
        super().__init__(f"Stopped by {signal.Signals(number).name}")
        self.done, self.status = done, 128 + number


@contextmanager
def stops() -> Iterator[list[int]]:
    """Collect signals in a list, in place of stopping at once, so that files are written whole.

    A signal that the caller ignores, as nohup does, stays ignored.
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
