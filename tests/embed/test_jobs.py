"""What a run of several slides leaves behind: the features of each, once, and a reason for each that failed."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from histolab_lite.data.slide_files import identify
from histolab_lite.data.slides import Slide, patch_grid, read_patches
from histolab_lite.embed.jobs import Job, Outcome, SettingsError, find_jobs, is_finished, run_jobs
from histolab_lite.embed.settings import Settings, encoder_revision
from histolab_lite.formats.embeddings import SlideEmbeddings
from histolab_lite.models.encoder import ColourEncoder, Encoder, PatchEncoder
from tests.flips import flipped


def damage(path: Path, copy: Path) -> Path:
    """A slide that opens, and cannot be read in the middle: the bytes of its tiles there are gone."""
    content = bytearray(path.read_bytes())
    first, last = len(content) // 10, len(content) * 5 // 10
    content[first:last] = bytes(last - first)
    copy.write_bytes(content)
    return copy


def run(paths: list[Path], out: Path, encoder: PatchEncoder, settings: Settings, **options: object) -> list[Outcome]:
    found = find_jobs([str(path) for path in paths], out, options.pop("h5ad", False))
    return list(run_jobs(found, encoder, settings, **options))


def states(outcomes: list[Outcome]) -> list[tuple[str, str]]:
    return [(outcome.job.slide.name, outcome.state) for outcome in outcomes]


def test_features_are_those_of_the_encoder_by_hand(
    slides: dict[str, Path], encoder: PatchEncoder, quick: Settings, tmp_path: Path
) -> None:
    seen = []
    outcomes = run(
        list(slides.values()), tmp_path / "new" / "out", encoder, quick, progress=lambda *of: seen.append(of)
    )
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


def test_bad_slides_are_reported_and_the_others_embedded(
    slides: dict[str, Path], quick: Settings, tmp_path: Path
) -> None:
    truncated = tmp_path / "truncated.tif"
    truncated.write_bytes(slides["b"].read_bytes()[:2000])
    damaged = damage(slides["c"], tmp_path / "damaged.tif")
    text = tmp_path / "text.svs"
    text.write_text("no slide")
    paths = [truncated, slides["a"], damaged, text, slides["b"]]
    outcomes = run(paths, tmp_path / "out", ColourEncoder(), replace(quick, min_tissue=0))
    assert [outcome.state for outcome in outcomes] == ["failed", "embedded", "failed", "failed", "embedded"]
    reasons = [outcome.reason for outcome in outcomes]
    assert "unknown format or damaged" in reasons[0]
    assert "damaged.tif is damaged" in reasons[2]
    assert reasons[1] == reasons[4] == ""
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.h5", "b.h5"]


def test_what_is_finished_is_not_computed_again(slides: dict[str, Path], quick: Settings, tmp_path: Path) -> None:
    encoder, out = ColourEncoder(), tmp_path / "out"
    run([slides["a"]], out, encoder, quick)
    before = identify(out / "a.h5")
    outcomes = run([slides["a"], slides["b"]], out, encoder, quick)
    assert states(outcomes) == [("a.tif", "already there"), ("b.tif", "embedded")]
    assert outcomes[0].patches == len(SlideEmbeddings.load(out / "a.h5")) > 0
    assert identify(out / "a.h5") == before
    outcomes = run([slides["a"]], out, encoder, quick, overwrite=True)
    assert states(outcomes) == [("a.tif", "embedded")]
    assert identify(out / "a.h5").modified != before.modified


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"mpp": 0.8}, r"a\.h5 is there, made with mpp 0\.7 where 0\.8 is asked for\. Give --overwrite"),
        ({"patch": 64}, "patch_size 48 where 64"),
        ({"overlap": 0.5}, "overlap 12 where 24"),
        ({"min_tissue": 0.4}, r"min_tissue 0\.3 where 0\.4"),
    ],
)
def test_a_file_made_otherwise_is_not_taken(
    slides: dict[str, Path], quick: Settings, tmp_path: Path, changes: dict, match: str
) -> None:
    encoder = ColourEncoder()
    (outcome,) = run([slides["a"]], tmp_path, encoder, quick)
    revision = encoder_revision(encoder)
    assert is_finished(outcome.job, replace(quick, batch_size=7), "colour", revision)
    with pytest.raises(SettingsError, match=match):
        is_finished(outcome.job, replace(quick, **changes), "colour", revision)
    content = outcome.job.target.read_bytes()
    (outcome,) = run([slides["a"]], tmp_path, encoder, replace(quick, **changes))
    assert outcome.state == "failed"
    assert "--overwrite" in outcome.reason
    assert outcome.job.target.read_bytes() == content


def test_a_file_of_another_encoder_or_slide_is_not_taken(
    slides: dict[str, Path], quick: Settings, tmp_path: Path
) -> None:
    (outcome,) = run([slides["a"]], tmp_path, ColourEncoder(), quick)
    job, revision = outcome.job, encoder_revision(ColourEncoder())
    for name, digest, match in (("default", revision, "encoder colour"), ("colour", "f" * 12, "encoder_revision")):
        with pytest.raises(SettingsError, match=match):
            is_finished(job, quick, name, digest)
    other = Path(shutil.copy(slides["b"], tmp_path / "a.tif"))  # replaced by another picture
    with pytest.raises(SettingsError, match="level0_width 517 where 333"):
        is_finished(replace(job, slide=other), quick, "colour", revision)
    for content in (b"not HDF5", b"\x89HDF\r\n\x1a\n, and no more"):  # of another program
        job.target.write_bytes(content)
        with pytest.raises(SettingsError, match=r"is no HDF5 file.* --overwrite"):
            is_finished(job, quick, "colour", revision)


def impostor(slides: dict[str, Path], folder: Path) -> tuple[Path, Path]:
    """Two slides of one size in pixels and in bytes."""
    one = Path(shutil.copy(slides["a"], folder / "one.tif"))
    content = bytearray(one.read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "other.tif").write_bytes(content)
    return one, folder / "other.tif"


def test_another_slide_of_that_name_and_size_is_not_called_finished(
    slides: dict[str, Path], quick: Settings, tmp_path: Path
) -> None:
    one, other = impostor(slides, tmp_path)
    (outcome,) = run([one], tmp_path / "out", ColourEncoder(), quick)
    job, revision = outcome.job, encoder_revision(ColourEncoder())
    noted = SlideEmbeddings.load(job.target).slide_file
    assert noted == identify(one)
    assert noted.sha256 == hashlib.sha256(one.read_bytes()).hexdigest()
    os.utime(one, ns=(1, 1))
    assert is_finished(job, quick, "colour", revision)  # touched
    shutil.copy(one, tmp_path / "copy.tif")
    os.replace(tmp_path / "copy.tif", one)
    assert is_finished(job, quick, "colour", revision)  # copied
    os.replace(other, one)
    sentence = r"one\.h5 is there, made from another file than one\.tif\. Give --overwrite .*, or another --out"
    with pytest.raises(SettingsError, match=sentence):
        is_finished(job, quick, "colour", revision)
    before = job.target.read_bytes()
    (outcome,) = run([one], tmp_path / "out", ColourEncoder(), quick)
    assert (outcome.state, job.target.read_bytes()) == ("failed", before)
    (outcome,) = run([one], tmp_path / "out", ColourEncoder(), quick, overwrite=True)
    assert (outcome.state, outcome.reason) == ("embedded", "")


def test_a_file_that_does_not_note_its_slide_is_not_called_finished(
    slides: dict[str, Path], quick: Settings, tmp_path: Path
) -> None:
    (outcome,) = run([slides["a"]], tmp_path, ColourEncoder(), quick)
    replace(SlideEmbeddings.load(outcome.job.target), slide_file=None).save(outcome.job.target)
    sentence = r"made by an earlier version, which did not note a\.tif\. Give --overwrite"
    with pytest.raises(SettingsError, match=sentence):
        is_finished(outcome.job, quick, "colour", encoder_revision(ColourEncoder()))


@pytest.mark.parametrize("kind", ["flipped", "cut off", "empty"])
def test_a_damaged_file_is_embedded_anew_and_the_others_stay(
    slides: dict[str, Path], quick: Settings, tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "out"
    run([slides["a"], slides["b"]], out, ColourEncoder(), quick)
    whole, before = (out / "a.h5").read_bytes(), identify(out / "b.h5")
    flip = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
    (out / "a.h5").write_bytes({"flipped": flip, "cut off": whole[:5000], "empty": b""}[kind])
    outcomes = run([slides["a"], slides["b"], slides["c"]], out, ColourEncoder(), quick)
    assert states(outcomes) == [("a.tif", "embedded"), ("b.tif", "already there"), ("c.tif", "embedded")]
    assert [outcome.reason for outcome in outcomes] == ["a.h5 was damaged, and is embedded anew.", "", ""]
    assert (out / "a.h5").read_bytes() == whole
    assert identify(out / "b.h5") == before


def test_every_bit_that_flips_is_embedded_anew_or_asked_about(
    slides: dict[str, Path], quick: Settings, tmp_path: Path
) -> None:
    (outcome,) = run([slides["a"]], tmp_path, ColourEncoder(), quick)
    revision, asked = encoder_revision(ColourEncoder()), 0
    for _, damaged in flipped(outcome.job.target.read_bytes()):
        outcome.job.target.write_bytes(damaged)
        try:
            assert not is_finished(outcome.job, quick, "colour", revision)
        except SettingsError:
            asked += 1
    assert asked <= 5  # where the bit is one that tells our files from others


def test_a_slide_that_changes_while_it_is_embedded_is_not_called_finished(
    slides: dict[str, Path], quick: Settings, tmp_path: Path
) -> None:
    one, other = impostor(slides, tmp_path)

    def swap(slide: Path, done: int, total: int) -> None:
        if other.exists():
            os.replace(other, one)

    (outcome,) = run([one], tmp_path / "out", ColourEncoder(), quick, progress=swap)
    assert outcome.state == "failed"
    assert "one.tif changed while it was embedded. Run it again" in outcome.reason
    assert not outcome.job.target.exists()


def test_revision_tells_weights_and_grids_apart() -> None:
    one = Encoder(width=1 / 64)
    same = Encoder(width=1 / 64)
    same.load_state_dict(one.state_dict())
    revision = encoder_revision(one)
    assert encoder_revision(same) == revision
    assert len(revision) == 12
    finer = Encoder(width=1 / 64, output_stride=8)  # dilated: the same weights, other features
    finer.load_state_dict(one.state_dict())
    assert encoder_revision(finer) != revision
    same.layer4[1].bn2.running_mean[0] += 1e-6
    assert encoder_revision(same) != revision


def test_a_slide_without_tissue_has_no_patches(quick: Settings, slides: dict[str, Path], tmp_path: Path) -> None:
    from histolab_lite.data.phantom.pyramid import write_pyramid

    glass = write_pyramid(np.full((300, 310, 3), 244, np.uint8), 0.5, tmp_path / "glass.tif", 95, 64)
    (outcome,) = run([glass], tmp_path / "out", ColourEncoder(), quick)
    assert (outcome.state, outcome.patches) == ("embedded", 0)
    assert SlideEmbeddings.load(outcome.job.target).features.shape == (0, 4)


def test_h5ad_is_written_besides_and_caught_up(slides: dict[str, Path], quick: Settings, tmp_path: Path) -> None:
    import anndata

    run([slides["a"]], tmp_path, ColourEncoder(), quick)
    assert not (tmp_path / "a.h5ad").exists()
    before = identify(tmp_path / "a.h5")
    outcomes = run([slides["a"], slides["b"]], tmp_path, ColourEncoder(), quick, h5ad=True)
    assert states(outcomes) == [("a.tif", "already there"), ("b.tif", "embedded")]
    assert identify(tmp_path / "a.h5") == before
    for name in "ab":
        data, stored = anndata.read_h5ad(tmp_path / f"{name}.h5ad"), SlideEmbeddings.load(tmp_path / f"{name}.h5")
        np.testing.assert_array_equal(data.X, stored.features)
        assert data.uns["spatial"][name]["images"]["hires"].shape[:2] == stored.slide_size[::-1]


@pytest.mark.parametrize("full", ["a.h5.", "a.h5ad."])
def test_a_full_disk_fails_the_slide_and_leaves_nothing_behind(
    slides: dict[str, Path], quick: Settings, tmp_path: Path, fill_disk: Callable[..., None], full: str
) -> None:
    fill_disk(full)
    outcomes = run([slides["a"], slides["b"]], tmp_path / "out", ColourEncoder(), quick, h5ad=True)
    assert states(outcomes) == [("a.tif", "failed"), ("b.tif", "embedded")]
    assert outcomes[0].reason == f"{full[:-1]} was not written: the disk is full. Make room, then run it again."
    assert {"b.h5", "b.h5ad"} <= {path.name for path in (tmp_path / "out").iterdir()} <= {"a.h5ad", "b.h5", "b.h5ad"}


def test_a_run_that_is_given_up_closes_its_slides(
    slides: dict[str, Path], quick: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, closed = [], []
    close, init = Slide.close, Slide.__init__

    def opening(slide: Slide, *of: object) -> None:
        init(slide, *of)
        opened.append(slide.name)

    def closing(slide: Slide) -> None:
        if not slide._closed:
            closed.append(slide.name)
        close(slide)

    monkeypatch.setattr(Slide, "__init__", opening)
    monkeypatch.setattr(Slide, "close", closing)
    running = run_jobs(find_jobs([str(path) for path in slides.values()], tmp_path), ColourEncoder(), quick)
    assert next(running).job.slide.name == "a.tif"
    running.close()
    assert sorted(opened) == sorted(closed) == ["a", "b"]  # the second one had been opened meanwhile


def test_jobs_from_files_folders_and_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "in"
    (folder / "below").mkdir(parents=True)
    for name in ("x.svs", "y.TIFF", "notes.txt", "below/z.svs"):
        (folder / name).touch()
    monkeypatch.chdir(tmp_path)

    def names(*given: str) -> list[str]:
        return [job.slide.name for job in find_jobs(given, Path("out"))]

    assert names("in") == ["x.svs", "y.TIFF"]
    assert names("in/*.svs", "in", str(folder / "x.svs")) == ["x.svs", "y.TIFF"]  # each once
    assert names("in/**/*.svs") == ["z.svs"]
    assert names("in/notes.txt") == ["notes.txt"]  # asked for by name
    (job,) = find_jobs(["in/x.svs"], Path("out"), h5ad=True)
    assert job == Job(folder / "x.svs", tmp_path / "out" / "x.h5", tmp_path / "out" / "x.h5ad")
    for missing in ("in/none.svs", "out", "in/*.ndpi"):
        with pytest.raises(FileNotFoundError, match="no such slide, nor a folder"):
            find_jobs([missing], Path("out"))
    os.makedirs("empty")
    with pytest.raises(FileNotFoundError, match="empty: there is no such slide"):
        find_jobs(["empty"], Path("out"))
    (folder / "x.tif").touch()
    with pytest.raises(ValueError, match=r"x\.svs and .*x\.tif would both be written to x\.h5"):
        find_jobs(["in"], Path("out"))


def test_no_jobs_no_outcomes(quick: Settings) -> None:
    assert list(run_jobs([], ColourEncoder(), quick)) == []
