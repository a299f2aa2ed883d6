"""What a run of several slides leaves behind: the features of each, once, and a reason for each that failed."""

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pytest

from histolab_lite.data.phantom.pyramid import write_pyramid
from histolab_lite.data.slide_files import identify
from histolab_lite.data.slides import Slide, patch_grid, read_patches
from histolab_lite.embed.jobs import Job, SettingsError, find_jobs, is_finished, run_jobs
from histolab_lite.embed.settings import encoder_revision
from histolab_lite.formats.embeddings import SlideEmbeddings
from histolab_lite.models.encoder import ColourEncoder, Encoder

COLOUR = ColourEncoder()
REVISION = encoder_revision(COLOUR)


@pytest.fixture
def run(quick, tmp_path):
    """Embed slides into tmp_path / "out", with the colours of their pixels for features."""

    def embed(*paths, encoder=COLOUR, settings=quick, h5ad=False, **options):
        jobs = find_jobs([str(path) for path in paths], tmp_path / "out", h5ad)
        return list(run_jobs(jobs, encoder, settings, **options))

    return embed


def states(outcomes):
    return [(outcome.job.slide.name, outcome.state) for outcome in outcomes]


def test_features_are_those_of_the_encoder_by_hand(slides, encoder, quick, run):
    seen = []
    outcomes = run(*slides.values(), encoder=encoder, progress=lambda *of: seen.append(of))
    assert states(outcomes) == [("a.tif", "embedded"), ("b.tif", "embedded"), ("c.tif", "embedded")]
    for path, outcome in zip(slides.values(), outcomes, strict=True):
        loaded = SlideEmbeddings.load(outcome.job.target)
        with Slide(path) as slide:
            coords = patch_grid(slide, 48, 0.7, 36, 0.3)
            expected = encoder.embed(read_patches(slide, coords, 48, 0.7), quick.batch_size)
            assert (loaded.slide_size, loaded.slide_mpp) == (slide.dimensions, slide.mpp)
        np.testing.assert_array_equal(loaded.coords, coords)
        np.testing.assert_array_equal(loaded.features, expected.numpy())  # to the last bit
        assert outcome.patches == len(coords) > 16
        assert (loaded.name, loaded.patch_size, loaded.patch_size_level0, loaded.mpp) == (path.stem, 48, 67, 0.7)
        assert (loaded.overlap, loaded.min_tissue) == (12, 0.3)
        assert (loaded.encoder, loaded.encoder_revision) == (encoder.name, encoder_revision(encoder))
        assert [of for of in seen if of[0] == path][-1] == (path, len(coords), len(coords))


