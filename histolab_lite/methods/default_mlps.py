"""How the two networks of MLPS that ship with the package were made: both phases on phantom slides.

    python -m histolab_lite.methods.default_mlps train weights.safetensors
    python -m histolab_lite.methods.default_mlps evaluate

Ticks alone are learnt from: the slides' masks give every patch its tags, as a person would, and are not read again
before scoring. Glass is no tissue to tick; it is found by its brightness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from histolab_lite.data import phantom
from histolab_lite.data.patches import grid_patches
from histolab_lite.data.tiles import load_tiles
from histolab_lite.methods.mlps import (
    LAYERS,
    Classifier,
    DeepLab,
    classify,
    predict,
    pseudo_masks,
    tags_of_masks,
    train_classifier,
    train_segmenter,
)
from histolab_lite.metrics import segmentation_scores
from histolab_lite.models import encoder
from histolab_lite.models.checkpoint import load_state, read_weights, save_weights
from histolab_lite.training import Checkpoint

DEFAULT_WEIGHTS = Path(encoder.__file__).with_name("weights") / "default_mlps.safetensors"

TISSUES = phantom.CLASS_NAMES[1:]
#: What the segmentation tells apart: the tissues, then glass (the phantom's background), which has no tag.
CLASSES = (*TISSUES, phantom.CLASS_NAMES[0])
PALETTE = (*phantom.PALETTE[1:], phantom.PALETTE[0])
MPP = 1.0  # µm per pixel that the networks read
LEAST = 0.01  # share of a patch from which a tissue counts as there
WHITE = 0.9  # brightness from which a pixel is glass
WIDTH, ENCODER, DECODER = 3 / 32, "tu-tf_mobilenetv3_large_075", 40


@dataclass(frozen=True, eq=False)
class Networks:
    """Phase one and phase two, in evaluation mode, on the CPU."""

    classifier: Classifier
    segmenter: DeepLab

    def pseudo_masks(
        self, patches: np.ndarray, tags: np.ndarray, layers: Sequence[str] = LAYERS
    ) -> dict[str, np.ndarray]:
        """{layer: uint8 (N, H, W) of ``CLASSES``}. patches: uint8 (N, H, W, 3). tags: (N, 5), no row without any."""
        parts = zip(_batches(patches), np.array_split(tags, _n_batches(patches)), strict=True)
        found = [pseudo_masks(self.classifier, x, torch.from_numpy(y), layers, white=WHITE) for x, y in parts]
        return {layer: torch.cat([masks[layer] for masks in found]).numpy() for layer in layers}

    def presence(self, patches: np.ndarray) -> np.ndarray:
        """The classifier's probability of every tissue, float32 (N, 5)."""
        return torch.cat([classify(self.classifier, x) for x in _batches(patches)]).numpy()

    def segment(self, patches: np.ndarray, gated: bool = True) -> np.ndarray:
        """uint8 (N, H, W) of ``CLASSES``: the segmentation, which needs no tags, through the gate (eq. 15)."""
        first = self.classifier if gated else None
        ids = [predict(self.segmenter, x, first).argmax(1).to(torch.uint8) for x in _batches(patches)]
        return torch.cat(ids).numpy()


def load_mlps(name: str = "default") -> Networks:
    """The networks that ship with the package ("default"), or those of a file that ``train`` wrote.

    Raises FileNotFoundError for a missing file, ValueError for weights that do not fit.
    """
    path = DEFAULT_WEIGHTS if name == "default" else Path(name)
    state, about = read_weights(path)
    try:
        width, encoder, decoder = float(about["width"]), about["encoder"], int(about["decoder"])
    except (KeyError, ValueError):
        raise ValueError(f"{path.name} was not written by default_mlps: it does not name its networks.") from None
    networks = Networks(Classifier(len(TISSUES), width), DeepLab(len(CLASSES), encoder, decoder))
    for part in ("classifier", "segmenter"):
        own = {key.removeprefix(f"{part}."): value for key, value in state.items() if key.startswith(f"{part}.")}
        load_state(getattr(networks, part).eval(), own, path.name)
    return networks


def to_classes(mask: np.ndarray) -> np.ndarray:
    """A phantom's mask, whose class 0 is the background, by the ids of ``CLASSES``, whose last it is."""
    return ((mask.astype(np.int64) - 1) % len(CLASSES)).astype(np.uint8)


