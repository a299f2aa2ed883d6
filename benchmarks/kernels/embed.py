"""Slides to embeddings: finding tissue, reading, encoding and writing, beside the encoder alone on patches in memory.

The bound is what the encoder takes when nothing has to be read. The peer does one thing after another.
"""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.harness import Case
from histolab_lite.data.phantom import phantom_slide, write_slide
from histolab_lite.data.slides import Slide, patch_grid, read_patches
from histolab_lite.embed.jobs import Job, Outcome, find_jobs, run_jobs
from histolab_lite.embed.settings import Settings
from histolab_lite.formats.embeddings import SlideEmbeddings
from histolab_lite.models.encoder import PatchEncoder, load_encoder

SLIDES, SIDE = 1, 3072


def cases(rounds: int = 5) -> list[Case]:
    settings = Settings()
    folder = tempfile.TemporaryDirectory()  # goes with the case

    @cache
    def encoder() -> PatchEncoder:
        return load_encoder()

    @cache
    def jobs() -> list[Job]:
        for seed in range(SLIDES):
            write_slide(phantom_slide(seed, SIDE), Path(folder.name) / f"{seed}.tif")
        return find_jobs([folder.name], Path(folder.name) / "out")

    @cache
    def in_memory() -> np.ndarray:
        return read()

    def read() -> np.ndarray:
        patches = []
        for job in jobs():
            with Slide(job.slide) as slide:
                coords = patch_grid(slide, settings.patch, settings.mpp, settings.stride)
                patches.append(read_patches(slide, coords, settings.patch, settings.mpp))
        return np.concatenate(patches)

    def ours() -> list[Outcome]:
        return list(run_jobs(jobs(), encoder(), settings, overwrite=True))

    def one_after_another() -> np.ndarray:
        return encoder().embed(read(), settings.batch_size).numpy()

    def encoder_alone() -> np.ndarray:
        return encoder().embed(in_memory(), settings.batch_size).numpy()

    def check(outcomes: list[Outcome], peers: dict[str, np.ndarray]) -> str:
        ours = np.concatenate([SlideEmbeddings.load(outcome.job.target).features for outcome in outcomes])
        worst = max(float(np.abs(ours - features).max()) for features in peers.values())
        assert worst < 1e-4, f"features differ by up to {worst:.1e}"
        return f"{len(ours)} patches; features differ by at most {worst:.1e}"

    work = f"{SLIDES} slide of {SIDE}², patches of {settings.patch}, 50 % overlap, default encoder"
    return [
        Case(
            "embedding slides",
            work,
            ours,
            {"read, then encode": one_after_another},
            bound=("encoder alone", encoder_alone),
            bound_at_most=1 / 0.9,
            check=check,
            rounds=rounds,
        )
    ]