def test_bad_slides_are_reported_and_the_others_embedded(slides, quick, run, tmp_path):
    truncated, damaged, text = (tmp_path / name for name in ("truncated.tif", "damaged.tif", "text.svs"))
    truncated.write_bytes(slides["b"].read_bytes()[:2000])
    content = slides["c"].read_bytes()
    gap = slice(len(content) // 10, len(content) // 2)  # it opens, but tiles in the middle are gone
    damaged.write_bytes(content[: gap.start] + bytes(gap.stop - gap.start) + content[gap.stop :])
    text.write_text("no slide")
    outcomes = run(truncated, slides["a"], damaged, text, slides["b"], settings=replace(quick, min_tissue=0))
    assert [outcome.state for outcome in outcomes] == ["failed", "embedded", "failed", "failed", "embedded"]
    reasons = [outcome.reason for outcome in outcomes]
    assert "unknown format or damaged" in reasons[0]
    assert "damaged.tif is damaged" in reasons[2]
    assert reasons[1] == reasons[4] == ""
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.h5", "b.h5"]


def test_a_slide_without_tissue_has_no_patches(run, tmp_path):
    glass = write_pyramid(np.full((300, 310, 3), 244, np.uint8), 0.5, tmp_path / "glass.tif", 95, 64)
    (outcome,) = run(glass)
    assert (outcome.state, outcome.patches) == ("embedded", 0)
    assert SlideEmbeddings.load(outcome.job.target).features.shape == (0, 4)
    assert run() == []


def test_finished_slides_are_skipped(slides, quick, run, tmp_path):
    (first,) = run(slides["a"])
    target = first.job.target
    before = identify(target)
    outcomes = run(slides["a"], slides["b"], settings=replace(quick, batch_size=7), h5ad=True)
    assert states(outcomes) == [("a.tif", "already there"), ("b.tif", "embedded")]
    assert outcomes[0].patches == first.patches == len(SlideEmbeddings.load(target)) > 0
    assert identify(target) == before
    for name in "ab":  # the .h5ad file that was not asked for before is written, too
        stored = SlideEmbeddings.load(tmp_path / f"out/{name}.h5")
        data = anndata.read_h5ad(tmp_path / f"out/{name}.h5ad")
        np.testing.assert_array_equal(data.X, stored.features)
        assert data.uns["spatial"][name]["images"]["hires"].shape[:2] == stored.slide_size[::-1]
    os.utime(target, ns=(0, 0))
    assert states(run(slides["a"], overwrite=True)) == [("a.tif", "embedded")]
    assert identify(target).modified > 0


def test_a_result_of_other_settings_another_encoder_slide_or_program_fails(slides, quick, run, tmp_path):
    (outcome,) = run(slides["a"])
    job, content = outcome.job, outcome.job.target.read_bytes()
    other = Path(shutil.copy(slides["b"], tmp_path / "a.tif"))
    unnoted = replace(SlideEmbeddings.load(job.target), slide_file=None).save(tmp_path / "unnoted.h5")
    (tmp_path / "text").write_bytes(b"not HDF5")
    (tmp_path / "head").write_bytes(b"\x89HDF\r\n\x1a\n, and no more")
    for settings, encoder, revision, files, keyword in (
        ({"mpp": 0.8}, "colour", REVISION, {}, r"a\.h5 exists, made with mpp 0\.7 instead of 0\.8\. Give --overwrite"),
        ({"patch": 64}, "colour", REVISION, {}, "patch_size 48 instead of 64"),
        ({"overlap": 0.5}, "colour", REVISION, {}, "overlap 12 instead of 24"),
        ({"min_tissue": 0.4}, "colour", REVISION, {}, "min_tissue 0.3 instead of 0.4"),
        ({}, "default", REVISION, {}, "encoder colour"),
        ({}, "colour", "f" * 12, {}, "encoder_revision"),
        ({}, "colour", REVISION, {"slide": other}, "level0_width 517 instead of 333"),
        ({}, "colour", REVISION, {"target": unnoted}, r"earlier version, which did not note a\.tif\. Give --overwrite"),
        ({}, "colour", REVISION, {"target": tmp_path / "text"}, "no HDF5 file.* --overwrite"),
        ({}, "colour", REVISION, {"target": tmp_path / "head"}, "no HDF5 file.* --overwrite"),
    ):
        with pytest.raises(SettingsError, match=keyword):
            is_finished(replace(job, **files), replace(quick, **settings), encoder, revision)
    (outcome,) = run(slides["a"], settings=replace(quick, mpp=0.8))
    assert (outcome.state, "--overwrite" in outcome.reason) == ("failed", True)
    assert job.target.read_bytes() == content


@pytest.fixture
def alike(slides, tmp_path):
    """Two slides of one size, in pixels and in bytes."""
    content = bytearray(slides["a"].read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "other.tif").write_bytes(content)
    return Path(shutil.copy(slides["a"], tmp_path / "one.tif")), tmp_path / "other.tif"


def test_another_slide_of_the_same_name_and_size_fails(alike, quick, run, tmp_path):
    one, other = alike
    (outcome,) = run(one)
    job, before = outcome.job, outcome.job.target.read_bytes()
    noted = SlideEmbeddings.load(job.target).slide_file
    assert noted == identify(one)
    assert noted.sha256 == hashlib.sha256(one.read_bytes()).hexdigest()
    os.utime(one, ns=(1, 1))
    assert is_finished(job, quick, "colour", REVISION)  # touched
    os.replace(shutil.copy(one, tmp_path / "copy.tif"), one)
    assert is_finished(job, quick, "colour", REVISION)  # copied
    os.replace(other, one)
    (outcome,) = run(one)
    assert outcome.state == "failed"
    assert "one.h5 exists, made from another file than one.tif. Give --overwrite" in outcome.reason
    assert job.target.read_bytes() == before
    (outcome,) = run(one, overwrite=True)
    assert (outcome.state, outcome.reason) == ("embedded", "")


def test_a_slide_that_changes_while_it_is_embedded_fails(alike, run):
    one, other = alike

    def swap(slide, done, total):
        if other.exists():
            os.replace(other, one)

    (outcome,) = run(one, progress=swap)
    assert outcome.state == "failed"
    assert "one.tif changed while it was embedded. Run it again" in outcome.reason
    assert not outcome.job.target.exists()


def test_a_damaged_file_is_replaced_and_the_others_stay(slides, run, tmp_path):
    out = tmp_path / "out"
    run(slides["a"], slides["b"])
    whole, before = (out / "a.h5").read_bytes(), identify(out / "b.h5")
    for damaged in (whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:], whole[:5000], b""):
        (out / "a.h5").write_bytes(damaged)
        outcomes = run(slides["a"], slides["b"])
        assert states(outcomes) == [("a.tif", "embedded"), ("b.tif", "already there")]
        assert [outcome.reason for outcome in outcomes] == ["a.h5 was damaged and has been embedded again.", ""]
        assert (out / "a.h5").read_bytes() == whole
    assert identify(out / "b.h5") == before


