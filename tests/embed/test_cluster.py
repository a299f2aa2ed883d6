"""On a Dask cluster the same files come out, and a worker that dies costs no slide and embeds none twice."""

import os
import shutil
import signal

import numpy as np
import pytest

from histolab_lite.embed import cluster
from histolab_lite.embed.cluster import check_engine, run_on_cluster
from histolab_lite.embed.jobs import find_jobs
from histolab_lite.embed.settings import Settings, encoder_revision
from histolab_lite.formats.embeddings import SlideEmbeddings

distributed = pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")


def test_only_addresses_of_clusters_are_engines(monkeypatch):
    for engine in ("dask", "tcp://host:8786", "tls://host:8786", "dask://host:8786"):
        check_engine(engine)
    for engine in ("slurm", "http://host", "local", ""):
        with pytest.raises(ValueError, match="an engine is local, dask or a scheduler's address"):
            check_engine(engine)
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'histolab-lite\[cluster\]'"):
        check_engine("dask")


def test_a_worker_with_other_weights_refuses(slides, quick, tmp_path):
    (job,) = find_jobs([str(slides["a"])], tmp_path)
    outcome = cluster._run_task(job, "default", "f" * 12, quick, False, "cpu")
    assert outcome.state == "failed"
    assert "not ffffffffffff" in outcome.reason
    assert not job.target.exists()


@pytest.mark.slow
def test_a_killed_worker_costs_no_slide(slides, encoder, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number in range(2):
        for name, path in slides.items():
            shutil.copy(path, folder / f"{number}{name}.tif")
    (folder / "bad.tif").write_text("no slide")
    settings = Settings(mpp=0.5, patch=64, overlap=0.75, min_tissue=0.3, batch_size=32)
    jobs = find_jobs([str(folder)], out)
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    outcomes, first = [], {}
    with distributed.LocalCluster(**options) as local, distributed.Client(local) as watcher:
        address = local.scheduler_address.replace("tcp://", "dask://")
        for outcome in run_on_cluster(jobs, address, "default", encoder_revision(encoder), settings, device="cpu"):
            outcomes.append(outcome)
            if outcome.state == "embedded" and not first:
                busy = next(worker for worker, tasks in watcher.processing().items() if tasks)
                pids = watcher.run(os.getpid)
                first = {job.target: job.target.stat() for job in jobs if job.target.exists()}
                os.kill(pids[busy], signal.SIGKILL)
    assert 1 <= len(first) < len(jobs) - 1  # midway
    assert sorted(outcome.job.slide.name for outcome in outcomes) == sorted(job.slide.name for job in jobs)
    assert [outcome.job.slide.name for outcome in outcomes if outcome.state == "failed"] == ["bad.tif"]
    # A worker may have died between writing a file and reporting it: then the file is found, not made again.
    assert sum(outcome.state == "embedded" for outcome in outcomes) >= len(jobs) - 2
    for path, before in first.items():
        after = path.stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns), path.name
    assert len(list(out.glob("[!.]*.h5"))) == len(jobs) - 1
    for name in slides:  # loading compares digests
        one, other = (SlideEmbeddings.load(out / f"{number}{name}.h5") for number in range(2))
        np.testing.assert_array_equal(one.coords, other.coords)
        np.testing.assert_allclose(one.features, other.features, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_cluster_of_this_computer(slides, encoder, tmp_path):
    jobs = find_jobs([str(slides["a"])], tmp_path)
    settings = Settings(patch=64, min_tissue=0.3)
    (outcome,) = run_on_cluster(jobs, "dask", "default", encoder_revision(encoder), settings, device="cpu")
    assert (outcome.state, outcome.job) == ("embedded", jobs[0])
    assert outcome.patches == len(SlideEmbeddings.load(jobs[0].target)) > 0
