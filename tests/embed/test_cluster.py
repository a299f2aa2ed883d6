"""Over a Dask cluster the same files come out, and a worker that dies costs no slide and embeds none twice."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from histolab_lite.embed import cluster
from histolab_lite.embed.cluster import check_engine, run_on_cluster
from histolab_lite.embed.jobs import find_jobs, run_jobs
from histolab_lite.embed.settings import Settings, encoder_revision
from histolab_lite.formats.embeddings import SlideEmbeddings
from histolab_lite.models.encoder import PatchEncoder

distributed = pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")


def test_only_addresses_of_clusters_are_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    for engine in ("dask", "tcp://host:8786", "tls://host:8786", "dask://host:8786"):
        check_engine(engine)
    for engine in ("slurm", "http://host", "local", ""):
        with pytest.raises(ValueError, match="an engine is local, dask or a scheduler's address"):
            check_engine(engine)
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'histolab-lite\[cluster\]'"):
        check_engine("dask")


def test_a_worker_with_other_weights_refuses(slides: dict[str, Path], quick: Settings, tmp_path: Path) -> None:
    (job,) = find_jobs([str(slides["a"])], tmp_path)
    outcome = cluster._run_task(job, "default", "f" * 12, quick, False, "cpu")
    assert outcome.state == "failed"
    assert "not ffffffffffff" in outcome.reason
    assert not job.target.exists()


@pytest.mark.slow
def test_a_killed_worker_costs_no_slide(slides: dict[str, Path], encoder: PatchEncoder, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number in range(2):
        for name, path in slides.items():
            shutil.copy(path, folder / f"{number}{name}.tif")
    (folder / "bad.tif").write_text("no slide")
    settings = Settings(mpp=0.5, patch=64, overlap=0.75, min_tissue=0.3, batch_size=32)
    jobs = find_jobs([str(folder)], out)
    revision = encoder_revision(encoder)
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    outcomes, first = [], {}
    with distributed.LocalCluster(**options) as local, distributed.Client(local) as watcher:
        address = local.scheduler_address.replace("tcp://", "dask://")
        running = run_on_cluster(jobs, address, "default", revision, settings, device="cpu")
        for outcome in running:
            outcomes.append(outcome)
            if outcome.state == "embedded" and not first:
                busy = next(worker for worker, tasks in watcher.processing().items() if tasks)
                pids = watcher.run(os.getpid)
                first = {job.target: job.target.stat() for job in jobs if job.target.exists()}
                os.kill(pids[busy], signal.SIGKILL)
    assert 1 <= len(first) < len(jobs) - 1  # midway
    assert sorted(outcome.job.slide.name for outcome in outcomes) == sorted(job.slide.name for job in jobs)
    # A worker may have died between writing a file and saying so: it is then found there, not made again.
    failed = [outcome.job.slide.name for outcome in outcomes if outcome.state == "failed"]
    assert failed == ["bad.tif"]
    assert sum(outcome.state == "embedded" for outcome in outcomes) >= len(jobs) - 2
    for path, before in first.items():
        after = path.stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns), path.name
    assert len(list(out.glob("[!.]*.h5"))) == len(jobs) - 1
    here = find_jobs([str(path) for path in slides.values()], tmp_path / "here")
    for alone in run_jobs(here, encoder, settings):
        expected = SlideEmbeddings.load(alone.job.target)
        for number in range(2):
            loaded = SlideEmbeddings.load(out / f"{number}{alone.job.slide.stem}.h5")
            np.testing.assert_array_equal(loaded.coords, expected.coords)
            np.testing.assert_allclose(loaded.features, expected.features, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_cluster_of_this_machine(slides: dict[str, Path], encoder: PatchEncoder, tmp_path: Path) -> None:
    jobs = find_jobs([str(slides["a"])], tmp_path)
    settings = Settings(patch=64, min_tissue=0.3)
    (outcome,) = run_on_cluster(jobs, "dask", "default", encoder_revision(encoder), settings, device="cpu")
    assert (outcome.state, outcome.job) == ("embedded", jobs[0])
    assert outcome.patches == len(SlideEmbeddings.load(jobs[0].target)) > 0
