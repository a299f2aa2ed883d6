"""The same jobs, a slide a task, over a Dask cluster: one that is there already, or this machine's cores.

A worker that dies takes its slide with it; Dask gives it to another. Files are written whole or not at all, and a task
looks first whether its file is there, so that no slide is embedded twice for that. Slides, weights and results must lie
in folders that every worker sees under the same path. Hospitals start such clusters on SLURM with dask-jobqueue.

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
    """Raises ValueError for what is no cluster's address, ModuleNotFoundError without the extra "cluster"."""
    if engine != LOCAL and not engine.startswith(SCHEMES):
        raise ValueError(f"an engine is local, {LOCAL} or a scheduler's address, tcp://HOST:PORT; not {engine!r}.")
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
    """Embed slides on a cluster, and say what came of each as it is done.

    engine : "dask" for a cluster of this machine's cores, or the scheduler's address, "tcp://HOST:PORT" (or tls://,
    or dask:// for tcp://). encoder : a name that `load_encoder` knows on every worker, whose weights there must have
    this revision. device : as `choose_device`, on each worker.

    Raises as `check_engine`, and OSError where nobody answers.
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
            job = tasks.pop(task)  # with the last reference Dask forgets the task, and never runs it again
            raised = task.exception()  # of the cluster: what a slide raises is an outcome already
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
    """Loaded once a worker."""
    encoder = load_encoder(name).to(choose_device(device))
    return encoder, encoder_revision(encoder)
