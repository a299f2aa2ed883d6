"""python -m histolab_lite.embed as people meet it: a table, an exit status, and a killed run that is resumed."""

import os
import shutil
import signal
import subprocess
import sys
import time

import anndata
import numpy as np
import pytest
import tifffile
import typer
from typer.testing import CliRunner

from histolab_lite.embed.__main__ import main
from histolab_lite.formats.embeddings import SlideEmbeddings

APPLICATION = typer.Typer()
APPLICATION.command()(main)
QUICK = ("--mpp", "0.7", "--patch", "48", "--overlap", "0.25", "--min-tissue", "0.3", "--batch-size", "16")


def embed(*arguments):
    return CliRunner().invoke(APPLICATION, [str(argument) for argument in arguments])


def finished(out):
    """When each result was written, and as which file on the disk; hidden files are unfinished."""
    return {path.stem: (path.stat().st_ino, path.stat().st_mtime_ns) for path in out.glob("[!.]*.h5")}


def test_a_table_and_an_exit_status_say_what_came_of_each_slide(slides, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in "ab":
        shutil.copy(slides[name], folder)
    (folder / "[red]broken.svs").write_text("no slide")
    done = embed(folder, slides["c"], "--out", out, *QUICK, "--h5ad")
    assert done.exit_code == 1, done.output
    assert set(finished(out)) == {"a", "b", "c"}
    lines = [line.split() for line in done.output.splitlines()]
    for name in "abc":
        patches = len(SlideEmbeddings.load(out / f"{name}.h5"))
        assert [f"{name}.tif", "embedded", str(patches)] in [line[:3] for line in lines]
        assert anndata.read_h5ad(out / f"{name}.h5ad").shape == (patches, 256)
    assert ["[red]broken.svs", "failed"] in lines
    assert "is not a slide OpenSlide can read" in " ".join(done.output.split())
    assert f"3 of 4 slides are in {out}" in " ".join(done.output.split())

    (folder / "[red]broken.svs").unlink()
    before = finished(out)
    again = embed(folder / "*.tif", slides["c"], "--out", out, *QUICK)
    assert again.exit_code == 0, again.output
    assert again.output.count("already there") == 2 * 3  # as it goes, and in the table
    assert finished(out) == before


def test_wrong_options_stop_before_anything_is_computed(slides, tmp_path):
    for arguments, keyword in (
        (("--overlap", "1"), "overlap"),
        (("--mpp", "0"), "mpp"),
        (("--encoder", "none.safetensors"), "no weights at none.safetensors"),
        (("--device", "abacus"), "abacus"),
        (("--engine", "slurm"), "not 'slurm'"),
        (("none.svs",), "no such slide"),
    ):
        done = embed(slides["a"], "--out", tmp_path / "out", *arguments)
        assert (done.exit_code, keyword in done.output) == (2, True), done.output
        assert not (tmp_path / "out").exists()


def test_other_settings_stop_the_run_and_damaged_files_do_not(slides, tmp_path):
    assert embed(slides["a"], "--out", tmp_path, *QUICK).exit_code == 0
    before = finished(tmp_path)
    done = embed(slides["b"], slides["a"], "--out", tmp_path, *QUICK, "--mpp", "0.8")
    assert done.exit_code == 2
    assert "a.h5 exists, made with mpp 0.7 instead of 0.8. Give --overwrite to replace it" in done.output
    assert finished(tmp_path) == before  # and b was not begun
    (tmp_path / "a.h5").write_bytes((tmp_path / "a.h5").read_bytes()[:4000])
    done = embed(slides["a"], "--out", tmp_path, *QUICK)
    assert done.exit_code == 0
    assert "a.tif: a.h5 was damaged and has been embedded again." in done.output
    assert embed(slides["a"], "--out", tmp_path, *QUICK, "--mpp", "0.8", "--overwrite").exit_code == 0
    assert SlideEmbeddings.load(tmp_path / "a.h5").mpp == 0.8


def test_a_slide_that_states_no_scale_names_the_option(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (301, 255, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "s.tif", image, tile=(64, 64), photometric="rgb", resolutionunit="NONE")
    arguments = (tmp_path / "s.tif", "--out", tmp_path / "out", *QUICK)
    done = embed(*arguments)
    assert done.exit_code == 1
    assert "--slide-mpp" in done.output
    assert embed(*arguments, "--slide-mpp", "0.35").exit_code == 0
    assert SlideEmbeddings.load(tmp_path / "out" / "s.h5").patch_size_level0 == 96
    done = embed(*arguments, "--slide-mpp", "0.5")
    assert done.exit_code == 2
    assert "level0_mpp 0.35 instead of 0.5" in done.output


@pytest.mark.slow
def test_a_killed_run_is_resumed(slides, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    names = [f"{number}{name}" for number in range(3) for name in slides]
    for name in names:
        shutil.copy(slides[name[1]], folder / f"{name}.tif")
    options = ("--mpp", "0.5", "--patch", "64", "--overlap", "0.75", "--min-tissue", "0.3")
    command = [sys.executable, "-m", "histolab_lite.embed", str(folder), "--out", str(out), *options]
    running = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    try:
        while len(finished(out)) < 2:
            assert running.poll() is None, "ended before it could be killed"
            time.sleep(0.01)
    finally:
        running.kill()
    assert running.wait() == -signal.SIGKILL
    before = finished(out)
    assert 2 <= len(before) < len(names)

    done = embed(folder, "--out", out, *options)
    assert done.exit_code == 0, done.output
    after = finished(out)
    assert sorted(after) == names
    assert {name: after[name] for name in before} == before
    sizes = {name: len(SlideEmbeddings.load(out / f"{name}.h5")) for name in names}  # loading compares digests
    assert all(sizes[name] == sizes[f"0{name[1]}"] > 0 for name in names)


@pytest.mark.real_data
def test_real_slides_and_a_broken_one(data_root, tmp_path):
    folder = data_root / "slides"
    names = ("CMU-1-Small-Region", "tcga-cr-7395-01a-01-ts1", "broken")
    if not all((folder / f"{name}.svs").is_file() for name in names):
        pytest.skip(f"not all of {', '.join(names)} are in HISTOLAB_DATA/slides")
    coarse = (folder / "*.svs", "--out", tmp_path, "--mpp", "2", "--patch", "128")
    assert embed(*coarse).exit_code == 1
    assert set(finished(tmp_path)) == {names[0]}
    assert embed(*coarse, "--slide-mpp", "0.5").exit_code == 1
    scales = [SlideEmbeddings.load(tmp_path / f"{name}.h5").slide_mpp for name in names[:2]]
    assert scales == pytest.approx([0.499, 0.5], rel=1e-4)
