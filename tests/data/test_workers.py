"""Workers end with the process that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

from tests.processes import living, wait_for

WORK = """
import time
from joblib import delayed
from histolab_lite.data.workers import parallel

parallel(2)(delayed(print)(number, flush=True) for number in range(2))
parallel(2)(delayed(time.sleep)(1000) for _ in range(4))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_workers_end_with_the_process_that_started_them(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", WORK], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert {process.stdout.readline() for _ in range(2)} == {"0\n", "1\n"}
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(started) >= 2
        process.send_signal(number)
        try:
            wait_for(lambda: not living(started), 60, "workers are left")
        finally:
            for one in living(started):
                one.kill()
    assert process.returncode == -number
