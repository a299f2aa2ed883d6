"""``python -m benchmarks.experiments.mil``: coarse masks from tags by ABMIL and CLAM, beside Proto2Seg's direct query.

The slides, splits and patches are lesson 03's, on a grid of half-overlapping patches. A bag is 8 × 8 of them; its tags
are the tissues that cover more than 5 % of it. A test tile is cut into bags likewise; their tags are not used.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.experiments.baselines import mil
from benchmarks.report import write_json
from histolab_lite.data.patches import labelled_patches
from histolab_lite.data.tiles import load_tiles
from histolab_lite.methods.proto2seg import direct_query, embed, encode, simulate_dictionary, upsample
from histolab_lite.metrics import segmentation_scores
from histolab_lite.models import load_encoder

MPP, PATCH, STRIDE, BAG = 1.0, 64, 32, 8
SHOWN = 0.05


def windows(grid: torch.Tensor) -> list[tuple[slice, slice]]:
    return [(slice(r, r + BAG), slice(c, c + BAG)) for r in range(0, grid.shape[1], BAG)
            for c in range(0, grid.shape[2], BAG)]  # fmt: skip


def tags_of(mask: np.ndarray, window: tuple[slice, slice], n_classes: int) -> torch.Tensor:
    rows, cols = (slice(s.start * STRIDE, s.stop * STRIDE) for s in window)
    part = mask[rows, cols]
    return torch.tensor([float((part == k).mean()) > SHOWN for k in range(n_classes)])


def segment(model: mil.AttentionMIL, grid: torch.Tensor) -> torch.Tensor:
    ids = torch.zeros(grid.shape[1:], dtype=torch.long)
    for rows, cols in windows(grid):
        ids[rows, cols] = mil.segment(model, grid[:, rows, cols])
    return ids


def main(
    seeds: Annotated[int, typer.Option(help="Splits.")] = 3,
    epochs: Annotated[int, typer.Option(help="Of ABMIL and CLAM.")] = 20,
    out: Annotated[Path | None, typer.Option(help="Where to write the JSON.")] = None,
) -> None:
    tiles = load_tiles("phantom", n_slides=9, size=1024, mpp=MPP)
    images, masks = tiles.read(MPP)
    names, n_classes, encoder = tiles.class_names, len(tiles.class_names), load_encoder("default")
    grids = [encode(image, encoder, PATCH, STRIDE).float() for image in images]
    scores: dict[str, list] = {}
    for seed in range(seeds):
        train, test = tiles.split(test_share=1 / 3, seed=seed)
        cut = [(i, window) for i in train for window in windows(grids[i])]
        bags = [grids[i][:, rows, cols].flatten(1).T for i, (rows, cols) in cut]
        tags = torch.stack([tags_of(masks[i], window, n_classes) for i, window in cut])
        found = {}
        for name, clustering in (("ABMIL", False), ("CLAM", True)):
            torch.manual_seed(seed)
            model = mil.AttentionMIL(bags[0].shape[1], n_classes, clustering=clustering)
            mil.train(model, bags, tags, epochs=epochs, seed=seed, progress=None)
            found[name] = [segment(model, grids[i]) for i in test]
        patches, fractions = labelled_patches(
            [images[i] for i in train], [masks[i] for i in train], PATCH, n_classes, 4000, seed
        )
        dictionary = simulate_dictionary(embed(patches, encoder), fractions, names, 60, 10, 0.8, seed=seed)
        found["Proto2Seg, DQ"] = [direct_query(grids[i], dictionary) for i in test]
        for name, ids in found.items():
            predicted = [upsample(x, masks[i].shape) for x, i in zip(ids, test, strict=True)]
            scores.setdefault(name, []).append(segmentation_scores(predicted, [masks[i] for i in test], n_classes))
    table = Table("", "macro Dice", "pixel accuracy", title=f"phantom, {seeds} splits: mean ± sd")
    result: dict = {"data": "phantom", "splits": seeds, "epochs": epochs, "methods": {}}
    for name, values in scores.items():
        row = {"macro_dice": [v.macro_dice for v in values], "accuracy": [v.accuracy for v in values]}
        row = {key: [round(float(v), 4) for v in some] for key, some in row.items()}
        row["dice"] = [np.nan_to_num(v.dice).round(4).tolist() for v in values]
        result["methods"][name] = row
        cells = (f"{np.mean(row[m]):.3f} ± {np.std(row[m], ddof=1):.3f}" for m in ("macro_dice", "accuracy"))
        table.add_row(name, *cells)
    Console().print(table)
    if out:
        write_json(out, result)


if __name__ == "__main__":
    typer.run(main)
