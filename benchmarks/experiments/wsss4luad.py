"""``python -m benchmarks.experiments.wsss4luad --out …``: tags to masks, one idea of the challenge's teams at a time.

Han et al., "WSSS4LUAD: Grand challenge on weakly-supervised tissue semantic segmentation for lung adenocarcinoma",
2022, Sect. IV-B. On the phantom challenge or, with the same parts, on GlaS. Lesson 09 shows the figures.

A seed is a challenge of its own slides (GlaS: a split by patient), an order, and random weights. All rows go on from
the same networks, which have learnt the tags. Every row takes as many steps, but that two networks take twice the work.
"""

import copy
import tempfile
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
from histolab_lite.methods import wsss4luad as challenge
from histolab_lite.metrics import segmentation_scores

SETTINGS: dict[str, Any] = {
    "n_training": 480,
    "n_testing": [16, 1],
    "large": [1500, 2000],
    "n_slides": [12, 3, 4],
    "slide": 768,
    "patch": 96,
    "encoder": "resnet18",
    "encoder_depth": 4,
    "decoder_channels": 64,
    "tag_epochs": 8,
    "steps": 180,
    "batch_size": 16,
    "lr": 2e-3,
    "stain_strength": 0.15,
    "scales": [0.75, 1.0, 1.25],
    "tile_side": 48,  # other data: pixels of 1 µm, so small that half of the patches show one class,
    "tile_patch": 64,  # and what they are stretched to
}
#: Every row: its recipe, and whether two networks learn by it.
ROWS: dict[str, tuple[challenge.Recipe, bool]] = {
    "network on class maps": (challenge.Recipe(), False),
    "+ splices": (challenge.Recipe(splices=1), False),
    "+ both tasks": (challenge.Recipe(splices=1, tag_weight=1), False),
    "+ cross-supervision": (challenge.Recipe(splices=1, tag_weight=1), True),
    "+ easy mining": (challenge.Recipe(splices=1, tag_weight=1, easy=True), True),
}
#: Beside the row "+ splices".
ASIDES: dict[str, challenge.Recipe] = {
    "splices alone": challenge.Recipe(splices=2),
    "splices, easy mining": challenge.Recipe(splices=1, easy=True),
    "splices, hard mining": challenge.Recipe(splices=1, hard=0.3),
    "splices, Lovász": challenge.Recipe(splices=1, lovasz=1),
    "splices, balanced": challenge.Recipe(splices=1, balanced=True),
}


def load(data: str, seed: int, s: dict[str, Any]) -> challenge.Task:
    if data != "phantom":
        side, patch = s["tile_side"], s["tile_patch"]
        return challenge.tiles_task(load_tiles(data), patch, side=side, mpp=1.0, n=s["n_training"], seed=seed)
    sizes = {key: s[key] for key in ("n_training", "n_testing", "n_slides", "slide", "large")}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "wsss4luad"
        challenge.make_phantom(root, n_validation=(1, 0), seed=seed, progress=False, **sizes)
        return challenge.challenge_task(root, s["patch"], truth=challenge.training_masks(root))


