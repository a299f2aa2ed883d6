"""Make the encoder that ships with the package: lesson 01's recipe, on more and real patches, and for longer.

    python -m tools.weights.encoder train weights.safetensors
    python -m tools.weights.encoder evaluate default random --data glas

Patches come from phantom slides and from the openly licensed real tissue whose manifests are OCDC, OSCC,
CMU-1-Small-Region and tcga-cr-7395; GlaS is left out, since the lessons test on it. Each source is read at several
scales, and its views are resized, so that the encoder does not depend on one scale.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from sklearn.model_selection import GroupShuffleSplit

from histolab_lite.data.manifests import load_manifest
from histolab_lite.data.patches import grid_patches, pure_patches
from histolab_lite.data.slides import Slide, patch_grid, read_patches, tissue_mask
from histolab_lite.data.tiles import load_tiles
from histolab_lite.methods.simclr import pretrain
from histolab_lite.metrics import knn_accuracy, linear_probe_accuracy
from histolab_lite.models.checkpoint import save_weights
from histolab_lite.models.encoder import Encoder, load_encoder
from histolab_lite.training import Checkpoint

PATCH = 64
SCALES = (0.7, 1.0)  # µm per pixel
TILE_SETS = ("ocdc", "oscc")
SLIDES = ("cmu-1-small-region", "tcga-cr-7395")


def real_patches(mpp: float) -> Iterator[np.ndarray]:
    """Half-overlapping patches that show tissue: uint8 (N, 64, 64, 3) per real source."""
    for name in TILE_SETS:
        tiles = load_tiles(name)
        for image in tiles.read_images(mpp):
            patches, _ = grid_patches(image, PATCH, PATCH // 2)
            yield patches[[tissue_mask(patch).mean() > 0.5 for patch in patches]]
    for name in SLIDES:
        manifest = load_manifest(name)
        with Slide(manifest.path(), mpp=manifest.mpp) as slide:
            yield read_patches(slide, patch_grid(slide, PATCH, mpp, PATCH // 2), PATCH, mpp)


def phantom_patches(n_slides: int) -> Iterator[np.ndarray]:
    """Half-overlapping patches of phantom slides that no lesson uses: uint8 (N, 64, 64, 3) per slide."""
    for image in load_tiles("phantom", n_slides=n_slides, size=1024, mpp=1.0, seed=99).read_images():
        yield grid_patches(image, PATCH, PATCH // 2)[0]


app = typer.Typer(help="The encoder that ships with the package.", add_completion=False)


@app.command()
def train(
    out: Annotated[Path, typer.Argument(help="Where the weights go (.safetensors).")],
    epochs: Annotated[int, typer.Option(help="Passes over all patches.")] = 30,
    width: Annotated[float, typer.Option(help="Factor on ResNet18's channels.")] = 0.5,
    n_slides: Annotated[int, typer.Option(help="Phantom slides.")] = 12,
    batch_size: Annotated[int, typer.Option(help="Patches per step.")] = 256,
    stain_strength: Annotated[float, typer.Option(help="How far views differ in stain.")] = 0.6,
    grey: Annotated[float, typer.Option(help="Share of views without colour.")] = 0.2,
    smallest: Annotated[float, typer.Option(help="Views show this share of a patch or more, resized.")] = 0.4,
    seed: Annotated[int, typer.Option(help="Of weights, order and augmentation.")] = 0,
) -> None:
    """Train the encoder and save it as fp16 safetensors; a run that was stopped continues."""
    real = np.concatenate([patches for mpp in SCALES for patches in real_patches(mpp)])
    drawn = np.concatenate(list(phantom_patches(n_slides)))
    typer.echo(f"{len(real)} real and {len(drawn)} phantom patches")
    torch.manual_seed(seed)
    encoder = Encoder(width)
    history = pretrain(
        encoder,
        np.concatenate([real, drawn]),
        epochs=epochs,
        batch_size=batch_size,
        lr=2e-3,
        stain_strength=stain_strength,
        grey=grey,
        zoom=(smallest, 1.0),
        seed=seed,
        checkpoint=Checkpoint(out.with_suffix(".ckpt"), every=50),
        after_epoch=lambda epoch, loss: typer.echo(f"epoch {epoch + 1}: loss {loss:.3f}"),
    )
    metadata = {"name": "default", "output_stride": "32", "patch": str(PATCH), "mpp": "0.7-1.0"}
    metadata |= {"patches": str(len(real) + len(drawn)), "epochs": str(epochs), "loss": f"{history[-1]:.4f}"}
    save_weights(encoder, out, metadata, dtype=torch.float16)
    typer.echo(f"saved to {out}")


@app.command()
def evaluate(
    names: Annotated[list[str], typer.Argument(help='Encoders as load_encoder takes them, or "random".')],
    data: Annotated[str, typer.Option(help="A data set with masks.")] = "glas",
    splits: Annotated[int, typer.Option(help="How many splits by patient or slide, a third each unseen.")] = 5,
    mpp: Annotated[float, typer.Option(help="µm per pixel.")] = 1.0,
) -> None:
    """Balanced accuracy on pure patches of unseen patients, slides or tiles, mean ± sd over splits.

    By a vote of the 20 nearest neighbours (cosine) and by a linear probe. Tiles that all come from one slide, as
    OCDC's ten do, are split by tile.
    """
    tiles = load_tiles(data, n_slides=9, mpp=mpp)
    images, masks = tiles.read(mpp)
    patches = [pure_patches(i, m, PATCH, PATCH // 2, 0.9)[:2] for i, m in zip(images, masks, strict=True)]
    labels = [y for _, y in patches]
    groups = tiles.groups if len(set(tiles.groups)) > 1 else np.arange(len(tiles))
    for name in names:
        scores: dict[str, list[float]] = {"k-NN": [], "linear": []}
        for seed in range(splits):
            torch.manual_seed(seed)
            encoder = Encoder(0.5) if name == "random" else load_encoder(name)
            embeddings = [encoder.embed(x) for x, _ in patches]
            known, unseen = next(GroupShuffleSplit(1, test_size=1 / 3, random_state=seed).split(groups, groups=groups))
            x, x_unseen = (torch.cat([embeddings[i] for i in side]) for side in (known, unseen))
            y, y_unseen = (np.concatenate([labels[i] for i in side]) for side in (known, unseen))
            scores["k-NN"].append(knn_accuracy(x, y, x_unseen, y_unseen))
            scores["linear"].append(linear_probe_accuracy(x, y, x_unseen, y_unseen))
        text = ", ".join(f"{what} {np.mean(v):.3f} ± {np.std(v, ddof=1):.3f}" for what, v in scores.items())
        typer.echo(f"{data}, {name}: {text} over {splits} splits")


if __name__ == "__main__":
    app()
