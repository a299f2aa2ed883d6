"""One slide after another: finished ones are skipped, bad ones reported, results written whole or not at all."""

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

#: What OpenSlide reads; only files with these suffixes are slides of a folder.
SUFFIXES = tuple(".svs .tif .tiff .ndpi .mrxs .scn .bif .svslide .vms .vmu .czi .dcm".split())
THUMBNAIL = 2000  # pixels on the longer side of the image in an .h5ad, as "hires" in Space Ranger
BAD_SLIDE = (SlideError, OSError, ValueError)

State = Literal["embedded", "already there", "failed"]
Progress = Callable[[Path, int, int], None]  # slide, patches done, all patches


class SettingsError(ValueError):
    """The result exists, but it was made with other settings or from another slide, or it cannot be read."""


@dataclass(frozen=True)
class Job:
    """A slide, the HDF5 file to write, and the .h5ad file to write as well, or None."""

    slide: Path
    target: Path
    h5ad: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of one slide.

    Parameters
    ----------
    patches
        Number of patches in the result.
    seconds
        Time for reading, encoding and writing.
    reason
        Why the slide failed, or why it was embedded again.
    """

    job: Job
    state: State
    patches: int = 0
    seconds: float = 0.0
    reason: str = ""


def find_jobs(slides: Sequence[str], out: Path, h5ad: bool = False) -> list[Job]:
    """Make one job per slide, from files, folders (not their subfolders) and patterns such as "slides/*.svs".

    Raises
    ------
    FileNotFoundError
        A name leads to no slide.
    ValueError
        Two slides would be written to the same file.
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
    """Tell whether the job's HDF5 file exists, is undamaged, and was made with these settings from this slide.

    Raises
    ------
    SettingsError
        It was made with other settings or from another slide, does not state the slide (as in earlier versions), or is
        no file of embeddings.
    SlideError
        The slide cannot be opened.
    """
    if not job.target.exists():
        return False
    try:
        stated = read_attributes(job.target)
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
        there: Any = stated.get(key)
        numbers = isinstance(there, int | float) and not isinstance(value, str)
        if not (math.isclose(there, value) if numbers else there == value):
            raise SettingsError(
                f"{job.target.name} exists, made with {key} {there} instead of {value}. Give --overwrite to "
                "replace it, or another --out to keep both."
            )
    known = slide_file(stated)
    if known is None or not is_same(job.slide, known):
        made = "made by an earlier version, which did not note" if known is None else "made from another file than"
        raise SettingsError(
            f"{job.target.name} exists, {made} {job.slide.name}. Give --overwrite to replace it, or another --out to "
            "keep both."
        )
    return True


def _is_damaged(path: Path) -> bool:
    """Tell whether a file of embeddings is damaged."""
    try:
        read_attributes(path)
    except DamagedError:
        return True
    except ValueError:
        pass  # another kind of file
    return False


def run_jobs(
    jobs: Sequence[Job],
    encoder: PatchEncoder,
    settings: Settings,
    overwrite: bool = False,
    readers: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Outcome]:
    """Embed slides in order, and yield the outcome of each. A bad slide does not stop the others.

    While one slide is encoded, the tissue of the next one is found and its first patches are read, so that the encoder
    does not wait.

    Parameters
    ----------
    jobs
        One per slide.
    encoder
        Makes the features.
    settings
        How slides are cut and read.
    overwrite
        Whether to embed finished slides again.
    readers
        Number of threads that read; by default one per core, at most 8.
    progress
        Called after each batch with the slide, the number of patches done, and the number of all patches.
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
    """Encode every patch of an open slide, in batches.

    Raises
    ------
    SlideError
        The slide is damaged, or changed meanwhile.
    """
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
    reason = f"{job.target.name} was damaged and has been embedded again." if again else ""
    return Outcome(job, "embedded", len(embeddings), time.perf_counter() - start, reason)


def _write_h5ad(path: Path, embeddings: SlideEmbeddings, slide: Slide) -> None:
    from histolab_lite.formats.anndata import write_h5ad  # pandas takes a second to import

    write_h5ad(path, embeddings, thumbnail=slide.thumbnail(max_size=THUMBNAIL))