def tidy(task: challenge.Task, answer: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The 1st team's post-processing, with white by brightness for background; of no use where white is scored."""
    if "normal" not in task.classes:
        return answer
    found = np.where(challenge.foreground(image, specks=0), answer, np.uint8(IGNORE))
    found = challenge.fill_background(found, challenge.foreground(image))
    found = challenge.normal_rule(found, normal=task.classes.index("normal"), background=IGNORE)
    return np.where(found == IGNORE, answer, found)


def one_seed(data: str, seed: int, s: dict[str, Any], asides: bool) -> dict[str, Any]:
    task = load(data, seed, s)
    assert task.truth is not None
    k = len(task.classes)
    mean, sd = challenge.channel_statistics(task.patches)
    statistics = mean.tolist(), sd.tolist()
    rows: dict[str, Any] = {}

    def score(name: str, found: list[np.ndarray], seconds: float) -> None:
        scores = segmentation_scores(found, task.masks, k)
        rows[name] = {
            "iou": scores.iou.round(4).tolist(),
            "mean_iou": round(scores.mean_iou, 4),
            "seconds": round(seconds, 1),
        }

    def answers(predict: challenge.Predict, **settings: Any) -> list[np.ndarray]:
        return [challenge.segment(predict, image, task.factor, **settings) for image in task.images]

    def network(number: int) -> challenge.MultiTask:
        torch.manual_seed(2 * seed + number)
        return challenge.MultiTask(k, s["encoder"], s["decoder_channels"], s["encoder_depth"], statistics)

    shared = {key: s[key] for key in ("batch_size", "lr", "stain_strength")} | {"seed": seed, "progress": None}
    start = time.perf_counter()
    both = challenge.Siamese(network(0), network(1))
    challenge.train_tags(both, task.patches, task.tags, epochs=s["tag_epochs"], **shared)
    first = challenge.Siamese(copy.deepcopy(both.networks[0]))
    score("class maps", answers(challenge.by_maps(first)), time.perf_counter() - start)
    guesses = challenge.pseudo_masks(first, task.patches, task.tags)
    several = task.tags.sum(1) > 1
    quality = segmentation_scores(guesses[several], task.truth[several], k)
    recipes = ROWS | ({name: (recipe, False) for name, recipe in ASIDES.items()} if asides else {})
    recipes["true masks"] = challenge.Recipe(), False
    for name, (recipe, two) in recipes.items():
        model = copy.deepcopy(both if two else first)
        if name == "true masks":
            samples = challenge.Samples(task.patches, task.tags, task.truth, np.ones(len(task.patches), bool))
        else:
            samples = challenge.gather(task.patches, task.tags, guesses, recipe, seed)
            if name == "splices alone":
                samples = samples.where(samples.exact)
        epochs = max(round(s["steps"] * s["batch_size"] / len(samples)), 1)
        start = time.perf_counter()
        challenge.train(model, samples, recipe, epochs=epochs, **shared)
        seconds = time.perf_counter() - start
        found = answers(challenge.by_network(model))
        score(name, found, seconds)
        if name == list(ROWS)[-1]:
            score("+ post-processing", [tidy(task, *pair) for pair in zip(found, task.images, strict=True)], seconds)
            if asides:
                found = answers(challenge.by_network(model), scales=s["scales"], flips=True)
                score("+ easy mining, scales and flips", found, seconds)
    return {
        "seed": seed,
        "classes": list(task.classes),
        "tagged": task.tags.sum(0).tolist(),
        "maps_of_several_tags": quality.mean_iou,
        "rows": rows,
    }


def main(
    data: Annotated[str, typer.Option(help="phantom, or a data set with masks.")] = "phantom",
    seeds: Annotated[int, typer.Option(help="How many.")] = 3,
    asides: Annotated[bool, typer.Option(help="Also what is beside the ladder.")] = True,
    out: Annotated[Path | None, typer.Option(help="Where to write the JSON, after every seed.")] = None,
) -> None:
    runs = []
    for seed in range(seeds):
        runs.append(one_seed(data, seed, SETTINGS, asides))
        if out:
            write_json(out, {"data": data, "settings": SETTINGS, "runs": runs})
    table = Table(title=f"{data}, {seeds} seeds: mean ± sd on unseen images")
    for column in ("", *runs[0]["classes"], "mIoU", "seconds"):
        table.add_column(column)
    for name in runs[0]["rows"]:
        rows = [run["rows"][name] for run in runs]
        values = np.array([[*row["iou"], row["mean_iou"], row["seconds"]] for row in rows], float)
        sd = values.std(0, ddof=1) if len(runs) > 1 else np.zeros(values.shape[1])
        table.add_row(name, *(f"{m:.3f} ± {d:.3f}" for m, d in zip(values.mean(0), sd, strict=True)))
    Console(width=140).print(table)


if __name__ == "__main__":
    typer.run(main)
