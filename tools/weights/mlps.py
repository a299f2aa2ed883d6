"""Make the two networks of MLPS that ship with the package: both phases on phantom slides.

    python -m tools.weights.mlps train weights.safetensors
    python -m tools.weights.mlps evaluate

The networks learn from tags alone: the slides' masks give every patch its tags, as a person would, and are not read
again before scoring.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from histolab_lite.data.patches import grid_patches
from histolab_lite.data.tiles import load_tiles
from histolab_lite.methods.mlps import Classifier, DeepLab, tags_of_masks, train_classifier, train_segmenter
from histolab_lite.methods.mlps.pretrained import CLASSES, LEAST, MPP, TISSUES, Networks, load_mlps, to_classes
from histolab_lite.metrics import segmentation_scores
from histolab_lite.models.checkpoint import save_weights
from histolab_lite.training import Checkpoint

WIDTH, ENCODER, DECODER = 3 / 32, "tu-tf_mobilenetv3_large_075", 40


def slides(n_slides: int, seed: int, patch: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Patches, uint8 (N, P, P, 3), and their masks, uint8 (N, P, P) of ``CLASSES``, that show tissue."""
    tiles = load_tiles("phantom", n_slides=n_slides, size=1024, mpp=0.5, seed=seed)
    images, masks = tiles.read(MPP)
    patches = np.concatenate([grid_patches(image, patch, stride)[0] for image in images])
    truth = np.concatenate([grid_patches(to_classes(mask), patch, stride)[0] for mask in masks])
    shown = tags_of_masks(truth, len(TISSUES), LEAST).any(1)
    return patches[shown], truth[shown]


app = typer.Typer(help="The networks of MLPS that ship with the package.", add_completion=False)


@app.command()
def train(
    out: Annotated[Path, typer.Argument(help="Where the weights go (.safetensors).")],
    n_slides: Annotated[int, typer.Option(help="Phantom slides.")] = 60,
    patch: Annotated[int, typer.Option(help="Pixels per side, at 1 µm per pixel.")] = 112,
    classifier_epochs: Annotated[int, typer.Option(help="Phase one: passes over all patches.")] = 7,
    segmenter_epochs: Annotated[int, typer.Option(help="Phase two: passes over all patches.")] = 4,
    seed: Annotated[int, typer.Option(help="Of weights, order and augmentation.")] = 0,
) -> None:
    """Train both networks and save them as fp16 safetensors; a run that was stopped continues."""
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
    patch: Annotated[int, typer.Option(help="Pixels per side, at 1 µm per pixel.")] = 224,
) -> None:
    """Print the IoU of every class and stage on unseen slides, and the share of tags that the classifier gets right."""
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
    typer.echo(f"tags of {len(patches)} patches: {right.mean():.3f} right ({each})")


if __name__ == "__main__":
    app()
