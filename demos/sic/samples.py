"""The slides to start with: a phantom, ready to use, and a real one if it lies in the data folder.

``make`` writes the phantom into ``demos/bundle``: the slide, the embeddings of its patches, and their UMAPs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from demos.bundle import FOLDER
from demos.sic.slides import CLASSES, THUMBNAIL, Progress, SeedSlide, prepare
from histolab_lite.data.manifests import load_manifest
from histolab_lite.data.phantom import phantom_slide, write_slide
from histolab_lite.data.slides import Slide
from histolab_lite.formats.embeddings import SlideEmbeddings
from histolab_lite.models.checkpoint import read_weights, save_weights

SLIDE, TABLE = "seed_phantom.tif", "seed_phantom.safetensors"
SEED, SIDE, SLIDE_MPP, QUALITY = 23, 2816, 0.5, 60
PHANTOM = "phantom"
CMU = "cmu-1-small-region"
PHANTOM_CLASSES, SKIN_CLASSES = ("tumour", "stroma", "gland"), ("connective tissue", "other")
GEOMETRY = ("patch_size", "patch_size_level0", "mpp", "overlap", "slide_mpp", "encoder", "encoder_revision")


@dataclass(frozen=True)
class Sample:
    """path: of the slide. mpp: of a slide without a scale in its file."""

    key: str
    title: str
    path: Path
    caption: str
    mpp: float | None = None
    classes: tuple[str, ...] = CLASSES


def samples(public: bool) -> dict[str, Sample]:
    """The samples by key, in the order of the menu. public: leave out those that must not be redistributed."""
    found = [
        Sample(
            PHANTOM,
            "Phantom slide",
            FOLDER / SLIDE,
            "A phantom: drawn by a program to look like H&E; not a person's tissue.",
        )
    ]
    manifest = load_manifest(CMU)
    if manifest.is_available() and (manifest.redistribution or not public):
        caption = f"{manifest.citation} {manifest.licence}"
        found.append(
            Sample(CMU, "CMU-1, skin (half a minute to prepare)", manifest.path(), caption, manifest.mpp, SKIN_CLASSES)
        )
    return {sample.key: sample for sample in found}


def load_phantom(folder: Path = FOLDER) -> SeedSlide:
    """Read what ``make`` wrote."""
    tensors, metadata = read_weights(folder / TABLE)
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    about = json.loads(metadata["about"])
    table = SlideEmbeddings(
        name="phantom",
        features=arrays["features"].astype(np.float32),
        coords=arrays["coords"].astype(np.int64),
        slide_size=tuple(about["slide_size"]),
        **{name: about[name] for name in GEOMETRY},
    )
    sample = samples(public=True)[PHANTOM]
    with Slide(folder / SLIDE) as slide:
        thumbnail = slide.thumbnail(max_size=THUMBNAIL)
    return SeedSlide(
        PHANTOM,
        sample.title,
        table,
        about["pitch"],
        arrays["umap"].astype(np.float32),
        arrays["colours"],
        thumbnail,
        PHANTOM_CLASSES,
        sample.caption,
    )


def make(folder: Path) -> None:
    """Draw the slide and prepare it like an upload, in about two minutes; reproducible on the same machine."""
    phantom = phantom_slide(SEED, SIDE, SLIDE_MPP)
    path = write_slide(phantom, folder / SLIDE, QUALITY)
    slide = finish(prepare(path, PHANTOM, "Phantom slide"))
    table = slide.table
    about = {name: getattr(table, name) for name in GEOMETRY} | {"slide_size": table.slide_size, "pitch": slide.pitch}
    arrays = {
        "features": table.features.astype(np.float16),
        "coords": table.coords.astype(np.int32),
        "umap": slide.umap.astype(np.float16),
        "colours": slide.colours,
    }
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    save_weights(tensors, folder / TABLE, {"about": json.dumps(about)})


def finish(work: Iterator[Progress]) -> SeedSlide:
    """Run ``prepare`` to its end and return the slide."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            return done.value
