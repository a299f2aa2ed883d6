"""The same jobs on a Dask cluster, one task per slide: on a running cluster, or on the cores of this computer.

If a worker dies, Dask gives its slide to another worker. Files are written whole or not at all, and a task first looks
for its file, so that no slide is embedded twice. Slides, weights and results must lie in folders that every worker sees
under the same path. Hospitals start such clusters on SLURM with dask-jobqueue.

https://distributed.dask.org  ·  https://jobqueue.dask.org
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from typing import Any

from histolab_lite.embed.jobs import Job, Outcome, run_jobs
from histolab_lite.embed.settings import Settings, choose_device, encoder_revision
from histolab_lite.environment import cpu_cores
from histolab_lite.models.encoder import PatchEncoder, load_encoder

LOCAL = "dask"
SCHEMES = ("tcp://", "tls://", "dask://")


def check_engine(engine: str) -> None:
    """Check the name of an engine, "dask" or a scheduler's address.

    Raises
    ------
    ValueError
        The name is neither.
    ModuleNotFoundError
        The extra "cluster" is not installed.
    """
    if engine != LOCAL and not engine.startswith(SCHEMES):
        raise ValueError(f"an engine is local, {LOCAL} or a scheduler's address, tcp://HOST:PORT, not {engine!r}.")
    if importlib.util.find_spec("distributed") is None:
        raise ModuleNotFoundError("a cluster needs dask.distributed: pip install 'histolab-lite[cluster]'.")


def run_on_cluster(
    jobs: Sequence[Job],
    engine: str,
    encoder: str,
    revision: str,
    settings: Settings,
    overwrite: bool = False,
    device: str = "auto",
) -> Iterator[Outcome]:
    """Embed slides on a cluster, and yield the outcome of each when it is done.

    Parameters
    ----------
    jobs
        One per slide.
    engine
        "dask" for a cluster of this computer's cores, or the scheduler's address: "tcp://HOST:PORT", tls://, or
        dask:// for tcp://.
    encoder
        A name that `load_encoder` knows on every worker.
    revision
        The `encoder_revision` that the encoder must have on every worker.
    settings, overwrite
        As in `run_jobs`.
    device
        As in `choose_device`, on each worker.

    Raises
    ------
    OSError
        The scheduler does not answer.
    ValueError, ModuleNotFoundError
        As in `check_engine`.
    """
    check_engine(engine)
    from distributed import Client, LocalCluster, as_completed

    with ExitStack() as stack:
        where: Any = engine.replace("dask://", "tcp://", 1)
        if engine == LOCAL:
            workers = cpu_cores() if choose_device(device).type == "cpu" else 1
            where = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
            stack.enter_context(where)
        client = stack.enter_context(Client(where, timeout="30s"))
        tasks = {
            client.submit(_run_task, job, encoder, revision, settings, overwrite, device, pure=False): job
            for job in jobs
        }
        for task in as_completed(list(tasks)):
            job = tasks.pop(task)  # without a reference Dask forgets the task, and never runs it again
            raised = task.exception()  # by the cluster: an error of a slide is an outcome
            if raised is None:
                yield task.result()
            else:
                yield Outcome(job, "failed", reason=f"{type(raised).__name__}: {raised}")


def _run_task(job: Job, name: str, revision: str, settings: Settings, overwrite: bool, device: str) -> Outcome:
    encoder, here = _encoder(name, device)
    if here != revision:
        reason = f"the weights of {name} on this worker are {here}, not {revision}. Give it the same files."
        return Outcome(job, "failed", reason=reason)
    (outcome,) = run_jobs([job], encoder, settings, overwrite)
    return outcome


@cache
def _encoder(name: str, device: str) -> tuple[PatchEncoder, str]:
    """Load the encoder once per worker."""
    encoder = load_encoder(name).to(choose_device(device))
    return encoder, encoder_revision(encoder)