def slides(n_slides: int, seed: int, patch: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Patches, uint8 (N, P, P, 3), and their masks, uint8 (N, P, P) of ``CLASSES``, that show tissue."""
    tiles = load_tiles("phantom", n_slides=n_slides, size=1024, mpp=0.5, seed=seed)
    images, masks = tiles.read(MPP)
    patches = np.concatenate([grid_patches(image, patch, stride)[0] for image in images])
    truth = np.concatenate([grid_patches(to_classes(mask), patch, stride)[0] for mask in masks])
    shown = tags_of_masks(truth, len(TISSUES), LEAST).any(1)
    return patches[shown], truth[shown]


def _n_batches(patches: np.ndarray) -> int:
    return max(-(-len(patches) // 16), 1)


def _batches(patches: np.ndarray) -> list[torch.Tensor]:
    """(16, 3, H, W) or so, in [0, 1]."""
    parts = np.array_split(patches, _n_batches(patches))
    return [torch.from_numpy(np.ascontiguousarray(part)).permute(0, 3, 1, 2).float() / 255 for part in parts]


app = typer.Typer(help="The networks of MLPS that ship with the package.", add_completion=False)


@app.command()
def train(
    out: Annotated[Path, typer.Argument(help="Where the weights go (.safetensors).")],
    n_slides: Annotated[int, typer.Option(help="Phantom slides.")] = 60,
    patch: Annotated[int, typer.Option(help="Pixels a side, at 1 µm per pixel.")] = 112,
    classifier_epochs: Annotated[int, typer.Option(help="Phase one: passes over all patches.")] = 7,
    segmenter_epochs: Annotated[int, typer.Option(help="Phase two: passes over all patches.")] = 4,
    seed: Annotated[int, typer.Option(help="Of weights, order and augmentation.")] = 0,
) -> None:
    """Train both networks and save them as fp16 safetensors; a killed run goes on where it stopped."""
    patches, truth = slides(n_slides, 55, patch, patch // 2)
    tags = tags_of_masks(truth, len(TISSUES), LEAST)
    shares = ", ".join(f"{name} {share:.2f}" for name, share in zip(TISSUES, tags.mean(0), strict=True))
    typer.echo(f"{len(patches)} patches; share that shows {shares}")
    torch.manual_seed(seed)
    networks = Networks(Classifier(len(TISSUES), WIDTH), DeepLab(len(CLASSES), ENCODER, DECODER))
    saved = Checkpoint(out.with_suffix(".classifier.ckpt"), every=50)
    settings: dict[str, Any] = {"batch_size": 20, "lr": 2e-3, "seed": seed, "device": "cpu"}
    first = train_classifier(networks.classifier, patches, tags, epochs=classifier_epochs, checkpoint=saved, **settings)
    typer.echo(f"phase one: loss {first[0]:.3f} to {first[-1]:.3f}")
    masks = networks.pseudo_masks(patches, tags)
    saved = Checkpoint(out.with_suffix(".segmenter.ckpt"), every=50)
    second = train_segmenter(networks.segmenter, patches, masks, epochs=segmenter_epochs, checkpoint=saved, **settings)
    typer.echo(f"phase two: loss {second[0]:.3f} to {second[-1]:.3f}")
    state = {f"classifier.{key}": value for key, value in networks.classifier.state_dict().items()}
    state |= {f"segmenter.{key}": value for key, value in networks.segmenter.state_dict().items()}
    about = {"width": str(WIDTH), "encoder": ENCODER, "decoder": str(DECODER), "patches": str(len(patches))}
    save_weights(state, out, about, dtype=torch.float16)
    typer.echo(f"saved to {out}, {out.stat().st_size / 1e6:.1f} MB")


@app.command()
def evaluate(
    name: Annotated[str, typer.Argument(help="As load_mlps takes it.")] = "default",
    n_slides: Annotated[int, typer.Option(help="Phantom slides that were not trained on.")] = 12,
    patch: Annotated[int, typer.Option(help="Pixels a side, at 1 µm per pixel.")] = 224,
) -> None:
    """IoU of every class and their mean on unseen slides, of every stage; how many ticks the classifier gets right."""
    networks = load_mlps(name)
    patches, truth = slides(n_slides, 56, patch, patch)
    tags = tags_of_masks(truth, len(TISSUES), LEAST)
    found = {f"pseudo masks, {layer}": masks for layer, masks in networks.pseudo_masks(patches, tags).items()}
    found |= {"segmentation, no gate": networks.segment(patches, False), "segmentation": networks.segment(patches)}
    for stage, masks in found.items():
        scores = segmentation_scores(masks, truth, len(CLASSES))
        each = ", ".join(f"{name} {iou:.3f}" for name, iou in zip(CLASSES, scores.iou, strict=True))
        typer.echo(f"{stage}: mIoU {scores.mean_iou:.3f}, accuracy {scores.accuracy:.3f} ({each})")
    right = ((networks.presence(patches) > 0.5) == tags).mean(0)
    each = ", ".join(f"{name} {share:.3f}" for name, share in zip(TISSUES, right, strict=True))
    typer.echo(f"ticks on {len(patches)} patches: {right.mean():.3f} right ({each})")


if __name__ == "__main__":
    app()