def test_a_revision_changes_with_weights_and_grid():
    one, same = Encoder(width=1 / 64), Encoder(width=1 / 64)
    same.load_state_dict(one.state_dict())
    assert encoder_revision(same) == encoder_revision(one)
    assert len(encoder_revision(one)) == 12
    finer = Encoder(width=1 / 64, output_stride=8)  # dilated: the same weights, other features
    finer.load_state_dict(one.state_dict())
    assert encoder_revision(finer) != encoder_revision(one)
    revisions = {encoder_revision(one)}
    for value in (1e-6, -1e-6):
        same.layer4[1].bn2.running_mean[0] = value
        revisions.add(encoder_revision(same))
    assert len(revisions) == 3


@pytest.mark.parametrize("full", ["a.h5", "a.h5ad"])
def test_a_full_disk_fails_the_slide_and_leaves_nothing_behind(slides, run, tmp_path, fill_disk, full):
    fill_disk(f"{full}.")
    outcomes = run(slides["a"], slides["b"], h5ad=True)
    assert states(outcomes) == [("a.tif", "failed"), ("b.tif", "embedded")]
    assert outcomes[0].reason == f"{full} was not written: the disk is full. Make room, then run it again."
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {"b.h5", "b.h5ad"} | ({"a.h5ad"} if full == "a.h5" else set())


def test_a_run_that_is_given_up_closes_its_slides(slides, quick, tmp_path, monkeypatch):
    closed, close = [], Slide.close
    monkeypatch.setattr(Slide, "close", lambda slide: closed.append(slide.name) or close(slide))
    running = run_jobs(find_jobs([str(path) for path in slides.values()], tmp_path), COLOUR, quick)
    assert next(running).job.slide.name == "a.tif"
    running.close()
    assert set(closed) == {"a", "b"}  # the second one had been opened meanwhile


def test_jobs_from_files_folders_and_patterns(tmp_path, monkeypatch):
    folder = tmp_path / "in"
    (folder / "below").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    for name in ("x.svs", "y.TIFF", "notes.txt", "below/z.svs"):
        (folder / name).touch()
    monkeypatch.chdir(tmp_path)
    for given, names in (
        (["in"], ["x.svs", "y.TIFF"]),
        (["in/*.svs", "in", str(folder / "x.svs")], ["x.svs", "y.TIFF"]),  # each once
        (["in/**/*.svs"], ["z.svs"]),
        (["in/notes.txt"], ["notes.txt"]),  # named, so its suffix does not matter
    ):
        assert [job.slide.name for job in find_jobs(given, Path("out"))] == names
    (job,) = find_jobs(["in/x.svs"], Path("out"), h5ad=True)
    assert job == Job(folder / "x.svs", tmp_path / "out" / "x.h5", tmp_path / "out" / "x.h5ad")
    for missing in ("in/none.svs", "out", "in/*.ndpi", "empty"):
        with pytest.raises(FileNotFoundError, match="no such slide, nor a folder"):
            find_jobs([missing], Path("out"))
    (folder / "x.tif").touch()
    with pytest.raises(ValueError, match=r"x\.svs and .*x\.tif would both be written to x\.h5"):
        find_jobs(["in"], Path("out"))
