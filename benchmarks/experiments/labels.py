"""``python -m benchmarks.experiments.labels --data glas --out …``: what each kind of label buys, by the time it takes.

Lesson 11 at several seeds, on phantom slides or real tissue. A seed is a split by slide or patient, and draws of its
own of what is named, tagged, clicked, seeded or outlined. Besides lesson 11's linear probe, a network learns from the
labels of ten minutes and from the masks of all images: lesson 04's LinkNet, whose encoder is kept as it is.
"""

import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.report import write_json
from histolab_lite.data import IGNORE
from histolab_lite.data.tiles import load_tiles
from histolab_lite.methods import labels, refinement
from histolab_lite.metrics import segmentation_scores
from histolab_lite.models import Encoder, load_encoder
from histolab_lite.models.segmenters import LinkNet

MPP = 1.0
PHANTOM: dict[str, Any] = {"n_slides": 24, "size": 512, "mpp": MPP}  # lesson 11's
BUDGETS = (120, 300, 600, 1800)  # seconds
NETWORK_AT = 600
TRAINING: dict[str, Any] = {"epochs": 8, "crop": 96, "batch_size": 8, "lr": 0.02}  # lesson 04's
CROPS = 384  # per epoch


def by_network(
    learn: list[labels.EncodedImage],
    masks: list[np.ndarray],
    unseen: list[labels.EncodedImage],
    n_classes: int,
    name: str,
    seed: int,
) -> list[np.ndarray]:
    known = [(p.image, mask) for p, mask in zip(learn, masks, strict=True) if (mask != IGNORE).any()]
    encoder = load_encoder(name)
    assert isinstance(encoder, Encoder)
    torch.manual_seed(seed)
    model = LinkNet(n_classes, encoder, frozen=True)
    crops = max(CROPS // len(known), 1)
    images, targets = map(list, zip(*known, strict=True))
    refinement.train_segmenter(model, images, targets, crops_per_image=crops, seed=seed, progress=None, **TRAINING)
    return [refinement.predict(model, p.image).argmax(0).numpy() for p in unseen]


def one_seed(images: list[labels.EncodedImage], tiles: Any, encoder: str, seed: int, network: bool) -> dict[str, Any]:
    n_classes = len(tiles.class_names)
    learn, unseen = ([images[i] for i in side] for side in tiles.split(1 / 3, seed))
    truth = [p.mask for p in unseen]
    full = labels.cost_of_all(learn)
    rows = []
    for kind in labels.KINDS:
        for seconds in (*BUDGETS, *([full] if kind == "pixel masks" else [])):
            bought = labels.annotate(kind, learn, seconds, n_classes, seed)
            if bought.empty or (kind == "pixel masks" and bought.acts == len(learn) and seconds < full):
                continue
            row: dict[str, Any] = {"kind": kind, "seconds": seconds, "acts": bought.acts}
            probe = labels.fit_linear_probe(learn, bought.masks, seed)
            answers = {"linear": [labels.predict(probe, p) for p in unseen]} if probe else {}
            if network and probe and seconds in (NETWORK_AT, full):
                answers["network"] = by_network(learn, bought.masks, unseen, n_classes, encoder, seed)
            for name in ("linear", *(["network"] if network and seconds in (NETWORK_AT, full) else [])):
                scores = segmentation_scores(answers[name], truth, n_classes) if name in answers else None
                row[name] = {  # without a probe there is no mask, and nothing is right
                    "dice": round(scores.macro_dice, 4) if scores else 0.0,
                    "miou": round(scores.mean_iou, 4) if scores else 0.0,
                }
            rows.append(row)
    return {"seed": seed, "pictures": [len(learn), len(unseen)], "full_seconds": full, "rows": rows}


def show(data: str, runs: list[dict[str, Any]]) -> None:
    table = Table(title=f"{data}, {len(runs)} seeds: macro Dice of unseen images, mean ± sd; in brackets the network")
    columns = [*map(str, BUDGETS), "all outlined"]
    for column in ("", *columns):
        table.add_column(column)
    for kind in labels.KINDS:
        cells = []
        for column in columns:
            found = [
                row
                for run in runs
                for row in run["rows"]
                if row["kind"] == kind
                and (
                    str(row["seconds"]) == column
                    or (column == "all outlined" and row["seconds"] == run["full_seconds"])
                )
            ]
            texts = [
                f"{np.mean(v):.3f} ± {np.std(v, ddof=len(v) > 1):.3f}"
                for name in ("linear", "network")
                if (v := [row[name]["dice"] for row in found if name in row])
            ]
            cells.append(texts[0] + (f" ({texts[1]})" if len(texts) > 1 else "") if texts else "–")
        table.add_row(kind, *cells)
    Console(width=190).print(table)


def main(
    data: Annotated[str, typer.Option(help="phantom, or a data set with masks.")] = "phantom",
    seeds: Annotated[int, typer.Option(help="How many.")] = 5,
    encoder: Annotated[str, typer.Option(help="As load_encoder takes it; a ResNet18.")] = "default",
    network: Annotated[bool, typer.Option(help="Let a network learn from the labels of ten minutes, too.")] = True,
    out: Annotated[Path | None, typer.Option(help="Where to write the JSON, after every seed.")] = None,
) -> None:
    tiles = load_tiles(data, **PHANTOM)
    images = labels.read_images(tiles, load_encoder(encoder), MPP)
    settings = {"mpp": MPP, "encoder": encoder, "budgets": BUDGETS, "training": TRAINING | {"crops": CROPS}}
    settings |= {"prices": {kind: price.seconds for kind, price in labels.PRICES.items()}}
    runs: list[dict[str, Any]] = []
    for seed in range(seeds):
        began = time.perf_counter()
        runs.append(one_seed(images, tiles, encoder, seed, network))
        runs[-1]["took_s"] = round(time.perf_counter() - began)
        if out:
            write_json(out, {"data": data, "settings": settings, "runs": runs})
    show(data, runs)


if __name__ == "__main__":
    typer.run(main)
