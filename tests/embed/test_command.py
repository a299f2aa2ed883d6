"""python -m histolab_lite.embed as people meet it: a table, an exit status, and a killed run that goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import anndata
import numpy as np
import pytest
import tifffile
import typer
from typer.testing import CliRunner, Result

from histolab_lite.data.slides import Slide, patch_grid, read_patches
from histolab_lite.embed.__main__ import main
from histolab_lite.formats.embeddings import SlideEmbeddings
from histolab_lite.models.encoder import PatchEncoder

APPLICATION = typer.Typer()
APPLICATION.command()(main)
QUICK = ("--mpp", "0.7", "--patch", "48", "--overlap", "0.25", "--min-tissue", "0.3", "--batch-size", "16")


def embed(*arguments: object) -> Result:
    return CliRunner().invoke(APPLICATION, [str(argument) for argument in arguments])


def finished(out: Path) -> dict[str, tuple[int, int]]:
    """When and as which file on the disk each result was written; what a killed process left unfinished is hidden."""
    paths = [path for path in out.glob("*.h5") if not path.name.startswith(".")] if out.is_dir() else []
    return {path.stem: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def test_a_table_and_an_exit_status_say_what_came_of_each_slide(slides: dict[str, Path], tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in "ab":
        shutil.copy(slides[name], folder)
    (folder / "broken.svs").write_text("no slide")
    done = embed(folder, slides["c"], "--out", out, *QUICK, "--h5ad")
    assert done.exit_code == 1, done.output
    assert set(finished(out)) == {"a", "b", "c"}
    lines = [line.split() for line in done.output.splitlines()]
    for name in "abc":
        patches = len(SlideEmbeddings.load(out / f"{name}.h5"))
        assert [f"{name}.tif", "embedded", str(patches)] in [line[:3] for line in lines]
        assert anndata.read_h5ad(out / f"{name}.h5ad").shape == (patches, 256)
    assert ["broken.svs", "failed"] in lines
    assert "is not a slide OpenSlide can read" in " ".join(done.output.split())
    assert f"3 of 4 slides are in {out}" in " ".join(done.output.split())

    (folder / "broken.svs").unlink()
    before = finished(out)
    again = embed(folder / "*.tif", slides["c"], "--out", out, *QUICK)
    assert again.exit_code == 0, again.output
    assert again.output.count("already there") == 2 * 3  # as it goes, and in the table
    assert finished(out) == before


def test_wrong_options_stop_before_anything_is_computed(slides: dict[str, Path], tmp_path: Path) -> None:
    slide, out = slides["a"], tmp_path / "out"
    for arguments, message in (
        (("--overlap", "1"), "overlap is a share of the patch's side"),
        (("--mpp", "0"), "mpp is in micrometres per pixel"),
        (("--encoder", "none.safetensors"), "no weights at none.safetensors"),
        (("--device", "abacus"), "abacus"),
        (("--engine", "slurm"), "a scheduler's address, tcp://HOST:PORT; not 'slurm'"),
        ((tmp_path / "none.svs",), "none.svs: there is no such slide"),
    ):
        done = embed(slide, "--out", out, *arguments)
        assert (done.exit_code, message in done.output) == (2, True), done.output
    assert not out.exists()


def test_other_settings_need_overwrite(slides: dict[str, Path], tmp_path: Path) -> None:
    assert embed(slides["a"], "--out", tmp_path, *QUICK).exit_code == 0
    before = finished(tmp_path)
    done = embed(slides["b"], slides["a"], "--out", tmp_path, *QUICK, "--mpp", "0.8")
    assert done.exit_code == 2
    assert "a.h5 is there, made with mpp 0.7 where 0.8 is asked for. Give --overwrite to replace it" in done.output
    assert finished(tmp_path) == before  # and b was not begun
    assert embed(slides["a"], "--out", tmp_path, *QUICK, "--mpp", "0.8", "--overwrite").exit_code == 0
    assert SlideEmbeddings.load(tmp_path / "a.h5").mpp == 0.8


def test_another_slide_stops_the_run_and_a_damaged_file_does_not(slides: dict[str, Path], tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in "ab":
        shutil.copy(slides[name], folder)
    assert embed(folder, "--out", out, *QUICK).exit_code == 0
    before = finished(out)
    content = bytearray((folder / "b.tif").read_bytes())
    content[-1] ^= 1
    (folder / "b.tif").write_bytes(content)
    done = embed(folder, "--out", out, *QUICK)
    assert done.exit_code == 2
    assert "b.h5 is there, made from another file than b.tif. Give --overwrite to replace it" in done.output
    assert finished(out) == before

    shutil.copy(slides["b"], folder)
    (out / "a.h5").write_bytes((out / "a.h5").read_bytes()[:4000])
    done = embed(folder, "--out", out, *QUICK)
    assert done.exit_code == 0, done.output
    assert "a.tif: a.h5 was damaged, and is embedded anew." in done.output
    assert finished(out)["b"] == before["b"]
    assert len(SlideEmbeddings.load(out / "a.h5")) > 0


def test_a_slide_that_states_no_scale_names_the_option(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (301, 255, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "s.tif", image, tile=(64, 64), photometric="rgb", resolutionunit="NONE")
    arguments = (tmp_path / "s.tif", "--out", tmp_path / "out", *QUICK)
    done = embed(*arguments)
    assert done.exit_code == 1
    assert "Give the scale yourself: --slide-mpp" in " ".join(done.output.split())
    assert embed(*arguments, "--slide-mpp", "0.35").exit_code == 0
    assert SlideEmbeddings.load(tmp_path / "out" / "s.h5").patch_size_level0 == 96
    done = embed(*arguments, "--slide-mpp", "0.5")
    assert done.exit_code == 2
    assert "made with level0_mpp 0.35 where 0.5 is asked for" in done.output


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(slides: dict[str, Path], encoder: PatchEncoder, tmp_path: Path) -> None:
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
        running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    before = finished(out)
    assert 2 <= len(before) < len(names)

    done = embed(folder, "--out", out, *options)
    assert done.exit_code == 0, done.output
    after = finished(out)
    assert sorted(after) == names
    assert {name: after[name] for name in before} == before
    for name in names:  # those of before the kill too are whole
        loaded = SlideEmbeddings.load(out / f"{name}.h5")
        with Slide(folder / f"{name}.tif") as slide:
            coords = patch_grid(slide, 64, 0.5, 16, 0.3)
            np.testing.assert_array_equal(loaded.coords, coords)
            expected = encoder.embed(read_patches(slide, coords[:64], 64, 0.5), 64)
        np.testing.assert_allclose(loaded.features[:64], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.real_data
def test_real_slides_and_a_broken_one(data_root: Path, tmp_path: Path) -> None:
    folder = data_root / "slides"
    names = ("CMU-1-Small-Region", "tcga-cr-7395-01a-01-ts1", "broken")
    if not all((folder / f"{name}.svs").is_file() for name in names):
        pytest.skip(f"not all of {', '.join(names)} are in HISTOLAB_DATA/slides")
    coarse = ("--mpp", "2", "--patch", "128")
    done = embed(folder / "*.svs", "--out", tmp_path, *coarse)
    assert done.exit_code == 1
    assert set(finished(tmp_path)) == {names[0]}
    done = embed(folder / "*.svs", "--out", tmp_path, *coarse, "--slide-mpp", "0.5")
    assert done.exit_code == 1
    assert set(finished(tmp_path)) == set(names[:2])
    assert SlideEmbeddings.load(tmp_path / f"{names[0]}.h5").slide_mpp == pytest.approx(0.499)
    assert SlideEmbeddings.load(tmp_path / f"{names[1]}.h5").slide_mpp == 0.5
