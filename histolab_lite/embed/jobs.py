"""One slide after another: skipped where it is finished, reported where it is bad, written whole or not at all."""

from __future__ import annotations

import glob
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from histolab_lite.data.slide_files import is_same
from histolab_lite.data.slides import Slide, SlideError
from histolab_lite.embed.reading import PatchStream
from histolab_lite.embed.settings import Settings, encoder_revision
from histolab_lite.environment import cpu_cores
from histolab_lite.formats.embeddings import SlideEmbeddings
from histolab_lite.formats.hdf5 import DamagedError
from histolab_lite.formats.trident import read_attributes, slide_file
from histolab_lite.models.encoder import PatchEncoder

#: What OpenSlide reads; in a folder only files that end like this are taken for slides.
SUFFIXES = tuple(".svs .tif .tiff .ndpi .mrxs .scn .bif .svslide .vms .vmu .czi .dcm".split())
THUMBNAIL = 2000  # pixels on the longer side of the picture in an .h5ad, as Space Ranger's "hires"
BAD_SLIDE = (SlideError, OSError, ValueError)

State = Literal["embedded", "already there", "failed"]
Progress = Callable[[Path, int, int], None]  # slide, patches done, patches in all


class SettingsError(ValueError):
    """A file that is there already was made otherwise than asked for, or cannot be read."""


