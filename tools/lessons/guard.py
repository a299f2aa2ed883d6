"""A small process between the runner and a kernel: when either is gone, it ends all that the kernel started.

The runner may be killed at once, and a kernel may run out of memory; neither can then end its own children. The guard
leads the kernel's session, so it finds them by process group, and those that left the group by descent. On Linux it
also adopts processes whose parent has ended, https://man7.org/linux/man-pages/man2/PR_SET_CHILD_SUBREAPER.2const.html.
Windows has no such groups: a kernel has no guard there, and ipykernel ends it when the runner is gone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil

PR_SET_CHILD_SUBREAPER = 36
LOOK_S = 0.1


def guarded(argv: list[str]) -> list[str]:
    """Return the command that runs a kernel's command `argv` under guard."""
    return argv if os.name == "nt" else [sys.executable, "-P", __file__, *argv]


def end_kernels() -> None:
    """End the kernels that this process started, guarded or not. Their guards then end the rest."""
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if "ipykernel_launcher" in child.cmdline():
                child.terminate()


def _watch(argv: list[str]) -> None:
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    signal.signal(signal.SIGINT, lambda *_: None)  # it goes to the whole group, and shall only stop the cell
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # A kernel ends itself when the process of this number is gone.
    runner = int(os.environ["JPY_PARENT_PID"])
    os.environ["JPY_PARENT_PID"] = str(os.getpid())
    kernel = subprocess.Popen(argv)
    while kernel.poll() is None and os.getppid() == runner and not told:
        time.sleep(LOOK_S)
    _end_all()


def _end_all() -> None:
    until = time.monotonic() + 5
    while (living := _children()) and time.monotonic() < until:  # again, for those that started meanwhile
        for process in living:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(living, timeout=1)
    os.killpg(0, signal.SIGKILL)


def _children() -> list[psutil.Process]:
    living = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                living.append(process)
    return living


if __name__ == "__main__":
    _watch(sys.argv[1:])
