"""``python -m benchmarks.experiments.few_clicks --data glas``: what a few clicks buy beside what pathologists use.

Every image gets 3, 5 and 10 random points per class, the same for every method; nothing is trained on its mask:

- pixel classifier: in the manner of ilastik (Berg et al., Nature Methods 2019) and QuPath, a random forest on
  multi-scale intensity, edges and texture of the 5 × 5 pixels around every click;
- nearest click, logistic regression, contrast alone: on the features that ``cvm.encode`` gives;
- u: ``cvm.segment``, with the points in and out of the target; CVM: ``cvm.segment_classes``, with them as two classes.

Dice is the mean of target and rest on an image, then over the images that hold both, then over the draws of points. It
is counted on every second row and column.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer
from rich.console import Console
from rich.table import Table
from skimage.feature import multiscale_basic_features
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from benchmarks.report import write_json
from histolab_lite.data.tiles import load_tiles
from histolab_lite.kernels.contrast_maps import contrast_maps
from histolab_lite.methods import cvm
from histolab_lite.metrics import segmentation_scores

MPP = 0.5  # µm per pixel, the scale of the default encoder
EVERY = 2  # rows and columns between scored pixels

Cells = dict[int, torch.Tensor]  # class -> (N, 2), (row, col) on the feature grid


def nearest_click(features: torch.Tensor, cells: Cells) -> torch.Tensor:
    """(2, h, w): cosine with the most similar click of each class."""
    unit = F.normalize(features, dim=0)
    clicked = {name: unit[:, at[:, 0], at[:, 1]] for name, at in cells.items()}
    return torch.stack([torch.einsum("cn,chw->nhw", clicked[name], unit).amax(0) for name in (0, 1)])


def logistic_regression(features: torch.Tensor, cells: Cells) -> torch.Tensor:
    """(2, h, w): log odds. Channels of unit variance; the penalty made no difference between C = 0.01 and 1."""
    x = (features * len(features) ** 0.5).flatten(1).T.numpy()
    at = torch.cat([cells[0], cells[1]])
    chosen = (at[:, 0] * features.shape[2] + at[:, 1]).numpy()
    classifier = LogisticRegression(C=0.1, max_iter=200).fit(x[chosen], [0] * len(cells[0]) + [1] * len(cells[1]))
    odds = torch.from_numpy(classifier.decision_function(x)).float().view(features.shape[1:])
    return torch.stack([-odds, odds])


def contrast_alone(features: torch.Tensor, cells: Cells) -> torch.Tensor:
    return torch.stack([contrast_maps(features, cells[k], cells[1 - k]).mean(0) for k in (0, 1)])


def binary_u(features: torch.Tensor, cells: Cells) -> torch.Tensor:
    u = cvm.segment(features, cells[1], cells[0])
    return torch.stack([1 - u, u])


def two_classes(features: torch.Tensor, cells: Cells) -> torch.Tensor:
    return cvm.segment_classes(features, {name: cells[name] for name in (0, 1)}).scores


ON_FEATURES: dict[str, Callable[[torch.Tensor, Cells], torch.Tensor]] = {
    "nearest click": nearest_click,
    "logistic regression": logistic_regression,
    "contrast alone": contrast_alone,
    "u": binary_u,
    "CVM": two_classes,
}


def pixel_features(rgb: np.ndarray) -> np.ndarray:
    """(H, W, D) float32 at σ from 1 to 16 pixels."""
    return multiscale_basic_features(rgb, channel_axis=-1, sigma_min=1, sigma_max=16).astype(np.float32)


def pixel_classifier(pixels: np.ndarray, points: Cells) -> np.ndarray:
    """Class ids of every scored pixel."""
    labels = cvm.point_mask(points, pixels.shape[:2], radius=2).numpy()
    forest = RandomForestClassifier(100, max_depth=12, random_state=0)
    forest.fit(pixels[labels != 255], labels[labels != 255])
    scored = pixels[::EVERY, ::EVERY]
    return forest.predict(scored.reshape(-1, scored.shape[2])).reshape(scored.shape[:2])


def main(
    data: Annotated[str, typer.Option(help="A data set with masks of two classes.")] = "glas",
    draws: Annotated[int, typer.Option(help="Draws of points per image.")] = 3,
    out: Annotated[Path | None, typer.Option(help="Where to write the JSON.")] = None,
) -> None:
    tiles = load_tiles(data)
    scores: dict[int, dict[str, dict[int, list[float]]]] = {n: {} for n in (3, 5, 10)}  # clicks, method, draw
    scaled = tiles.read_images(MPP if tiles.mpp else None)
    images, masks = tiles.read()
    scored = [index for index, mask in enumerate(masks) if all((mask == k).sum() >= max(scores) for k in (0, 1))]
    for index in tqdm(scored):
        image, small, mask = images[index], scaled[index], masks[index]
        features, pixels = cvm.encode(small), pixel_features(image)
        grid = (features.shape[1], features.shape[2])
        truth = mask[::EVERY, ::EVERY]
        for draw in range(draws):
            for n, methods in scores.items():
                points = cvm.simulate_points(mask, n, classes=(0, 1), seed=1000 * draw + index)
                cells = {name: cvm.to_grid(at, mask.shape, grid) for name, at in points.items()}
                found = {"pixel classifier": pixel_classifier(pixels, points)}
                for name, method in ON_FEATURES.items():
                    scores_of_classes = cvm.upsample(method(features, cells), mask.shape)[:, ::EVERY, ::EVERY]
                    found[name] = scores_of_classes.argmax(0).numpy()
                for name, ids in found.items():
                    dice = segmentation_scores([ids], [truth], 2).macro_dice
                    methods.setdefault(name, {}).setdefault(draw, []).append(dice)
    table = Table(title=f"macro Dice on {data}, {len(scored)} images, {draws} draws of points: mean ± sd of the draws")
    table.add_column("")
    summary: dict[str, dict[str, object]] = {}
    for n in scores:
        table.add_column(f"{n} per class", justify="right")
    for name in scores[3]:
        cell = {}
        for n, methods in scores.items():
            by_draw = [float(np.mean(values)) for values in methods[name].values()]
            summary.setdefault(name, {})[str(n)] = {
                "mean": float(np.mean(by_draw)),
                "sd": float(np.std(by_draw, ddof=1)),
                "by_image": np.mean(list(methods[name].values()), 0).round(4).tolist(),
            }
            cell[n] = f"{np.mean(by_draw):.3f} ± {np.std(by_draw, ddof=1):.3f}"
        table.add_row(name, *cell.values())
    Console().print(table)
    if out:
        names = [tiles[index].name for index in scored]
        result = {"data": data, "images": names, "draws": draws, "macro_dice": summary}
        write_json(out, result)


if __name__ == "__main__":
    typer.run(main)