@dataclass(frozen=True)
class Job:
    """A slide, the HDF5 file to write, and the .h5ad to write besides, or None."""

    slide: Path
    target: Path
    h5ad: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of one slide: patches, seconds of reading, encoding and writing; why it failed or was embedded anew."""

    job: Job
    state: State
    patches: int = 0
    seconds: float = 0.0
    reason: str = ""


def find_jobs(slides: Sequence[str], out: Path, h5ad: bool = False) -> list[Job]:
    """A job a slide, from files, folders (not their subfolders) and patterns such as "slides/*.svs".

    Raises FileNotFoundError where one of them names nothing, ValueError for two slides that would share a file.
    """
    found: dict[Path, None] = {}
    for name in slides:
        if Path(name).is_dir():
            paths = [path for path in sorted(Path(name).iterdir()) if path.suffix.lower() in SUFFIXES]
        else:
            paths = [Path(name)] if Path(name).exists() else [Path(path) for path in sorted(glob.glob(name))]
        if not paths:
            raise FileNotFoundError(f"{name}: there is no such slide, nor a folder that holds slides.")
        found |= dict.fromkeys(path.absolute() for path in paths)
    out = out.absolute()
    jobs: dict[str, Job] = {}
    for path in found:
        job = Job(path, out / f"{path.stem}.h5", out / f"{path.stem}.h5ad" if h5ad else None)
        if path.stem in jobs:
            raise ValueError(
                f"{jobs[path.stem].slide} and {path} would both be written to {job.target.name}. Embed them into two "
                "folders, in two runs."
            )
        jobs[path.stem] = job
    return list(jobs.values())


def is_finished(job: Job, settings: Settings, encoder: str, revision: str) -> bool:
    """Whether the job's HDF5 file is there, whole, and made as asked for from this very slide.

    Raises SettingsError for a file that was made otherwise or does not say from which slide, as those of earlier
    versions, or is none of ours; SlideError for a slide that cannot be opened.
    """
    if not job.target.exists():
        return False
    try:
        said = read_attributes(job.target)
    except DamagedError:
        return False
    except ValueError as error:
        raise SettingsError(f"{error} Or give --overwrite.") from error
    with settings.open(job.slide) as slide:
        wanted: dict[str, Any] = {
            "encoder": encoder,
            "encoder_revision": revision,
            "mpp": settings.mpp,
            "patch_size": settings.patch,
            "overlap": settings.patch - settings.stride,
            "min_tissue": settings.min_tissue,
            "level0_mpp": slide.mpp,
            "level0_width": slide.dimensions[0],
            "level0_height": slide.dimensions[1],
        }
    for key, value in wanted.items():
        there: Any = said.get(key)
        numbers = isinstance(there, int | float) and not isinstance(value, str)
        if not (math.isclose(there, value) if numbers else there == value):
            raise SettingsError(
                f"{job.target.name} is there, made with {key} {there} where {value} is asked for. Give --overwrite to "
                "replace it, or another --out to keep both."
            )
    known = slide_file(said)
    if known is None or not is_same(job.slide, known):
        made = "made by an earlier version, which did not note" if known is None else "made from another file than"
        raise SettingsError(
            f"{job.target.name} is there, {made} {job.slide.name}. Give --overwrite to replace it, or another --out to "
            "keep both."
        )
    return True


def _is_damaged(path: Path) -> bool:
    """Whether it is a file of ours that is not as it was written."""
    try:
        read_attributes(path)
    except DamagedError:
        return True
    except ValueError:
        pass  # none of ours
    return False


def run_jobs(
    jobs: Sequence[Job],
    encoder: PatchEncoder,
    settings: Settings,
    overwrite: bool = False,
    readers: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Outcome]:
    """Embed slides in order, and say what came of each. A bad slide does not stop the others.

    While one is encoded the next one's tissue is found and its first patches are read, so that the encoder need not
    wait. `readers` is the number of threads that read; by default one a core, at most 8.
    """
    revision = encoder_revision(encoder)
    waiting: Iterator[Job] = iter(jobs)
    prepared: deque[tuple[Job, Future[PatchStream | None]]] = deque()
    with ThreadPoolExecutor(readers or min(8, cpu_cores())) as pool, ThreadPoolExecutor(1) as opener:

        def prepare(job: Job) -> PatchStream | None:
            if not overwrite and is_finished(job, settings, encoder.name, revision):
                return None
            return PatchStream(job.slide, settings, pool)

        def prepare_next() -> None:
            for job in islice(waiting, 1):
                prepared.append((job, opener.submit(prepare, job)))

        try:
            prepare_next()
            while prepared:
                job, stream = prepared[0]
                wait([stream])
                prepared.popleft()
                prepare_next()
                yield _run(job, stream, encoder, revision, settings, progress)
        finally:
            for _, stream in prepared:
                if stream.exception() is None and (opened := stream.result()) is not None:
                    opened.close()


def embed_slide(
    stream: PatchStream, encoder: PatchEncoder, settings: Settings, revision: str, progress: Progress | None = None
) -> SlideEmbeddings:
    """Encode every patch of an open slide, in batches. Raises SlideError where it is damaged, or changes meanwhile."""
    slide, coords = stream.slide, stream.coords
    features = [np.zeros((0, encoder.channels), dtype=np.float32)]
    done = 0
    for patches in stream:
        features.append(encoder.embed(patches, settings.batch_size).numpy())
        done += len(patches)
        if progress is not None:
            progress(slide.path, done, len(coords))
    if not is_same(slide.path, stream.file):
        raise SlideError(f"{slide.path} changed while it was embedded. Run it again once its copy is finished.")
    return SlideEmbeddings(
        name=slide.name,
        features=np.concatenate(features),
        coords=coords,
        patch_size=settings.patch,
        patch_size_level0=round(settings.patch * settings.mpp / slide.mpp),
        mpp=settings.mpp,
        overlap=settings.patch - settings.stride,
        slide_mpp=slide.mpp,
        slide_size=slide.dimensions,
        encoder=encoder.name,
        encoder_revision=revision,
        min_tissue=settings.min_tissue,
        slide_file=stream.file,
    )


def _run(
    job: Job,
    prepared: Future[PatchStream | None],
    encoder: PatchEncoder,
    revision: str,
    settings: Settings,
    progress: Progress | None,
) -> Outcome:
    start = time.perf_counter()
    try:
        stream = prepared.result()
        if stream is None:
            if job.h5ad is not None and not job.h5ad.exists():
                with settings.open(job.slide) as slide:
                    _write_h5ad(job.h5ad, SlideEmbeddings.load(job.target), slide)
            return Outcome(job, "already there", read_attributes(job.target)["n_patches"])
        with stream:
            embeddings = embed_slide(stream, encoder, settings, revision, progress)
            again = job.target.exists() and _is_damaged(job.target)
            if job.h5ad is not None:  # first, so that a finished HDF5 file means that both are there
                _write_h5ad(job.h5ad, embeddings, stream.slide)
            embeddings.save(job.target)
    except BAD_SLIDE as error:
        return Outcome(job, "failed", reason=str(error))
    reason = f"{job.target.name} was damaged, and is embedded anew." if again else ""
    return Outcome(job, "embedded", len(embeddings), time.perf_counter() - start, reason)


def _write_h5ad(path: Path, embeddings: SlideEmbeddings, slide: Slide) -> None:
    from histolab_lite.formats.anndata import write_h5ad  # pandas and its kin take a second to import

    write_h5ad(path, embeddings, thumbnail=slide.thumbnail(max_size=THUMBNAIL))
